"""Parts of the network: tokens, rotary attention, adaLN-zero transformer and ConvNeXt blocks, time embedding."""

import math

import torch
import torch.nn.functional as F
from torch import nn


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


def rotary(length, size, device=None):
    """Return the rotary angles of positions 0 .. length - 1 as (cos, sin), each (length, size / 2).

    length: number of tokens; size: width of one attention head, even.
    source: Su 2021 (RoFormer), section 3.2.2.
    """
    rates = 10000.0 ** (-torch.arange(0, size, 2, device=device, dtype=torch.float32) / size)
    angles = torch.arange(length, device=device, dtype=torch.float32)[:, None] * rates  # (length, size / 2)
    return angles.cos(), angles.sin()


def rotate(x, rotation):
    """Rotate the pairs (x[i], x[i + size / 2]) of each head by its position's angles.

    x: (..., L, size) queries or keys; rotation: what `rotary(L, size)` returned. Returns (..., L, size).
    """
    cos, sin = (angle.to(x.dtype) for angle in rotation)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def masked_mean(x, mask=None):
    """Return the mean of x over its last axis, over the frames where mask is True; an item without any gives zero.

    x: (N, C, T); mask: (N, T) bool or None (all frames). Returns (N, C, 1).
    """
    if mask is None:
        return x.mean(dim=2, keepdim=True)
    total = x.masked_fill(~mask[:, None], 0).sum(dim=2, keepdim=True)
    return total / mask.sum(dim=1).clamp(min=1)[:, None, None]


def modulate(x, shift, scale):
    """Return x * (1 + scale) + shift, with x: (N, L, H) and shift, scale: (N, 1, H)."""
    return torch.addcmul(shift, x, 1 + scale)


class Attention(nn.Module):
    """Multi-head attention of tokens to themselves or to a source; inner: width of all heads (None: the tokens')."""

    def __init__(self, width, heads, inner=None):
        super().__init__()
        inner, self.heads = inner or width, heads
        self.query = nn.Linear(width, inner)
        self.key_value = nn.Linear(width, 2 * inner)
        self.out = nn.Linear(inner, width)

    def forward(self, x, mask=None, rotation=None, source=None):
        """Attend from every token of x to the tokens that the mask allows.

        x: (N, L, H) tokens; source: (N, S, H) tokens to attend to (None: x itself, S = L); mask: (N, S) bool, True =
        may be attended to; rotation: what `rotary` returned, for attention of x to itself.
        Returns (N, L, H); an item whose mask allows nothing gets the output bias alone, never NaN.
        """
        query = self._split(self.query(x))  # (N, heads, L, H / heads)
        key, value = map(self._split, self.key_value(x if source is None else source).chunk(2, dim=-1))
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        if mask is None:
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            some = mask.any(dim=1, keepdim=True)  # a softmax over nothing is NaN: open such rows, then discard them
            allowed = (mask | ~some)[:, None, None]  # (N, 1, 1, S)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
            mixed = mixed * some[:, None, None].to(mixed.dtype)
        return self.out(mixed.transpose(1, 2).flatten(2))  # (N, L, H)

    def _split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, L, H / heads)


class Block(nn.Module):
    """Self-attention, what the context's mechanism adds if there is one, and an MLP, under adaLN-zero.

    source: Peebles 2023 (DiT), section 3.2; the mechanism starts from a zero output instead of a gate (PixArt).
    """

    def __init__(self, width, heads, mechanism=None):
        super().__init__()
        self.mixer = Attention(width, heads)
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.cross_norm = None if mechanism is None else nn.LayerNorm(width)
        self.cross = mechanism
        self.mlp = _mlp(width, 4 * width)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x, condition, mask=None, rotation=None, context=None):
        """Return the tokens after one layer, (N, L, H).

        x: (N, L, H) tokens; condition: (N, H) embedded time and voice; mask: (N, L) bool, True = real; rotation: angles
        of `rotary` or None; context: (tokens (N, S, H), mask (N, S)), looked at only by a block with a mechanism.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, dim=-1)  # (N, 1, H)
        mixed = self.mixer(modulate(self.norm(x), shift1, scale1), mask, rotation)
        x = torch.addcmul(x, gate1, mixed)
        if self.cross is not None:
            x = x + self.cross(self.cross_norm(x), mask, *context)
        return torch.addcmul(x, gate2, self.mlp(modulate(self.norm(x), shift2, scale2)))


class ConvNeXt(nn.Module):
    """What the context's mechanism adds if there is one, then depthwise convolution, norm and MLP under one gate.

    hidden: width of the MLP. source: Liu 2022 (ConvNeXt), section 2.6, its norm and layer scale made adaLN-zero.
    """

    def __init__(self, width, hidden, mechanism=None, kernel=7):
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.cross_norm = None if mechanism is None else nn.LayerNorm(width)
        self.cross = mechanism
        self.mlp = _mlp(width, hidden)
        self.modulation = nn.Linear(width, 3 * width)

    def forward(self, x, condition, mask, context=None):
        """Return the tokens after one layer, (N, L, H); arguments as those of Block, masked tokens are not seen."""
        shift, scale, gate = self.modulation(condition)[:, None].chunk(3, dim=-1)  # (N, 1, H)
        if self.cross is not None:
            x = x + self.cross(self.cross_norm(x), mask, *context)
        seen = x.masked_fill(~mask[..., None], 0).transpose(1, 2).unsqueeze(2)  # (N, H, 1, L), channels last
        weight, reach = self.conv.weight.unsqueeze(2), self.conv.padding[0]  # a 2-d convolution is the faster one there
        mixed = F.conv2d(seen, weight, self.conv.bias, padding=(0, reach), groups=x.shape[2]).squeeze(2).transpose(1, 2)
        mixed = self.norm(mixed)
        return torch.addcmul(x, gate, self.mlp(modulate(mixed, shift, scale)))


def _mlp(width, hidden):
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))


class Head(nn.Module):
    """Last adaptive norm and projection of the tokens."""

    def __init__(self, width, size):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, size)

    def forward(self, x, condition):
        """Project tokens x: (N, L, H) under condition: (N, H) to (N, L, size)."""
        shift, scale = self.modulation(condition)[:, None].chunk(2, dim=-1)  # (N, 1, H)
        return self.out(modulate(self.norm(x), shift, scale))


class TimeEmbedding(nn.Module):
    """Diffusion time to features: sinusoids of 1000 t, then an MLP."""

    def __init__(self, width, size=256):
        super().__init__()
        self.size = size
        self.mlp = nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t):
        """Embed t: (N,) times in [0, 1], 0 clean and 1 the prior (the time itself, not its log-SNR). Returns (N, H).

        source: Dhariwal 2021, with 1000 t in the place of the step number.
        """
        half = self.size // 2
        rates = torch.exp(-math.log(10000) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
        angles = 1000 * t.float()[:, None] * rates  # (N, size / 2)
        return self.mlp(torch.cat((angles.cos(), angles.sin()), dim=-1).to(self.mlp[0].weight.dtype))
