"""ConvNeXt residual networks over time, and long inputs in blocks of time."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

BLOCK = 2048  # latent frames worked on at once


@cache
def bf16_pays(device):
    """Say whether a torch.device multiplies matrices faster in bfloat16: on a CPU without the instructions it is far slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    abilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(abilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


class ConvNeXt(nn.Module):
    """One ConvNeXt block over time on (N, T, C); masked frames never reach a neighbour. source: Liu 2022, figure 4.

    In training its two Linear layers run in bfloat16 where that pays; convolution, norm and sum stay in float32.
    """

    def __init__(self, width, expansion=3):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)

    def forward(self, x, real):
        """x: (N, T, C); real: (N, T, 1) of ones and zeros. Returns (N, T, C)."""
        rows = (x * real).mT.unsqueeze(2)  # (N, C, 1, T), channels last: a 2-d convolution is the faster one there
        mixed = F.conv2d(rows, self.depthwise.weight.unsqueeze(2), self.depthwise.bias, padding=(0, 3), groups=x.shape[2])
        mixed = mixed.squeeze(2).mT  # (N, T, C)
        with torch.autocast(x.device.type, torch.bfloat16, self.training and bf16_pays(x.device)):
            return x + self.down(F.gelu(self.up(self.norm(mixed))))


class Residual(nn.Module):
    """A stack of ConvNeXt blocks whose output starts at zero: (N, T, inputs) -> (N, T, outputs)."""

    def __init__(self, inputs, outputs, width, depth):
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(ConvNeXt(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, outputs)
        self.reach = 3 * depth  # frames seen on either side
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x, real):
        """x: (N, T, inputs); real: (N, T, 1). Returns (N, T, outputs)."""
        x = self.enter(x)  # (N, T, width)
        for block in self.blocks:
            x = block(x, real)
        return self.leave(self.norm(x))


def in_blocks(work, x, real, reach):
    """Return work(x, real), done in blocks of time and equal to the whole: each block has all the neighbours that it sees.

    x: (N, T, C); real: (N, T, R); work: returns (N, r T, D) for some r; reach: frames of x that a result depends on either side.
    """
    if x.shape[1] <= BLOCK:
        return work(x, real)
    parts = []
    for at in range(0, x.shape[1], BLOCK):
        part = slice(max(0, at - reach), at + BLOCK + reach)
        made = work(x[:, part], real[:, part])
        rate = made.shape[1] // x[:, part].shape[1]
        parts.append(made[:, (at - part.start) * rate : (at - part.start + BLOCK) * rate])
    return torch.cat(parts, 1)
