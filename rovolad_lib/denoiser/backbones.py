"""Three backbones of one signature: tokens over time by attention or convolution, tokens over channels by attention.

Every backbone is built as `name(inputs, channels, width, depth, heads, patch, frames, cross)` and called as
`forward(x (N, inputs, T), condition (N, H), mask (N, T) or None, context) -> (N, channels, T)`. Real frames begin at
frame 0 and masked frames of x are zero: `denoiser.model` sees to both, so padding on either side changes nothing.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .layers import Attention, Block, Depthwise, Head, rotary

KERNEL = 7  # tokens; dilated by 1, 2, 4 in turn


def patches(x, mask, patch):
    """Fold `patch` neighbouring frames into one token; an odd end is filled with zeros.

    x: (N, C, T); mask: (N, T) bool or None. Returns tokens (N, L, C * patch) and their mask (N, L) or None, with
    L = ceil(T / patch); a token is real when one of its frames is.
    """
    lacking = -x.shape[2] % patch
    tokens = F.pad(x, (0, lacking)).unflatten(2, (-1, patch)).permute(0, 2, 1, 3).flatten(2)  # (N, L, C * patch)
    if mask is not None:
        mask = F.pad(mask, (0, lacking)).unflatten(1, (-1, patch)).any(dim=2)  # (N, L)
    return tokens, mask


def unpatch(tokens, channels, length):
    """Unfold tokens: (N, L, channels * patch) into frames (N, channels, length), the reverse of `patches`."""
    return tokens.unflatten(2, (channels, -1)).permute(0, 2, 1, 3).flatten(2)[..., :length]


class _OverTime(nn.Module):
    """Tokens over time, features over channels; the mixers decide how tokens see each other."""

    def __init__(self, inputs, channels, width, heads, patch, cross, mixers, ratio):
        super().__init__()
        self.channels, self.patch, self.head_width = channels, patch, width // heads
        self.embed = nn.Linear(inputs * patch, width)
        self.blocks = nn.ModuleList(Block(width, heads, mixer, ratio, cross) for mixer in mixers)
        self.head = Head(width, channels * patch)

    def forward(self, x, condition, mask=None, context=None):
        """Contract in the module's docstring."""
        tokens, token_mask = patches(x, mask, self.patch)
        rotation = rotary(tokens.shape[1], self.head_width, x.device)
        tokens = self.embed(tokens)  # (N, L, H)
        for block in self.blocks:
            tokens = block(tokens, condition, token_mask, rotation, context)
        return unpatch(self.head(tokens, condition), self.channels, x.shape[2])


def transformer_te(inputs, channels, width, depth, heads, patch, frames, cross):
    """Build self-attention over time with rotary positions; `frames` is not used."""
    mixers = [Attention(width, heads) for _ in range(depth)]
    return _OverTime(inputs, channels, width, heads, patch, cross, mixers, ratio=4)


def cnn(inputs, channels, width, depth, heads, patch, frames, cross):
    """Build depthwise convolutions over time (ConvNeXt); `frames` is not used.

    The MLP is 6 widths wide in the place of 4, which makes up for the 4 H^2 weights of the missing self-attention.
    """
    mixers = [Depthwise(width, KERNEL, dilation=2 ** (layer % 3)) for layer in range(depth)]
    return _OverTime(inputs, channels, width, heads, patch, cross, mixers, ratio=6)


class transformer_et(nn.Module):
    """Self-attention over channels: a token is one channel, its features are that channel's frames.

    Frames are features here, so the longest clip is fixed: `frames`, shorter ones are filled with zeros. `patch` is
    not used. A token sees its own channel of every input (x, and the robot's when given) and learns which one it is.
    """

    def __init__(self, inputs, channels, width, depth, heads, patch, frames, cross):
        super().__init__()
        self.channels, self.frames = channels, frames
        self.embed = nn.Linear(inputs // channels * frames, width)
        self.position = nn.Parameter(torch.zeros(channels, width))
        self.blocks = nn.ModuleList(Block(width, heads, Attention(width, heads), 4, cross) for _ in range(depth))
        self.head = Head(width, frames)

    def forward(self, x, condition, mask=None, context=None):
        """Contract in the module's docstring; ValueError for more than `frames` frames."""
        length = x.shape[2]
        if length > self.frames:
            raise ValueError(f"transformer_et was built for at most {self.frames} frames, got {length}")
        filled = F.pad(x, (0, self.frames - length))
        tokens = filled.unflatten(1, (-1, self.channels)).transpose(1, 2).flatten(2)  # (N, E, inputs / E * frames)
        tokens = self.embed(tokens) + self.position  # (N, E, H)
        for block in self.blocks:
            tokens = block(tokens, condition, context=context)
        return self.head(tokens, condition)[..., :length]  # (N, E, T)


BACKBONES = {"transformer_te": transformer_te, "transformer_et": transformer_et, "cnn": cnn}
