"""The denoiser: noisy latents, time, robot and context in, an estimate out."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from rovolad_lib.files import replacing

from .backbones import BACKBONES
from .context import CONTEXTS, Cross
from .layers import TimeEmbedding
from .mean import PriorMean


class Denoiser(nn.Module):
    """Diffusion transformer (or its convolutional or channel-wise variant) on latents (N, E, T).

    channels: E; width: H; depth: layers; heads: attention heads (H / heads even); backbone: transformer_te | cnn |
    transformer_et; context: cross | none; patch: frames folded into one token, of x and of the context alike;
    condition: whether the robot is an input; frames: longest clip of transformer_et (the others take any).
    `mean` is the prior's mean, fitted apart and saved along; `notes` is a dict of plain values saved along.
    """

    def __init__(self, channels=64, width=192, depth=6, heads=4, backbone="transformer_te", context="cross", patch=1,
                 condition=True, frames=200, priors=1):
        super().__init__()
        self.config = dict(channels=channels, width=width, depth=depth, heads=heads, backbone=backbone,
                           context=context, patch=patch, condition=condition, frames=frames, priors=priors)
        self.notes = {}
        _accept("backbone", backbone, BACKBONES)
        _accept("context", context, CONTEXTS)
        if width % (2 * heads):
            raise ValueError(f"width must be a multiple of 2 * heads (rotary pairs), got width {width}, heads {heads}")
        inputs = channels * (2 if condition else 1)
        self.time = TimeEmbedding(width)
        self.context = Cross(channels, width, patch) if context == "cross" else None
        self.backbone = BACKBONES[backbone](inputs, channels, width, depth, heads, patch, frames, context == "cross")
        self.mean = PriorMean(channels)
        self.kind = nn.Embedding(priors, width) if priors > 1 else None
        self._initialise()

    def _initialise(self):
        """Set every initial weight (source: DiT): Xavier, zero gates, zero cross-attention, zero output."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for name, parameter in self.named_parameters():
            if "modulation" in name or "cross.out" in name or "head.out" in name or "kind" in name:
                nn.init.zeros_(parameter)
            elif name.endswith((".null", ".position")):
                nn.init.normal_(parameter, std=0.02)

    def forward(self, x, t, y=None, context=None, context_mask=None, text=None, mask=None, robot=None, drop=None,
                kind=None):
        """Return the network's estimate, (N, E, T), zero on masked frames and zero everywhere before training.

        x: (N, E, T) noisy latents; t: (N,) times in [0, 1]; y: (N, E, T) the prior's mean, the one that enters the
        mathematics; robot: (N, E, T) raw robot latents. With `condition` the robot is given to the network beside x, or
        y when robot is None; without it neither is looked at. context: (N, E, T2) other recordings of the voice;
        context_mask: (N, T2) and mask: (N, T) bool, True = real frame; drop: (N,) bool, True = replace this item's
        context by the learned null (for classifier-free guidance; drop it from y as well, see PriorMean), as for
        context None or without a real frame. A network with context="none" looks at no context; text must be None.
        With a mask, neither its padding, wherever it lies, nor the other items of the batch change real frames.
        """
        condition = self._condition(x, y, robot) if self.config["condition"] else None
        _check(self.config["channels"], text, x=x, condition=condition, mask=mask, context=context,
               context_mask=context_mask, t=t, drop=drop)
        inputs = x if condition is None else torch.cat((x, condition), dim=1)  # (N, 2E, T)
        inputs, real, home = _to_front(inputs, mask)
        features, tokens = self.time(t), None  # (N, H)
        if self.kind is not None:
            features = features + self.kind(kind)
        if self.context is not None:
            if context is not None:
                context, context_mask, _ = _to_front(context, context_mask)
            *tokens, pooled = self.context(len(x), context, context_mask, drop)
            features = features + pooled
        estimate = self.backbone(inputs, F.silu(features), real, tokens)
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
        with safe_open(path, framework="pt") as file:
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
            raise ValueError(f"{path} does not fit its configuration in {len(wrong)} tensors, first {name}: "
                             f"the file has {given.get(name)}, accepted is {wanted.get(name)}")
        model.load_state_dict(state)
        return model.to(device).eval()


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


def _check(channels, text, **tensors):
    """Raise ValueError with the shapes given and accepted when the inputs of `forward` do not fit together."""
    if text is not None:
        raise ValueError("this denoiser has no text input: text must be None")
    x, context = tensors["x"], tensors["context"]
    if x.ndim != 3 or x.shape[1] != channels:
        raise ValueError(f"x must be (N, {channels}, T), got {tuple(x.shape)}")
    items, frames = x.shape[0], x.shape[2]
    if context is not None and (context.ndim != 3 or context.shape[:2] != (items, channels) or not context.shape[2]):
        raise ValueError(f"context must be ({items}, {channels}, T2) with T2 > 0, got {tuple(context.shape)}")
    wanted = dict(t=(items,), condition=tuple(x.shape), mask=(items, frames), drop=(items,),
                  context_mask=None if context is None else (items, context.shape[2]))
    for name, shape in wanted.items():
        value = tensors[name]
        if value is not None and shape is not None and tuple(value.shape) != shape:
            raise ValueError(f"{name} must be {shape} to fit x {tuple(x.shape)}, got {tuple(value.shape)}")
