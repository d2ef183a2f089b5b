"""What the network is held against: other ways of saying a text in a voice that a few recordings show."""

import torch
from torch.nn import functional

from rovolad_lib.autoencoder.codec import decode_latents, encode_waves
from rovolad_lib.convert import ROBOT_F0, WHOLE_FRAMES, at_pitch, robot_f0, wanted_pitch
from rovolad_lib.metrics import speaker
from rovolad_lib.sampling import matched
from rovolad_lib.speech import robot

NEIGHBOURS = 4  # of a frame; source: Baas 2023 (kNN-VC, arXiv 2305.18975)


def neighbours(latents, reference, count=NEIGHBOURS):
    """Return latents (E, T) of which every frame is the mean of the `count` frames of `reference` (E, R) most like it.

    Alike is the cosine of two frames; fewer are taken where there are fewer. source: Baas 2023 (kNN-VC), in our latents.
    """
    alike = functional.normalize(latents, dim=0).T @ functional.normalize(reference, dim=0)  # (T, R)
    chosen = alike.topk(min(count, reference.shape[1]), dim=1).indices  # (T, count)
    return reference[:, chosen].mean(2)


def nearest(heard, others):
    """Return the name of the voice most like one: heard: (N, D) embeddings of it; others: {name: (M, D)}."""
    centre = heard.mean(0, keepdim=True)
    return max(others, key=lambda name: float(speaker.similarity(centre, others[name].mean(0, keepdim=True))))


def spoken(converter, references, texts, *, steps=4, seed=0, **options):
    """Return {made by: list of waves (S,), one a text}: classical, kNN, prior's mean, one shot, diffusion.

    references: waves (S,) at 16 kHz of one voice, 6 s or so each; texts: list of (language, text); options: of the converter.
    Classical matches mean and deviation of the robot's latents to those of the references, kNN takes their frames nearest to
    these; for both the robot speaks at the voice's pitch. The prior's mean is where the diffusion of a robot prior starts, of the
    robot that the network knows.
    """
    codec, f0 = converter.autoencoder, robot_f0(torch.cat(references)) or ROBOT_F0
    target = torch.cat(encode_waves(codec, references), dim=1)
    as_high = encode_waves(codec, [robot.say(text, language, f0=f0) for language, text in texts])
    moved = matched(torch.cat(as_high, dim=1), target).split([z.shape[1] for z in as_high], dim=1)

    def converted(steps):
        return [converter(text, references, language, steps=steps, seed=seed, **options) for language, text in texts]

    heard, said = converter.voice(references, WHOLE_FRAMES)[None], as_high
    pitch = wanted_pitch(converter.denoiser, options.get("pitch"))
    (own,), _ = at_pitch(converter.denoiser, [f0 if pitch == "reference" else pitch])
    if own != f0:
        said = encode_waves(codec, [robot.say(text, language, f0=own) for language, text in texts])
    with torch.no_grad():
        means = [converter.denoiser.mean(z[None], heard)[0] for z in said]

    return {
        "classical": decode_latents(codec, moved),
        "kNN": decode_latents(codec, [neighbours(z, target) for z in moved]),
        "prior's mean": decode_latents(codec, means),
        "one shot": converted(1),
        "diffusion": converted(steps),
    }
