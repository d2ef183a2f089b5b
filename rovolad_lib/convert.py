"""Text or a recording in, recordings of a voice beside it, speech in that voice out."""

from hashlib import sha256
from pathlib import Path

import torch

from rovolad_lib.autoencoder.model import SHIPPED, Autoencoder
from rovolad_lib.denoiser.model import MIDDLE_HZ, Denoiser
from rovolad_lib.diffusion.named import prior_of
from rovolad_lib.metrics import speaker
from rovolad_lib.metrics.pitch import median_f0
from rovolad_lib.sampling import padding, sample
from rovolad_lib.speech import longform, references
from rovolad_lib.speech import robot as espeak
from rovolad_lib.speech.audio import SAMPLE_RATE, save, set_level

MODELS = SHIPPED.parent
DEFAULT = MODELS / "denoiser_every.safetensors"
VOICES = MODELS / "voices.safetensors"
ROBOT_F0 = 110.0  # Hz, of the data's robots, and where a voice has no pitch
CONTEXT_FRAMES = 300  # 6 s of references for the network; more adds little and costs attention
WHOLE_FRAMES = 3000  # 60 s for the prior's mean: the more frames, the nearer the nearest
KNOWN = 300  # references of which a converter remembers what was heard in them
MATCH = 0.5  # of the way to the voice's own mean and deviation, for a phrase's differ from those of a minute
SYNTHETIC = "synthetic speech, made by RoVoLaD: not a recording of the person it sounds like"


def wanted_pitch(model, pitch=None):
    """Return the pitch as `Converter.stream` takes it, Hz or "reference"; None: as a denoiser learned."""
    return pitch or ("reference" if model.config["pitch"] else ROBOT_F0)


def at_pitch(model, f0s):
    """Return how a denoiser is given voices of some pitches (Hz, 0 unknown): the robot's, a list, and what `sample` tells."""
    if model.config["pitch"]:
        slope, octaves = model.notes.get("pitch_line", (1.0, 0.0))
        return [ROBOT_F0] * len(f0s), {"pitch": MIDDLE_HZ * (torch.tensor(f0s) / MIDDLE_HZ) ** slope * 2**octaves}
    return [f0 or ROBOT_F0 for f0 in f0s], {}


def robot_f0(wave):
    """Return the pitch in Hz at which a robot is as high as somebody in a wave (S,) at 16 kHz, 0 unknown."""
    return min(median_f0(wave) if len(wave) else 0.0, espeak.HIGHEST_HZ)


