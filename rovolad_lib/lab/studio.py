"""The voice studio: type, choose a voice, listen."""

import re

import ipywidgets as widgets
import matplotlib.pyplot as plt
from IPython.display import display

from rovolad_lib.lab import listen, plots
from rovolad_lib.metrics import signal
from rovolad_lib.speech import manifest
from rovolad_lib.speech.audio import SAMPLE_RATE, set_level

LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pl", "pt")


def voices(data, split="test_seen", seconds=6.0):
    """Return {speaker: list of (row, wave (S,))}: recordings of each voice from a split, about `seconds` of them.

    data: lab.data.Data. Recordings that training never heard, so that a voice is not given by what the model knows by heart;
    two at least where there are two, however long, one to say and one to be heard as a reference.
    """
    found = {}
    for row in data.table[data.table.split == split].itertuples():
        if isinstance(row.speaker, str):
            held = found.setdefault(row.speaker, [])
            if len(held) < 2 or sum(len(w) for _, w in held) < seconds * SAMPLE_RATE:
                held.append((row, set_level(manifest.wave(row, data.folder))))
    return found


def render(converter, jobs, folder, **options):
    """Convert every job, write each result as WAV with a synthetic-speech tag, and return rows for `listen.grid`.

    jobs: list of dicts with text, language, voice (a name), references (list of waves), and own: the voice's own recording
    of the text or None, against which robot and result are measured; folder: where the files go; options: of the converter.
    """
    rows = []
    for job in jobs:
        robot = set_level(converter.robot(job["text"], job["language"]))
        wave = converter(job["text"], job["references"], job["language"], **options)
        path = folder / f"{_plain(job['voice'])}-{_plain(job['text'])[:40]}.wav"
        converter.save(path, wave)
        row = {"voice": job["voice"], "text": job["text"][:60], "robot": robot, "result": wave, "file": path.name}
        if job["own"] is not None:
            near, far = (float(signal.mel_distance(w, job["own"])) for w in (wave, robot))
            row |= {"own recording": job["own"], "distance": f"{near:.2f} nat, robot {far:.2f}", "nearer": near < far}
        rows.append(row)
    return rows


def jobs(found, text="", language="en", voice=None, reference=None):
    """Return the jobs of `render` that a notebook's parameters ask for.

    found: of `voices`; text: one sentence, or "" for a held-out take of every voice, or of `voice`; reference: a recording
    or a list of them, in the place of a voice. ValueError names the voices there are.
    """
    if voice is not None and voice not in found or not (found or text and reference):
        raise ValueError(f"voice {voice!r}; accepted: {', '.join(found) or 'none: no speaker has test takes here'}")
    if not text:
        return [job for job in held_out(found) if voice in (None, job["voice"])]
    references = [reference] if isinstance(reference, str) else reference
    name = voice or ("reference" if references else next(iter(found)))
    references = references or [wave for _, wave in found[name]]
    return [{"text": text, "language": language, "voice": name, "references": references, "own": None}]


def held_out(found):
    """Return one job a voice: its own first recording of `found` is the text, its others are the references."""
    jobs = [
        {"text": row.text, "language": row.language, "voice": name, "own": own,
         "references": [wave for other, wave in others if other.text != row.text]}
        for name, ((row, own), *others) in found.items()
    ]  # fmt: skip
    return [job for job in jobs if job["references"]]


def panel(converter, found):
    """Return the studio as a widget: what to say, in whose voice, in how many steps; players and spectrograms below.

    found: of `voices`. The bar moves with every step of the sampler.
    """
    text = widgets.Textarea("The words are mine, the voice is not.", description="text")
    language = widgets.Dropdown(options=LANGUAGES, description="language")
    voice = widgets.Dropdown(options=sorted(found), description="voice")
    steps = widgets.IntSlider(4, 1, 32, description="steps")
    guidance = widgets.FloatSlider(value=1.0, min=1.0, max=4.0, step=0.25, description="guidance")
    seed = widgets.BoundedIntText(0, 0, 10**6, description="seed")
    speak = widgets.Button(description="speak", button_style="primary")
    bar, out = widgets.IntProgress(0, 0, 1), widgets.Output()

    def run(_):
        bar.value, bar.max = 0, steps.value
        references = [wave for _, wave in found[voice.value]]
        out.clear_output(wait=True)
        with out:
            wave = converter(
                text.value, references, language.value, steps.value, guidance.value, seed=seed.value,
                callback=lambda step, *_: setattr(bar, "value", step + 1),
            )  # fmt: skip
            robot = set_level(converter.robot(text.value, language.value))
            display(listen.grid([{"robot": robot, "result": wave, "reference": references[0]}]))
            plots.spectrograms({"robot": robot, "result": wave, "reference": references[0]})
            display(plt.gcf())  # a button's figure is not shown by itself, as a cell's is
            plt.close()

    speak.on_click(run)
    return widgets.VBox(
        [text, widgets.HBox([language, voice]), widgets.HBox([steps, guidance, seed]), widgets.HBox([speak, bar]), out]
    )


def _plain(words):
    """Return words as part of a file name: letters, digits and dashes."""
    return re.sub(r"\W+", "-", words).strip("-").lower() or "voice"
