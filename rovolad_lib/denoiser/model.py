"""The denoiser: noisy latents, time, robot and context in, an estimate out."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from rovolad_lib.files import reading, replacing

from .backbones import BACKBONES
from .context import CONTEXTS, Tokens
from .layers import TimeEmbedding
from .mean import PriorMean

ZERO = ("modulation", "cross.out", "head.out", "ups.", "kind.", "speaker.", "pitch.2")  # what begins as zero, by its name
MIDDLE_HZ = 160.0  # between low and high voices: where a told pitch counts as 0


class Denoiser(nn.Module):
    """Diffusion transformer (or its convolutional or channel-wise variant) on latents (N, E, T).

    channels: E; width: H; depth: layers; heads: attention heads (H / heads even); backbone: transformer_te | cnn |
    transformer_et; context: cross | channel | two_step | none; patch: frames folded into one token, of x and of the
    context alike; condition: whether the robot is an input; frames: longest clip of transformer_et (the others take any);
    text: D, width of a text's token latents, which enter beside the context by the same mechanism (0: no text);
    speakers: voices with a learned embedding of their own, the known upper bar for voices heard in training (0: none);
    pitch: whether it is told the voice's; priors: priors that an item may be under (see `kind`); neighbours: of the prior's
    mean, see PriorMean.
    `mean` is the prior's mean, fitted apart and saved along; `notes` is a dict of plain values saved along.
    """

    def __init__(self, channels=64, width=192, depth=6, heads=4, backbone="transformer_te", context="cross", patch=1,
                 condition=True, frames=200, text=0, speakers=0, priors=1, neighbours=0,
                 pitch=False):  # fmt: skip
        super().__init__()
        self.config = dict(channels=channels, width=width, depth=depth, heads=heads, backbone=backbone,
                           context=context, patch=patch, condition=condition, frames=frames, text=text,
                           speakers=speakers, priors=priors, neighbours=neighbours, pitch=pitch)  # fmt: skip
        self.notes = {}
        _accept("backbone", backbone, BACKBONES)
        _accept("context", context, CONTEXTS)
        if width % (2 * heads):
            raise ValueError(f"width must be a multiple of 2 * heads (rotary pairs), got width {width}, heads {heads}")
        if text and context == "none":
            raise ValueError(f"text {text} enters by the context's mechanism: context must not be none (give no recording)")
        inputs = channels * (2 if condition else 1)
        self.time = TimeEmbedding(width)
        self.context = None if context == "none" else Tokens(channels, width, patch)
        self.backbone = BACKBONES[backbone](inputs, channels, width, depth, heads, patch, frames, context)
        self.mean = PriorMean(channels, neighbours)
        self.text = Tokens(text, width, 1) if text else None
        self.speaker = nn.Embedding(speakers, width) if speakers else None
        self.kind = nn.Embedding(priors, width) if priors > 1 else None
        self.pitch = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width)) if pitch else None
        self._initialise()

    def _initialise(self):
        """Set every initial weight (source: DiT): Xavier, zero gates, zero mechanisms, zero output."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for name, parameter in self.named_parameters():
            if any(part in name for part in ZERO):
                nn.init.zeros_(parameter)
            elif name.endswith((".null", ".position")):
                nn.init.normal_(parameter, std=0.02)

    @property
    def stride(self):
        """Frames: a batch's length, and the padding in front, are best whole multiples of it, else some work is for nothing."""
        return self.backbone.stride

    def forward(self, x, t, y=None, context=None, context_mask=None, text=None, mask=None, robot=None, drop=None,
                text_mask=None, speaker=None, pitch=None, kind=None, windows=False):  # fmt: skip
        """Return the network's estimate, (N, E, T), zero on masked frames and zero everywhere before training.

        x: (N, E, T) noisy latents; t: (N,) times in [0, 1]; y: (N, E, T) the prior's mean, the one that enters the
        mathematics; robot: (N, E, T) raw robot latents. With `condition` the robot is given to the network beside x, or
        y when robot is None; without it neither is looked at. context: (N, E, T2) other recordings of the voice;
        context_mask: (N, T2) and mask: (N, T) bool, True = real frame; drop: (N,) bool, True = replace this item's
        context and text by the learned null, and speaker and pitch by the unknown ones (for classifier-free guidance; drop it
        from y as well, see PriorMean), as for context None or without a real frame. A network with context="none" looks
        at no context. text: (N, D, L) token latents of words about the voice, text_mask: (N, L) bool; None or no real
        token is no text. speaker: (N,) long, -1 or None = unknown. pitch: (N,) float, of the voice
        in Hz, 0 or None = unknown. kind: (N,) long, which prior an item is under, needed
        where there are several. windows: transformer_et takes a longer clip in overlapping windows.
        With a mask, neither its padding, wherever it lies, nor the other items of the batch change real frames.
        """
        condition = self._condition(x, y, robot) if self.config["condition"] else None
        _check(self.config, x=x, condition=condition, mask=mask, context=context, context_mask=context_mask, t=t,
               drop=drop, text=text, text_mask=text_mask, speaker=speaker, pitch=pitch, kind=kind)  # fmt: skip
        inputs = x if condition is None else torch.cat((x, condition), dim=1)  # (N, 2E, T)
        inputs, real, home = _to_front(inputs, mask)
        features, tokens = self.time(t), None  # (N, H)
        if self.context is not None:
            heard = ((self.context, context, context_mask), (self.text, text, text_mask))
            tokens, pooled = _hear([source for source in heard if source[0] is not None], len(x), drop)
            features = features + pooled
        if self.speaker is not None and speaker is not None:
            known = speaker >= 0 if drop is None else (speaker >= 0) & ~drop
            features = features + self.speaker(speaker.clamp(min=0)) * known[:, None]
        if self.pitch is not None and pitch is not None:
            known = pitch > 0 if drop is None else (pitch > 0) & ~drop
            octaves = torch.log2(pitch.clamp(min=1.0) / MIDDLE_HZ)[:, None].to(features.dtype)
            features = features + self.pitch(octaves) * known[:, None]
        if self.kind is not None:
            features = features + self.kind(kind)
        estimate = self.backbone(inputs, F.silu(features), real, tokens, windows)
        if mask is None:
            return estimate
        estimate = estimate.gather(2, home[:, None].expand_as(estimate))
        return estimate.masked_fill(~mask[:, None], 0)

    def _condition(self, x, y, robot):
        condition = y if robot is None else robot
        if condition is None:
            raise ValueError("this denoiser has condition=True: give robot latents as robot or y, (N, E, T) like x")
        return condition.to(x.dtype)

    def save(self, path):
        """Write the weights as float16 safetensors at path, configuration and notes in the metadata.

        ValueError when a value is not finite in float16.
        """
        state = {name: value.detach().cpu().half().contiguous() for name, value in self.state_dict().items()}
        broken = [name for name, value in state.items() if not value.isfinite().all()]
        if broken:
            raise ValueError(f"cannot save: not finite in float16: {', '.join(broken)}")
        metadata = {"model": "Denoiser", "config": json.dumps(self.config), "notes": json.dumps(self.notes)}
        with replacing(path) as temporary:
            save_file(state, temporary, metadata=metadata)

    @classmethod
    def load(cls, path, device="cpu"):
        """Read a denoiser that `save` wrote: float32, in evaluation mode, on device.

        ValueError when the file is of another kind, or its tensors' names or shapes differ from its configuration's.
        """
        path = Path(path)
        with reading(path) as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name).float() for name in file.keys()}
        if metadata.get("model") != "Denoiser":
            raise ValueError(f"{path} holds {metadata.get('model', 'no named model')!r}, a 'Denoiser' is accepted")
        model = cls(**json.loads(metadata["config"]))
        model.notes = json.loads(metadata["notes"])
        wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        given = {name: tuple(value.shape) for name, value in state.items()}
        wrong = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
        if wrong:
            name = wrong[0]
            raise ValueError(
                f"{path} does not fit its configuration in {len(wrong)} tensors, first {name}: "
                f"the file has {given.get(name)}, accepted is {wanted.get(name)}"
            )
        model.load_state_dict(state)
        return model.to(device).eval()


