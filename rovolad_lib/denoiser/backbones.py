"""Three backbones of one signature: tokens over time by attention or convolution, tokens over channels by attention.

Every backbone is built as `name(inputs, channels, width, depth, heads, patch, frames, context)`, context a name in
`denoiser.context.CONTEXTS`, and called as `forward(x (N, inputs, T), condition (N, H), mask (N, T) or None, context,
windows) -> (N, channels, T)`. Real frames begin at frame 0 and masked frames of x are zero: `denoiser.model` sees to both,
so padding on either side changes nothing. `stride`: T is best a whole multiple of it, else zeros are added and cut off.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .context import mechanism
from .layers import Block, ConvNeXt, Head, patches, rotary, unpatch


class transformer_te(nn.Module):
    """Self-attention over time: a token is `patch` frames of all channels, rotary positions; `frames` is not used."""

    def __init__(self, inputs, channels, width, depth, heads, patch, frames, context):
        super().__init__()
        self.channels, self.stride, self.head_width = channels, patch, width // heads
        self.embed = nn.Linear(inputs * patch, width)
        self.blocks = nn.ModuleList(Block(width, heads, mechanism(context, width, heads)) for _ in range(depth))
        self.head = Head(width, channels * patch)

    def forward(self, x, condition, mask=None, context=None, windows=False):
        """Contract in the module's docstring; windows is not used."""
        tokens, token_mask = patches(x, mask, self.stride)
        rotation = rotary(tokens.shape[1], self.head_width, x.device)
        tokens = self.embed(tokens)  # (N, L, H)
        for block in self.blocks:
            tokens = block(tokens, condition, token_mask, rotation, context)
        return unpatch(self.head(tokens, condition), self.channels, x.shape[2])


class cnn(nn.Module):
    """A U-Net of ConvNeXt blocks: twice halved in time and back, skips added; `frames` is not used.

    Depth is the number of blocks in all, spread over the five stages, what is left over in the middle. Their MLPs are wide
    enough for the 18 H^2 weights a layer that the transformers have: 7.5 H less what down- and upsampling take.
    """

    LEVELS = 2

    def __init__(self, inputs, channels, width, depth, heads, patch, frames, context):
        super().__init__()
        self.channels, self.patch, self.stride = channels, patch, patch * 2**self.LEVELS
        hidden = round(width * (7.5 - 2 * self.LEVELS / depth))
        share = depth // (2 * self.LEVELS + 1)
        middle = depth - 2 * self.LEVELS * share

        def stage(blocks):
            return nn.ModuleList(ConvNeXt(width, hidden, mechanism(context, width, heads)) for _ in range(blocks))

        self.embed = nn.Linear(inputs * patch, width)
        self.down_blocks = nn.ModuleList(stage(share) for _ in range(self.LEVELS))
        self.downs = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(self.LEVELS))
        self.middle = stage(middle)
        self.ups = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(self.LEVELS))  # begin as zero
        self.up_blocks = nn.ModuleList(stage(share) for _ in range(self.LEVELS))
        self.head = Head(width, channels * patch)

    def forward(self, x, condition, mask=None, context=None, windows=False):
        """Contract in the module's docstring; windows is not used."""
        length = x.shape[2]
        if mask is None:
            mask = x.new_ones(len(x), length, dtype=torch.bool)
        filling = (0, -length % self.stride)
        tokens, real = patches(F.pad(x, filling), F.pad(mask, filling), self.patch)
        tokens, skips = self.embed(tokens), []  # (N, L, H)
        for blocks, down in zip(self.down_blocks, self.downs, strict=True):
            tokens = _through(blocks, tokens, condition, real, context)
            skips.append((tokens, real))
            tokens = down(tokens.unflatten(1, (-1, 2)).flatten(2))  # (N, L / 2, H)
            real = real.unflatten(1, (-1, 2)).any(dim=2)  # a token is real when one of its two is
        tokens = _through(self.middle, tokens, condition, real, context)
        for blocks, up in zip(self.up_blocks, self.ups, strict=True):
            skip, real = skips.pop()
            tokens = skip + up(tokens).unflatten(2, (2, -1)).flatten(1, 2)  # (N, L, H)
            tokens = _through(blocks, tokens, condition, real, context)
        return unpatch(self.head(tokens, condition), self.channels, length)


