"""A guard against artefacts: what a model of listeners thinks of a wave."""

from tqdm.auto import tqdm

from rovolad_lib.metrics import extra
from rovolad_lib.speech.audio import SAMPLE_RATE


def mean_opinion(waves):
    """Return the overall DNSMOS of each wave, 1 to 5, a list of floats.

    waves: (S,) at 16 kHz; 4 s of a core each. It hears noise and breaks, and does not tell a robot from a person.
    Errors: ImportError without the extra `opinion`. source: Reddy 2022 (P.835), model of the package speechmos.
    """
    dnsmos = extra("speechmos.dnsmos", "opinion")
    heard = tqdm(waves, desc="DNSMOS", mininterval=2.0)
    return [float(dnsmos.run(wave.clamp(-1, 1).numpy(), SAMPLE_RATE)["ovrl_mos"]) for wave in heard]
