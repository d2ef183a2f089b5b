"""The voice studio as a widget: type, choose or drop a voice, listen."""

import io
import tempfile
import time
from html import escape
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt

from rovolad_lib import convert
from rovolad_lib.convert import ROBOT_F0, Converter
from rovolad_lib.diffusion.samplers import SAMPLERS
from rovolad_lib.lab import listen, plots, studio
from rovolad_lib.speech import longform, references
from rovolad_lib.speech.audio import set_level

LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pl", "pt")  # offered; espeak takes others that are typed
FIRST = "The words are mine, the voice is not."
OWN = "the prior's own"


class Panel:
    """The studio's controls, and `view`, the widget that shows them, with players and spectrograms below.

    converter: the model that is there at first; found: of `studio.voices`; folder: where `save` writes; models: files of further
    denoisers.
    """

    def __init__(self, converter, found, folder, models=()):
        self.converter, self.folder, self.made = converter, Path(folder), None
        self.voices = {name: [name] for name in references.shipped(convert.VOICES)}
        self.voices |= {name: [wave for _, wave in held] for name, held in found.items()}
        self.text = widgets.Textarea(FIRST, description="text", layout={"width": "95%"})
        self.language = widgets.Combobox(value="en", options=LANGUAGES, description="language", continuous_update=False)
        self.voice = widgets.Dropdown(options=list(self.voices), description="voice")
        self.upload = widgets.FileUpload(accept="audio/*", description="your recording")
        self.model = widgets.Dropdown(options=[("as loaded", ""), *((p.stem, p) for p in models)], description="model")
        self.sampler = widgets.Dropdown(options=[OWN, *SAMPLERS], description="sampler")
        self.steps = widgets.IntSlider(4, 1, 32, description="steps")
        self.guidance = widgets.FloatSlider(value=1.25, min=1.0, max=4.0, step=0.25, description="guidance")
        self.seed = widgets.BoundedIntText(0, 0, 10**6, description="seed")
        self.rate, self.pitch = (widgets.Checkbox(value, description=f"{name} as the reference")
                                 for name, value in (("rate", False), ("pitch", converter.denoiser.config["pitch"])))  # fmt: skip
        self.among = widgets.SelectMultiple(options=list(self.voices), value=list(self.voices)[:3], description="grid of")
        self.bar, self.remark, self.heard = widgets.IntProgress(0, 0, 1), widgets.HTML(), widgets.HTML(studio.heard(converter))
        self.players, self.strip = widgets.HTML(), widgets.HTML()
        self.picture = widgets.Image(format="png", layout={"max_width": "100%"})
        named = {"speak": self.speak, "grid": self.grid, "save": self.save}
        self.buttons = {name: widgets.Button(description=name) for name in named}
        for name, act in named.items():
            self.buttons[name].on_click(lambda _, act=act: self._told(act))
        self.upload.observe(lambda _: self._told(self.hear), "value")
        self.model.observe(lambda _: self._told(self.load), "value")
        self.first, self.buttons["speak"].button_style = converter, "primary"
        self.view = self._view()

    def _view(self):
        rows = [
            [self.language, self.voice, self.upload], [self.model, self.sampler, self.seed], [self.steps, self.guidance],
            [self.rate, self.pitch], [*self.buttons.values(), self.bar],
        ]  # fmt: skip
        below = [self.remark, self.players, self.picture, self.strip, self.among]
        return widgets.VBox([self.heard, self.text, *map(widgets.HBox, rows), *below])

    def _told(self, act):
        """Do what a control asks for; what goes wrong is told below it, for nobody would see what a callback raises."""
        try:
            self.remark.value = escape(act() or "")
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            self.remark.value = f"<b>{type(error).__name__}</b>: {escape(str(error))}"

    def say(self, text, voice, callback=None):
        """Return a text in a voice (S,), as the controls have it."""
        like = {"rate": "reference" if self.rate.value else None, "pitch": "reference" if self.pitch.value else ROBOT_F0}
        sampler = None if self.sampler.value == OWN else self.sampler.value
        return self.converter(text, self.voices[voice], self.language.value, self.steps.value, self.guidance.value, sampler,
                              seed=self.seed.value, callback=callback, **like)  # fmt: skip

    def speak(self):
        """Say the text in the chosen voice; show robot, result and reference, their spectrograms, and the sample as it forms."""
        began, text, steps, estimates = time.time(), self.text.value.strip(), self.steps.value, []
        phrases = longform.phrases(text)
        self.bar.value, self.bar.max = 0, steps * len(phrases)

        def moved(step, reached, state, estimate):
            self.bar.value += 1
            if len(estimates) < steps:  # of the first phrase
                estimates.append(estimate)

        wave = self.say(text, self.voice.value, moved)
        took, self.made = time.time() - began, (self.voice.value, text, wave)
        robot = set_level(self.converter.robot(text, self.language.value))
        shown = {"robot": robot, "result": wave, "reference": studio.sounding(self.converter, self.voices[self.voice.value][0])}
        self.players.value = listen.grid([shown]).data  # before there are pictures: these take longer than the speech
        self.picture.value = _png(shown)
        self.strip.value = listen.grid([studio.forming(self.converter, estimates)]).data
        return f"{len(wave) / self.converter.sample_rate:.1f} s of speech in {took:.1f} s"

    def grid(self):
        """Say every line of the text in every voice of the list, and show players of them all."""
        lines = [line.strip() for line in self.text.value.splitlines() if line.strip()]
        self.bar.value, self.bar.max, rows = 0, len(lines) * len(self.among.value), []
        for line in lines:
            rows.append({"text": line})
            for voice in self.among.value:
                rows[-1][voice] = self.say(line, voice)
                self.bar.value += 1
        self.players.value, self.picture.value, self.strip.value = listen.grid(rows).data, b"", ""
        return f"{len(lines)} sentences in {len(self.among.value)} voices"

    def save(self):
        """Write the last result as WAV with a tag that says it is synthetic."""
        if self.made is None:
            raise ValueError("nothing has been said yet: press speak first")
        voice, text, wave = self.made
        path = self.folder / studio.file_name(voice, text)
        self.converter.save(path, wave)
        return f"written, tagged as synthetic speech: {path}"

    def hear(self):
        """Take an uploaded recording as a voice, and choose it; a remark on what was made of it."""
        if not self.upload.value:
            return ""
        file = self.upload.value[-1]
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / Path(file["name"]).name
            path.write_bytes(file["content"])
            wave, remarks = references.read(path)
        self.voices[path.name] = [set_level(wave)]
        self.voice.options = self.among.options = list(self.voices)
        self.voice.value = path.name
        return "; ".join(remarks) or f"{path.name} is a voice now: use only voices whose owners agreed"

    def load(self):
        """Load the chosen model, and say what it has heard."""
        chosen = self.model.value
        self.converter = Converter.load(chosen, self.first.autoencoder) if chosen else self.first
        self.heard.value, self.pitch.value = escape(studio.heard(self.converter)), self.converter.denoiser.config["pitch"]
        return ""


def _png(waves):
    """Return the spectrograms of waves as the bytes of a PNG file."""
    plots.spectrograms(waves)
    memory = io.BytesIO()
    plt.savefig(memory)
    plt.close()
    return memory.getvalue()
