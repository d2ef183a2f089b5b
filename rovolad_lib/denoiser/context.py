"""How the network hears other recordings of the voice, and words about it: as tokens, by one of three mechanisms.

Every layer of every backbone adds `mechanism(x (N, L, H), mask (N, L) or None, tokens (N, S, H), allowed (N, S))` to its
tokens x. All three begin as zero, have about 4 H^2 weights and give the context's tokens no position, so that their order
is irrelevant. N items of latents (N, E, T), context (N, E, T2); inside the network H features stand for E channels:

`two_step`, T -> T2 -> T: the context's tokens gather from the latents', the latents' then from those that have gathered.
`channel`: query and key, both from the context, give a matrix channels x channels which mixes the channels of the latents.
`cross`: queries from the latents, keys and values from the context.

In `transformer_et` the latents' tokens are channels, and the context's tokens are stretches of time there too: `cross` lets
a channel look at the context's stretches; `two_step` is E -> T2 -> E; the matrix of `channel` is E x E and mixes tokens.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .layers import Attention, patches


class Cross(Attention):
    """Queries from the latents, keys and values from the context."""

    def forward(self, x, mask, tokens, allowed):
        """Return what the context adds to tokens x, (N, L, H); arguments in the module's docstring."""
        return super().forward(x, allowed, source=tokens)


class TwoStep(Attention):
    """Two attentions of half the width: the context's tokens gather from the latents', then the latents' from those.

    source: Lee 2019 (Set Transformer), eq. 9-10, an induced set attention block whose inducing points are the context.
    """

    def __init__(self, width, heads):
        super().__init__(width, heads, width // 2)
        self.gather = Attention(width, heads, width // 2)

    def forward(self, x, mask, tokens, allowed):
        """Return what the context adds to tokens x, (N, L, H); arguments in the module's docstring."""
        gathered = tokens + self.gather(tokens, mask, source=x)  # (N, S, H)
        return super().forward(x, allowed, source=gathered)


class Channel(nn.Module):
    """Attention along channels, by a matrix that is made of the context alone.

    The products of query and key are means over the context's tokens, so that its length does not sharpen the softmax.
    channels: None = the features of x are its channels (a matrix of H / heads by head), else x's L = channels tokens are
    (a matrix of L by head). source: El-Nouby 2021 (XCiT), section 3.2, with queries and keys of another signal.
    """

    def __init__(self, width, heads, channels=None):
        super().__init__()
        self.heads, self.channels = heads, channels
        size = heads * channels if channels else width
        self.query, self.key = nn.Linear(width, size), nn.Linear(width, size)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x, mask, tokens, allowed):
        """Return what the context adds to tokens x, (N, L, H); arguments in the module's docstring."""
        share = (allowed / allowed.sum(dim=1, keepdim=True))[..., None].to(tokens.dtype)  # (N, S, 1)
        query = self._by_head(self.query(tokens) * share).mT  # (N, heads, channels, S)
        key = self._by_head(self.key(tokens)).mT
        value = self._by_head(self.value(x))  # (N, heads, L, H / heads)
        value = value if self.channels else value.mT  # (N, heads, channels, the rest)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        mixed = mixed if self.channels else mixed.mT
        return self.out(mixed.transpose(1, 2).flatten(2))  # (N, L, H)

    def _by_head(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


CONTEXTS = ("none", "two_step", "channel", "cross")


def mechanism(name, width, heads, channels=None):
    """Return a new mechanism of a name in CONTEXTS, None for none; channels: see Channel."""
    if name == "channel":
        return Channel(width, heads, channels)
    return {"none": lambda *_: None, "two_step": TwoStep, "cross": Cross}[name](width, heads)


class Tokens(nn.Module):
    """Frames of the context, or token latents of a text, as tokens for a mechanism, and their mean for adaptive norms.

    A learned null token stands in for what an item does not have; nothing else of such an item is looked at.
    Tokens carry no position: the order of references is irrelevant when each begins a token of its own, that is, when they
    are joined after being filled to whole multiples of the patch, the filling masked.
    """

    def __init__(self, channels, width, patch):
        super().__init__()
        self.patch = patch
        self.embed = nn.Sequential(nn.Linear(channels * patch, width), nn.SiLU(), nn.Linear(width, width))
        self.null = nn.Parameter(torch.zeros(width))
        self.pool = nn.Linear(width, width)

    def forward(self, items, context=None, mask=None, drop=None):
        """Turn frames into what a mechanism attends to.

        items: N; context: (N, E, T2) or None, its masked frames zero and its real frames beginning at frame 0;
        mask: (N, T2) bool or None; drop: (N,) bool, True = this item's context is not to be heard.
        Returns tokens (N, 1 + L, H), which of them may be attended to (N, 1 + L) bool, and their mean (N, H).
        """
        null = self.null.expand(items, 1, -1)  # (N, 1, H)
        if context is None:
            allowed = torch.ones(items, 1, dtype=torch.bool, device=null.device)
            return null, allowed, self.pool(null[:, 0])
        frames, real = patches(context, mask, self.patch)
        if real is None:
            real = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)  # (N, L)
        if drop is not None:
            real = real & ~drop[:, None]
        tokens = torch.cat((null, self.embed(frames)), dim=1)  # (N, 1 + L, H)
        allowed = torch.cat((~real.any(dim=1, keepdim=True), real), dim=1)  # the null token only where nothing else is
        weight = allowed.to(tokens.dtype) / allowed.sum(dim=1, keepdim=True)
        return tokens, allowed, self.pool((weight[:, None] @ tokens)[:, 0])
