"""Fréchet distance between two sets of features taken as Gaussians."""

import torch


def frechet(a, b):
    """Return the Fréchet distance |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of two sets of features.

    a: (n, d), b: (m, d) features from one and the same judge, n and m at least 2 d: with fewer clips the covariances
    are mostly chance, and the distance with them. Compare only distances at equal n and m, and print the distance of
    real clips against real clips beside them. Returns a float, never negative.
    errors: ValueError for other shapes, too few rows, or values that are not finite.
    source: Dowson and Landau 1982; the root's trace from the eigenvalues of the symmetric C_a^(1/2) C_b C_a^(1/2).
    """
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"got features {tuple(a.shape)} and {tuple(b.shape)}; accepted: (n, d) and (m, d)")
    if min(len(a), len(b)) < 2 * a.shape[1]:
        least = 2 * a.shape[1]
        raise ValueError(f"got {len(a)} and {len(b)} clips of {a.shape[1]} features; accepted: {least} of each or more")
    if not (a.isfinite().all() and b.isfinite().all()):
        raise ValueError("features: got values that are not finite; accepted: finite numbers")
    return gaussian_frechet(a.mean(0), torch.cov(a.T), b.mean(0), torch.cov(b.T))


def gaussian_frechet(mean_a, covariance_a, mean_b, covariance_b):
    """Return the Fréchet distance of two Gaussians given by mean (d,) and covariance (d, d), as a float."""
    size = len(mean_a)
    covariance_a, covariance_b = covariance_a.reshape(size, size), covariance_b.reshape(size, size)  # () for one column
    values, vectors = torch.linalg.eigh(covariance_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ covariance_b @ root).clamp(min=0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + covariance_a.trace() + covariance_b.trace() - 2 * overlap
    return max(0.0, float(distance))