class Converter:
    """Robot to person: an autoencoder, a denoiser and the prior it was trained with.

    converter(source, reference) -> (S,) at `converter.sample_rate`. References are heard once: text after text is said in a
    voice, and to encode a minute of it takes as long as to say ten seconds.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, autoencoder, denoiser):
        self.autoencoder, self.denoiser = autoencoder.eval(), denoiser.eval()
        self.prior, self.sampler = prior_of(denoiser.notes["prior"])
        self.known = {}  # (function, name or digest of a wave): what it returned

    @classmethod
    def load(cls, path=None, autoencoder=None):
        """Return a converter of a denoiser's file (None: the shipped one) and an autoencoder (None: the shipped one).

        ValueError where the denoiser was trained on another autoencoder's latents.
        """
        path = DEFAULT if path is None else Path(path)
        if not path.is_file():
            have = ", ".join(sorted(p.name for p in MODELS.glob("denoiser*.safetensors"))) or "none"
            raise FileNotFoundError(f"no denoiser at {path}; in {MODELS}: {have}")
        denoiser, autoencoder = Denoiser.load(path), autoencoder or Autoencoder.load()
        wanted = denoiser.notes.get("autoencoder")
        if wanted != autoencoder.fingerprint():
            raise ValueError(f"{path} was trained on latents of autoencoder {wanted}, got {autoencoder.fingerprint()}")
        return cls(autoencoder, denoiser)

    def robot(self, text, language="en"):
        """Return the robot's own voice saying a text: (S,)."""
        return espeak.say(text, language)

    def __call__(self, source, reference, language="en", steps=4, guidance=1.0, sampler=None, seed=0, callback=None,
                 prior=None, **options):  # fmt: skip
        """Return speech (S,) at 16 kHz: the words of `source` in the voice of `reference`; all that `stream` yields.

        source: str = text; Path = a recording, tensor (S,) = a wave at 16 kHz, of which only the words shall stay;
        reference: one or several paths or waves (S,), or names of shipped voices; language: of a text; steps: network
        evaluations; guidance: 1 is none; sampler: name in diffusion.samplers (None: the prior's own); seed: another one is
        another reading; callback: see diffusion.samplers; prior: gaussian | robot, of a network that knows both; options:
        rate, pitch, level, best_of and match, see `stream`; spacing, rescale, interval and the sampler's own, see `sample`.
        Errors: ValueError, FileNotFoundError.
        """
        options |= {"steps": steps, "guidance": guidance, "sampler": sampler, "seed": seed, "callback": callback, "prior": prior}
        return torch.cat(list(self.stream(source, reference, language, **options)))

    def stream(self, source, reference, language="en", *, rate=None, pitch=None, level=None, best_of=1, seed=0, sampler=None,
               prior=None, match=MATCH, **options):  # fmt: skip
        """Yield the waves that one behind the other are the speech, the first while the others are still to be made.

        A long text goes by its sentences, a long recording by its silences (see speech.longform), so memory does not grow; the
        voice and the pitch given are the same in all, and levels differ as the robot's do. rate: words per minute of a text
        (None: the robot's 175); pitch: Hz of the robot, or told to a denoiser that takes it as a number (None: as it was trained,
        110 or "reference"); level: dB of the first (None: the network's); each may be "reference": as the references have it.
        best_of: so many readings, of which the one most like the references is taken (extra `metrics`); the first is that of
        best_of 1; match: see `sampling.sample`. The rest as for `__call__`.
        """
        pitch = wanted_pitch(self.denoiser, pitch)
        like = {"rate": rate, "pitch": pitch, "level": level}
        if wrong := [f"{k} {v!r}" for k, v in like.items() if isinstance(v, str) and v != "reference"]:
            raise ValueError(f"{', '.join(wrong)}; accepted: a number, None, or 'reference'")
        parts = sorted(self._parts(reference), key=lambda part: float(part.sum()))  # whatever their order: the mean hears seams
        kept = {"contexts": CONTEXT_FRAMES, "whole": WHOLE_FRAMES}
        voice = {name: [self._share(parts, frames)] * best_of for name, frames in kept.items()}
        heard = self._heard(reference) if "reference" in like.values() or best_of > 1 else None
        if rate == "reference" and isinstance(source, str):
            rate = longform.rate_like(heard, source, language)
        level = longform.level_db(heard) if level == "reference" else level
        f0 = self._once(robot_f0, heard) if pitch == "reference" else pitch
        (at, *_), told = at_pitch(self.denoiser, [f0] * best_of)
        start, default = (self.prior, self.sampler) if prior is None else prior_of(self.denoiser.notes["prior"], prior)
        options |= {"sampler": sampler or default, "told": told, "match": match, **padding(self.denoiser)}

        def spoken(gain=None, raised=None):
            for number, wave in enumerate(_said(source, language, rate, at)):
                gain = gain or longform.gain_to(wave)  # None while all is silent
                robot = set_level(wave) if number == 0 else longform.amplified(wave, gain or 1.0)
                latents = self.autoencoder.encode(robot[None])[0]
                made = sample(self.denoiser, start, [latents] * best_of, seed=seed + number, **voice, **options)
                made = _most_like([self._decode(latents, len(wave)) for latents in made], heard)
                loud = longform.level_db(robot)
                if raised is None and made.any() and wave.any():  # what the first is louder by than its robot, all are
                    raised = (longform.level_db(made) if level is None else level) - loud
                made = longform.amplified(made, longform.gain_to(made, loud + (raised or 0.0)) or 1.0)
                yield made if wave.any() else torch.zeros_like(wave)

        return longform.joined(spoken())

    def _decode(self, latents, samples=None):
        return self.autoencoder.decode(latents[None])[0, :samples]

    def _once(self, hear, item):
        """Return hear(item), a wave's or a shipped voice's, remembered of the last KNOWN."""
        key = hear.__name__, item if isinstance(item, str) else sha256(item.cpu().contiguous().numpy()).digest()
        if key not in (known := self.known):
            self.known = known = dict([*known.items(), (key, hear(item))][-KNOWN:])  # another one: threads may share it
        return known[key]

    def _shipped(self, name):
        """Return the latents (E, T) of a shipped voice."""
        return references.latents(VOICES, name, self.autoencoder.fingerprint())

    def _spoken(self, name):
        """Return the wave (S,) of a shipped voice."""
        return self._decode(self._once(self._shipped, name))

    def _heard(self, reference):
        """Return the references' waves, joined: (S,)."""
        return torch.cat([self._once(self._spoken, item) if _ships(item) else _wave(item) for item in _listed(reference)])

    def _latents(self, item):
        return self._once(self._shipped, item) if _ships(item) else self._once(self._encode, _wave(item))

    def voice(self, reference, frames=CONTEXT_FRAMES):
        """Return the context (E, T2) of one or several references, whose order is irrelevant: about 6 s in all.

        frames: so many in all, of each reference an equal share, in whole patches: a token that heard the seam of two would
        know their order.
        """
        return self._share(self._parts(reference), frames)

    def _parts(self, reference):
        return [self._latents(item) for item in _listed(reference)]

    def _share(self, parts, frames):
        patch = self.denoiser.config["patch"]
        share = max(frames // len(parts) // patch, 1)  # every reference is heard
        parts = [part[:, : min(part.shape[1] // patch, share) * patch] for part in parts]
        if not any(part.shape[1] for part in parts):
            raise ValueError(f"none of {len(parts)} references has {patch} frames of sound, the least that is heard")
        return torch.cat(parts, dim=1)

    def save(self, path, wave):
        """Write a result as FLAC or WAV with a tag that says it is synthetic."""
        save(path, wave, self.sample_rate, {"comment": SYNTHETIC, "software": "RoVoLaD"})

    def _encode(self, wave):
        if not len(wave) or not wave.abs().max():
            raise ValueError(f"a wave of {len(wave)} samples holds no sound")
        if not wave.isfinite().all():
            raise ValueError(f"a wave of {len(wave)} samples, {int((~wave.isfinite()).sum())} of them not finite")
        return self.autoencoder.encode(set_level(wave)[None])[0]


def _said(source, language, rate, f0):
    """Yield the robot's waves for the phrases of a text, or for the stretches of a recording."""
    if isinstance(source, str):
        return longform.said(source, language, rate, f0)
    if rate is not None:
        raise ValueError(f"rate {rate!r} is of a text; a recording has its own")
    source = source if isinstance(source, Path) else _wave(source)
    return (espeak.flatten(wave, f0) if wave.any() else wave for wave in longform.stretches(source))


def _most_like(waves, heard):
    """Return the one of several waves whose speaker is most like the one heard in another, the first of equals."""
    if len(waves) == 1:
        return waves[0]
    return waves[int(speaker.similarity(speaker.embed(waves), speaker.embed([heard]))[:, 0].argmax())]


def _listed(reference):
    items = reference if isinstance(reference, (list, tuple)) else [reference]
    if not items:
        raise ValueError("reference is empty; give one or several recordings of the voice")
    return items


def _ships(item):
    """Return whether a reference is the name of a shipped voice."""
    return isinstance(item, str) and item in references.shipped(VOICES)


def _wave(item):
    """Return (S,) of a path or of a wave."""
    wave = item if isinstance(item, torch.Tensor) else references.opened(item)[0]
    if wave.dim() != 1:
        raise ValueError(f"a wave is (S,), got shape {tuple(wave.shape)}")
    return wave
