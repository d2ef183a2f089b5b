"""Scores of speech, each with its unit, its better direction and the model that measures it."""

import importlib
import importlib.metadata
from typing import NamedTuple


class Unit(NamedTuple):
    """What a figure is.

    unit: what it counts; better: "higher", "lower", "1" or "none"; model: what measures it; package: the one whose
    version counts, if any.
    """

    unit: str
    better: str
    model: str
    package: str | None = None


MEL = "log-mel, 80 bands, 10 ms"
UNITS = {
    "pesq_wb": Unit("MOS-LQO, 1 to 4.64", "higher", "PESQ wide band, P.862.2", "pesq"),
    "stoi": Unit("0 to 1", "higher", "STOI", "pystoi"),
    "log_mel_l1": Unit("nat", "lower", MEL),
    "dnsmos": Unit("MOS, 1 to 5", "higher", "DNSMOS P.835, overall, 20 clips", "speechmos"),
    "mel_distance": Unit("nat", "lower", MEL + ", level-normalised, DTW"),
    "mcd": Unit("dB", "lower", "13 cepstra of the " + MEL + ", level-normalised, DTW"),
    "log_f0_correlation": Unit("-1 to 1", "higher", "normalised autocorrelation, frames voiced in both, DTW"),
    "voicing_error": Unit("share of frames", "lower", "normalised autocorrelation, DTW"),
    "sharpness": Unit("ratio to real takes", "1", "gradient energy of the " + MEL),
    "copying": Unit("ratio to real test takes", "higher", "nearest training clip, log-mel of 32 x 80 cells"),
    "text_accuracy": Unit("share of clips", "higher", "judge of the words"),
    "speaker_accuracy": Unit("share of clips", "higher", "judge of speakers"),
    "frechet_text": Unit("standardised features, squared", "lower", "Fréchet distance, judge of the words"),
    "frechet_speaker": Unit("standardised features, squared", "lower", "Fréchet distance, judge of speakers"),
    "frechet": Unit("standardised features, squared", "lower", "Fréchet distance, mean of both judges"),
    "frechet_voice": Unit("squared", "lower", "Fréchet distance, 32 axes of Resemblyzer, single clips", "resemblyzer"),
    "speaker_identified": Unit("share of clips", "higher", "nearest of the voices, Resemblyzer, joined to 5 s", "resemblyzer"),
    "diversity": Unit("ratio to real takes", "1", "pairs of draws, " + MEL + ", level-normalised, DTW"),
    "follows_swap": Unit("share of clips", "higher", "judge of the words, robots exchanged"),
    "keeps_words": Unit("share of clips", "lower", "judge of the words, robots exchanged"),
    "recognised": Unit("share of clips", "higher", "fixed grammar, en-us, relative only", "pocketsphinx"),
    "speaker_similarity": Unit("cosine, -1 to 1", "higher", "Resemblyzer, clips joined to 5 s", "resemblyzer"),
    "eer": Unit("share of pairs", "none", "Resemblyzer, clips joined to 5 s", "resemblyzer"),
    "zero_shot_similarity": Unit("cosine, -1 to 1", "higher", "Resemblyzer, clips joined to 6 s", "resemblyzer"),
    "way_percent": Unit("% from robot to autoencoder", "higher", "Resemblyzer, clips joined to 6 s", "resemblyzer"),
    "right_minus_wrong": Unit("cosine, difference to other voices", "higher", "Resemblyzer, clips joined to 6 s", "resemblyzer"),
    "passes": Unit("share of clips, .5 passes as the person", "higher", "Resemblyzer, clips joined to 6 s", "resemblyzer"),
    "judge_similarity": Unit("cosine, -1 to 1", "higher", "judge of speakers"),
    "gate_accepts": Unit("share of clips", "higher", "alignment with the robot saying the same text"),
    "gate_refuses": Unit("share of clips", "higher", "alignment with the robot saying another text"),
    "nearer_target": Unit("share of clips", "higher", "Resemblyzer, single clips", "resemblyzer"),
    "f0_jump": Unit("semitones, median", "lower", "median F0 of 1.5 s on either side"),
    "level_jump": Unit("dB, median", "lower", "level of the speech in 1.5 s on either side"),
    "f0_error": Unit("semitones, median", "lower", "median F0, normalised autocorrelation"),
}


def extra(module, name="metrics"):
    """Return an optional module; ImportError tells the extra `name` that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        remedy = f"pip install 'rovolad[{name}]' (pesq and resemblyzer need a C compiler)"
        raise ImportError(f"{module} is missing ({error}): {remedy}") from error


def describe(name, judge=None):
    """Return {"unit", "better", "model"} of a score, the model with its version, as records put it beside the figure.

    name: one of UNITS. judge: for scores by a judge, `Judge.measured_by` of the one that gave it, which takes the place
    of the general name.
    """
    if name not in UNITS:
        raise ValueError(f"got score {name!r}; accepted: {', '.join(UNITS)}")
    unit, better, model, package = UNITS[name]
    if package:
        try:
            model = f"{model}, {package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            model = f"{model}, {package} (not installed here)"
    return {"unit": unit, "better": better, "model": judge or model}
