"""How sure a figure is: its interval over clips, and the ratio of two over the seeds."""

import math

import numpy
import torch
from seaborn.algorithms import bootstrap

# two-sided 95 % points of Student's t by degrees of freedom; source: tables, e.g. NIST/SEMATECH e-Handbook, 1.3.6.7.2
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
MARGIN = 1.25  # figures within a fifth of each other count as the same


def interval(scores):
    """Return [low, high], the 95 % percentile bootstrap interval of the mean of (N,) scores; nan are left out."""
    scores = numpy.asarray(scores, dtype=float)
    scores = scores[numpy.isfinite(scores)]
    if not len(scores):
        return [math.nan, math.nan]
    return numpy.percentile(bootstrap(scores, n_boot=2000, seed=0), [2.5, 97.5]).tolist()


def of_mean(values):
    """Return (low, high), Student's 95 % interval of the mean of (n,) figures of n seeds, nan of one."""
    values = numpy.asarray(values, dtype=float)
    if len(values) < 2:
        return math.nan, math.nan
    half = STUDENT[len(values) - 2] * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def wilson(hits, total):
    """Return (low, high), the 95 % interval of a share of `hits` in `total`; (0, 1) of none. source: Wilson 1927."""
    if not total:
        return 0.0, 1.0
    z, share = 1.96, hits / total
    centre, half = share + z**2 / (2 * total), z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return max(0.0, (centre - half) / (1 + z**2 / total)), min(1.0, (centre + half) / (1 + z**2 / total))


def ratio(a, b):
    """Return (a / b, low, high): the ratio of two positive figures and its 95 % interval.

    a, b: (n,) figures of the same n seeds, which give both the same data order and noise. The mean of the paired log ratios
    with Student's interval; for one seed the interval is (0, inf). ValueError for other numbers of seeds than 1 to 11.
    """
    logs = (torch.as_tensor(a, dtype=torch.float64) / torch.as_tensor(b, dtype=torch.float64)).log()
    if not 1 <= len(logs) <= len(STUDENT) + 1:
        raise ValueError(f"{len(logs)} seeds; accepted: 1 to {len(STUDENT) + 1}")
    centre = float(logs.mean())
    if len(logs) == 1:
        return math.exp(centre), 0.0, math.inf
    half = STUDENT[len(logs) - 2] * float(logs.std()) / math.sqrt(len(logs))
    return math.exp(centre), math.exp(centre - half), math.exp(centre + half)


def verdict(low, high, margin=MARGIN):
    """Return what an interval of a ratio says: "no", within the margin of 1; "yes", above 1; "reverse"; or "undecided"."""
    if 1 / margin < low and high < margin:
        return "no"
    return "yes" if low > 1 else "reverse" if high < 1 else "undecided"