def _hear(sources, items, drop):
    """Return [tokens (N, S, H), which may be attended to (N, S)] of all sources, and the sum of their means (N, H).

    sources: list of (Tokens, its frames or None, their mask or None); items: N; drop: (N,) bool or None.
    """
    heard = []
    for module, frames, mask in sources:
        if frames is not None:
            frames, mask, _ = _to_front(frames, mask)
        heard.append(module(items, frames, mask, drop))
    tokens, allowed, pooled = zip(*heard, strict=True)
    return [torch.cat(tokens, dim=1), torch.cat(allowed, dim=1)], sum(pooled[1:], pooled[0])


def _to_front(x, mask):
    """Roll every item so that its first real frame is frame 0, and zero what is not real.

    Then padding in front is padding behind, for any patch, position or convolution. Returns x (N, C, T), its mask
    (N, T) and the frames' indices that undo the roll (N, T); mask and indices are None without a mask.
    """
    if mask is None:
        return x, None, None
    length = mask.shape[1]
    frames = torch.arange(length, device=mask.device)
    first = mask.byte().argmax(dim=1, keepdim=True)  # (N, 1), 0 for an item without real frames
    order = (frames + first) % length
    mask, home = mask.gather(1, order), (frames - first) % length
    return x.gather(2, order[:, None].expand_as(x)).masked_fill(~mask[:, None], 0), mask, home


def _accept(name, value, accepted):
    if value not in accepted:
        raise ValueError(f"{name} must be one of {', '.join(accepted)}, got {value!r}")


def _check(config, **tensors):
    """Raise ValueError with the shapes given and accepted when the inputs of `forward` do not fit together."""
    for name, wanted in (("text", "text=D"), ("speaker", "speakers=K"), ("pitch", "pitch=True")):
        if tensors[name] is not None and not config[wanted.split("=")[0]]:
            raise ValueError(f"this denoiser was built without {wanted}: {name} must be None")
    if (tensors["kind"] is None) != (config["priors"] == 1):
        wanted = "(N,) long, one of them each" if tensors["kind"] is None else "None"
        raise ValueError(f"this denoiser was built for priors={config['priors']}: kind must be {wanted}")
    x, channels = tensors["x"], config["channels"]
    if x.ndim != 3 or x.shape[1] != channels:
        raise ValueError(f"x must be (N, {channels}, T), got {tuple(x.shape)}")
    items, frames = x.shape[0], x.shape[2]
    wanted = dict.fromkeys(("t", "drop", "speaker", "pitch", "kind"), (items,))
    wanted |= {"condition": tuple(x.shape), "mask": (items, frames)}
    for name, width, length in (("context", channels, "T2"), ("text", config["text"], "L")):
        given = tensors[name]
        if given is not None and (given.ndim != 3 or given.shape[:2] != (items, width) or not given.shape[2]):
            raise ValueError(f"{name} must be ({items}, {width}, {length}) with {length} > 0, got {tuple(given.shape)}")
        if given is not None:
            wanted[f"{name}_mask"] = (items, given.shape[2])
    for name, shape in wanted.items():
        value = tensors[name]
        if value is not None and tuple(value.shape) != shape:
            raise ValueError(f"{name} must be {shape} to fit x {tuple(x.shape)}, got {tuple(value.shape)}")