def _through(blocks, tokens, *inputs):
    for block in blocks:
        tokens = block(tokens, *inputs)
    return tokens


class transformer_et(nn.Module):
    """Self-attention over channels: a token is one channel, its features are that channel's frames; patch is not used.

    Frames are features here, so the longest clip is fixed: `frames`, shorter ones are filled with zeros. A token sees its
    own channel of every input (x, and the robot's when given) and learns which one it is.
    """

    def __init__(self, inputs, channels, width, depth, heads, patch, frames, context):
        super().__init__()
        self.channels, self.frames, self.stride = channels, frames, 1
        self.embed = nn.Linear(inputs // channels * frames, width)
        self.position = nn.Parameter(torch.zeros(channels, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, mechanism(context, width, heads, channels)) for _ in range(depth)
        )
        self.head = Head(width, frames)

    def forward(self, x, condition, mask=None, context=None, windows=False):
        """Contract in the module's docstring; a clip of more than `frames` frames takes windows, else is a ValueError."""
        length = x.shape[2]
        if length > self.frames and windows:
            return self._windowed(x, condition, mask, context)
        if length > self.frames:
            raise ValueError(
                f"transformer_et was built for at most {self.frames} frames, got {length}; windows=True takes longer clips"
            )
        filled = F.pad(x, (0, self.frames - length))
        tokens = filled.unflatten(1, (-1, self.channels)).transpose(1, 2).flatten(2)  # (N, E, inputs / E * frames)
        tokens = self.embed(tokens) + self.position  # (N, E, H)
        for block in self.blocks:
            tokens = block(tokens, condition, context=context)
        return self.head(tokens, condition)[..., :length]  # (N, E, T)

    def _windowed(self, x, condition, mask, context):
        """Take windows of `frames` frames that overlap by a quarter, their estimates cross-faded linearly.

        The first begins at frame 0 and an item's last is the first to reach its end, whatever it is batched with.
        source: Bar-Tal 2023 (MultiDiffusion), eq. 5, along time.
        """
        items, _, length = x.shape
        overlap = self.frames // 4
        hop = self.frames - overlap
        count = 1 + -(-(length - self.frames) // hop)
        span = self.frames + (count - 1) * hop
        clips = F.pad(x, (0, span - length)).unfold(2, self.frames, hop)  # (N, inputs, W, frames)
        clips = clips.transpose(1, 2).flatten(0, 1)  # (N * W, inputs, frames)
        context = context and [part.repeat_interleave(count, dim=0) for part in context]
        said = self(clips, condition.repeat_interleave(count, dim=0), context=context).unflatten(0, (items, count))
        ends = x.new_full((items,), length) if mask is None else _ends(mask)
        starts = torch.arange(count, device=x.device) * hop
        used = (starts == 0) | (starts + overlap < ends[:, None])  # (N, W): the one before did not reach the end
        ramp = torch.arange(1, self.frames + 1, device=x.device).clamp(max=overlap + 1)
        weight = used[..., None] * torch.minimum(ramp, ramp.flip(0)).to(x.dtype)  # (N, W, frames)
        total, weights = x.new_zeros(items, self.channels, span), x.new_zeros(items, 1, span)
        for window in range(count):
            place = slice(window * hop, window * hop + self.frames)
            total[..., place] += said[:, window] * weight[:, window, None]
            weights[..., place] += weight[:, window, None]
        return (total / weights.clamp(min=1))[..., :length]  # frames that no window of an item reaches are masked


def _ends(mask):
    """Return how many frames reach to the last real one: (N,), of a mask (N, T)."""
    return (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(dim=1)


BACKBONES = {"transformer_te": transformer_te, "transformer_et": transformer_et, "cnn": cnn}
