"""How the network hears other recordings of the voice."""

import torch
from torch import nn

from .backbones import patches

CONTEXTS = ("none", "cross")


class Cross(nn.Module):
    """Context frames as tokens for cross-attention, and their mean for the adaptive norms.

    A learned null token stands in for the context of an item that has none; nothing else of such an item is looked at.
    Tokens carry no position: the order of references is irrelevant (when their lengths are multiples of the patch).
    """

    def __init__(self, channels, width, patch):
        super().__init__()
        self.patch = patch
        self.embed = nn.Sequential(nn.Linear(channels * patch, width), nn.SiLU(), nn.Linear(width, width))
        self.null = nn.Parameter(torch.zeros(width))
        self.pool = nn.Linear(width, width)

    def forward(self, items, context=None, mask=None, drop=None):
        """Turn context frames into what the blocks attend to.

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
