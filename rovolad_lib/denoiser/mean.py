"""The mean of the prior: where a bridge starts, known in closed form before any network is trained."""

import torch
import torch.nn.functional as F
from torch import nn

from rovolad_lib.diffusion.schedules import check

from .layers import masked_mean

FORMS = ("ridge", "affine", "robot", "none")
WINDOW = 5  # frames, 100 ms, by which two moments of speech are told to be alike
LACK = 3.0  # times y for what its neighbours lack: more keeps more words and less of the voice


class PriorMean(nn.Module):
    """Context's mean plus a global linear map of the robot less its overall mean, by default three frames to one.

    Nothing here is trained by gradients: `weight` (E, E, 3), `centre` (E, 1), the robot's mean over all clips (of a
    clip's own frames it would depend on the crop), and `residual` (E,), the mean square of target minus y, are set by
    `fit`. Before it the weight is zero, so y is the context's mean alone. Of y only the context tells the voice: it goes
    where the context is dropped, and what the robot says stays. `moments`: of the last `fit`, mean squares of x0 and y,
    mean of x0 y, then both without the context, an own one for each channel: 5 lists of E, for the notes of a model.

    neighbours: so many frames of the context, those most like it, take the place of each frame of y, in their mean: frames of
    the voice itself (0: none do). source: Baas 2023 (kNN-VC, arXiv 2305.18975), there in one space that knows no voices; here
    the map is what brings the robot to the voice's space. Alike is the cosine of WINDOW frames around the context's mean, in
    canonical directions, `content` (E, E): those of the voice's frames that the map explains best, each of unit variance times
    the root of the share explained (source: Hotelling 1936). What the robot cannot tell, such as pitch, has no say in what is
    alike. A context of few words lacks most sounds, and its frames would say other words: of y stays LACK times as much as the
    neighbours' mean cosine is short of 1, for a y of least squares moves less than speech does.
    """

    moments = None

    def __init__(self, channels, neighbours=0):
        super().__init__()
        self.neighbours = neighbours
        if neighbours:
            self.register_buffer("content", torch.eye(channels))
        self.register_buffer("weight", torch.zeros(channels, channels, 3))
        self.register_buffer("centre", torch.zeros(channels, 1))
        self.register_buffer("residual", torch.ones(channels))

    def forward(self, robot, context=None, context_mask=None, mask=None, drop=None):
        """Return y: (N, E, T), zero on masked frames.

        robot: (N, E, T) robot latents; context: (N, E, T2) other recordings of the voice or None; context_mask: (N, T2)
        and mask: (N, T) bool, True = real frame; drop: (N,) bool, True = leave this item's context out. The context's
        mean is zero where context is None, dropped, or has no real frame.
        """
        y = F.conv1d(self._centred(robot, mask), self.weight.to(robot.dtype), padding=1)  # (N, E, T)
        if context is not None:
            voice = masked_mean(context, context_mask)  # (N, E, 1)
            spoken = voice + (self._nearest(y, context - voice, mask, context_mask) if self.neighbours else y)
            y = spoken if drop is None else torch.where(drop[:, None, None], y, spoken)
        return y if mask is None else y.masked_fill(~mask[:, None], 0)

    def _nearest(self, y, context, mask, real):
        """Return y (N, E, T) with the frames of the context (N, E, T2) that are most like its own in their place.

        Both without the voice's mean; mask: (N, T) and real: (N, T2) bool or None. An item without a real frame stays as it is.
        """
        y, context = (frames if m is None else frames.masked_fill(~m[:, None], 0) for frames, m in ((y, mask), (context, real)))
        alike = self._moments(y).mT @ self._moments(context)  # (N, T, T2)
        if real is not None:
            alike = alike.masked_fill(~real[:, None], -torch.inf)
        near = alike.topk(min(self.neighbours, alike.shape[2]), dim=2)
        share = near.values.isfinite().to(y)
        found = share.sum(2, keepdim=True)
        chosen = torch.zeros_like(alike).scatter(2, near.indices, share / found.clamp(min=1))
        near = (near.values.masked_fill(share == 0, 0) * share).sum(2, keepdim=True) / found.clamp(min=1)
        lacking = torch.where(found > 0, LACK * (1 - near), 1.0).mT  # (N, 1, T)
        return context @ chosen.mT + lacking * y

    def _moments(self, frames):
        """Return what each of some frames (N, E, T) and those around it say, of length 1: (N, E WINDOW, T)."""
        around = F.pad(self.content @ frames, (WINDOW // 2, WINDOW // 2)).unfold(2, WINDOW, 1)  # (N, E, T, WINDOW)
        return F.normalize(around.transpose(2, 3).flatten(1, 2), dim=1)

    @torch.no_grad()
    def fit(self, robots, targets, contexts=None, l2=1e-2, form="ridge"):
        """Set the map from a list of items and return the explained share of the variance around the means.

        robots, targets: iterables of (E, T) tensors, the robot already aligned with its target; contexts: iterable of
        (E, T2), what `forward` will be given as context, None for no context; l2: added to the diagonal of the
        inputs' mean square; form: "ridge", three frames of all channels to one; "affine", every channel from itself; "robot",
        the robot as it is; "none", no robot in y. Sums are float64. ValueError for no frames, an unknown form, and for shapes
        or numbers of items that differ.
        """
        check(form, "form", FORMS)
        channels = self.weight.shape[0]
        gram = torch.zeros(3 * channels, 3 * channels, dtype=torch.float64, device=self.weight.device)
        cross, power, frames = gram.new_zeros(3 * channels, channels), gram.new_zeros(channels, channels), 0
        columns = (robots, targets) if contexts is None else (robots, targets, contexts)
        items = list(zip(*columns, strict=True))
        if not any(robot.shape[-1] for robot, *_ in items):
            raise ValueError("PriorMean.fit was given no frames; at least one (E, T) pair is needed")
        centre = torch.cat([item[0].to(self.centre) for item in items], dim=1).mean(dim=1, keepdim=True)
        self.centre.copy_(torch.zeros_like(centre) if form == "robot" else centre)
        for item in items:
            inputs, wanted = self._equations(*item)
            gram += inputs @ inputs.T
            cross += inputs @ wanted.T
            power += wanted @ wanted.T
            frames += wanted.shape[1]
        ridge = gram / frames + l2 * torch.eye(3 * channels, dtype=torch.float64, device=gram.device)
        solution = _solution(form, ridge, cross / frames)  # (3E, E)
        left = power - cross.T @ solution - solution.T @ cross + solution.T @ gram @ solution  # (E, E)
        self.weight.copy_(solution.T.unflatten(1, (channels, 3)))
        if self.neighbours:
            self.content.copy_(_canonical(power / frames, left / frames))
        products = sum(self._products(*item) for item in items)
        self.moments = (products / frames).tolist()
        left, power = left.diagonal(), power.diagonal()
        if self.neighbours:  # what they leave, which no normal equation tells
            left = products[0] + products[1] - 2 * products[2]
        self.residual.copy_(left / frames)
        return 1 - float(left.sum() / power.sum())

    def _equations(self, robot, target, context=None):
        """Return the three-frame inputs (3E, T) and wanted outputs (E, T) of one item in float64."""
        channels = self.weight.shape[0]
        if robot.shape != target.shape or robot.ndim != 2 or robot.shape[0] != channels:
            raise ValueError(
                f"robot and target must be ({channels}, T) alike, got {tuple(robot.shape)} and {tuple(target.shape)}"
            )
        robot, target = robot.to(self.weight.device, torch.float64), target.to(self.weight.device, torch.float64)
        if context is not None:
            if context.ndim != 2 or context.shape[0] != channels or not context.shape[1]:
                raise ValueError(f"a context must be ({channels}, T2), T2 > 0, got {tuple(context.shape)}")
            target = target - context.mean(1, keepdim=True).to(target)
        windows = F.pad(self._centred(robot), (1, 1)).unfold(1, 3, 1)  # (E, T, 3)
        return windows.permute(0, 2, 1).flatten(0, 1), target

    def _products(self, robot, target, context=None):
        """Return the sums over an item's frames that `moments` is made of: (5, E) in float64."""
        robot, target = robot.to(self.weight), target.to(self.weight).double()
        blank = self(robot[None])[0].double()
        y = blank if context is None else self(robot[None], context[None].to(robot))[0].double()
        return torch.stack((target * target, y * y, target * y, blank * blank, target * blank)).sum(dim=-1)

    def _centred(self, robot, mask=None):
        """Return the robot less its overall mean, zero on masked frames: (N, E, T)."""
        centred = robot - self.centre.to(robot)
        return centred if mask is None else centred.masked_fill(~mask[:, None], 0)


def _solution(form, ridge, cross):
    """Return the map's weights (3E, E): ridge (3E, 3E) and cross (3E, E) are the normal equations, over the frames."""
    if form == "ridge":
        return torch.linalg.solve(ridge, cross)
    channel = torch.arange(cross.shape[1], device=cross.device)
    own = 3 * channel + 1  # the middle frame of the channel itself
    slope = {"affine": cross[own, channel] / ridge[own, own], "robot": 1.0, "none": 0.0}[form]
    solution = torch.zeros_like(cross)
    solution[own, channel] = slope
    return solution


def _canonical(power, left):
    """Return (E, E), a canonical direction a row, of unit variance times the root of the share of it that is explained.

    power, left: (E, E), mean products over the frames: of what was to be explained, and of what is left of it.
    """
    variance, axes = torch.linalg.eigh(power)
    white = axes * variance.clamp(min=1e-9 * float(variance[-1])).rsqrt() @ axes.T  # few frames do not span all channels
    share, directions = torch.linalg.eigh(white @ (power - left) @ white)
    return (directions * share.clamp(min=0).sqrt()).T @ white
