"""Does it sound like the same person? Resemblyzer embeddings, their similarity, and the equal error rate."""

import warnings
from functools import lru_cache

import torch

from rovolad_lib.metrics import extra
from rovolad_lib.speech import audio

LEAST_S = 5.0  # one digit alone separates speakers badly (equal error rate 20 %), five joined do it well (3 %)
PAUSE_S = 0.1


def join(waves, least_s=LEAST_S):
    """Join waves of one speaker into longer ones, because the embedding of a short clip is unreliable.

    waves: tensors (S,) at 16 kHz; each is brought to one level and a pause of 0.1 s follows it. least_s: seconds that a
    joined wave has at least; a rest too short for that joins the last. Returns a list of waves: one where all together
    are shorter than least_s.
    """
    groups, total = [[]], 0
    for wave in waves:
        if total >= least_s * audio.SAMPLE_RATE:
            groups, total = [*groups, []], 0
        groups[-1] += [audio.set_level(wave), wave.new_zeros(round(PAUSE_S * audio.SAMPLE_RATE))]
        total += len(wave)
    if len(groups) > 1 and total < least_s * audio.SAMPLE_RATE:
        groups[-2:] = [groups[-2] + groups[-1]]
    return [torch.cat(group) for group in groups if group]


def embed(waves):
    """Return the speaker embeddings of waves.

    waves: N tensors (S,) at 16 kHz; use `join` first where clips are shorter than 5 s. Returns (N, 256), unit vectors.
    errors: ImportError without the extra `metrics`; ValueError for silence, in which nobody speaks.
    source: Wan 2018 (GE2E).
    """
    encoder, rows = _encoder(), []
    for number, wave in enumerate(waves):
        if wave.ndim != 1 or not wave.any():
            got = "silence" if wave.ndim == 1 else tuple(wave.shape)
            raise ValueError(f"wave {number}: got {got}; accepted: (S,) with speech in it")
        rows.append(torch.from_numpy(encoder.embed_utterance(audio.set_level(wave.float().cpu()).numpy())))
    return torch.stack(rows).float()  # (N, 256)


def similarity(a, b):
    """Return the cosine similarities (N, M) of embeddings a (N, D) and b (M, D), each from -1 to 1."""
    return torch.nn.functional.normalize(a, dim=-1) @ torch.nn.functional.normalize(b, dim=-1).T


def eer(same, different):
    """Return the equal error rate of a threshold on similarity, from 0 to 1; .5 is chance.

    same, different: similarities of pairs of one speaker and of two, in any order and number. The rate is read where
    false rejections and false acceptances cross, halfway between the two where they jump past each other.
    """
    same, different = (torch.as_tensor(part, dtype=torch.float64).flatten().sort().values for part in (same, different))
    if not len(same) or not len(different):
        given = f"{len(same)} pairs of the same and {len(different)} of different speakers"
        raise ValueError(f"got {given}; accepted: at least one of each")
    threshold = torch.cat([same, different, same.new_tensor([float("inf")])]).sort().values
    rejected = torch.searchsorted(same, threshold) / len(same)  # pairs of one speaker below the threshold
    accepted = 1 - torch.searchsorted(different, threshold) / len(different)
    crossing = (rejected - accepted).abs().argmin()
    return float(rejected[crossing] + accepted[crossing]) / 2


@lru_cache
def _encoder():
    with warnings.catch_warnings(action="ignore"):  # its webrtcvad asks for pkg_resources, which complains
        return extra("resemblyzer").VoiceEncoder("cpu", verbose=False)
