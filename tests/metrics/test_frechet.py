import pytest
import torch

from rovolad_lib.metrics.frechet import frechet, gaussian_frechet


def rows(covariance, mean, count, generator):
    """Rows whose sample mean and covariance are exactly the given ones."""
    raw = torch.randn(count, len(mean), generator=generator, dtype=torch.float64)
    raw = raw - raw.mean(0)
    white = raw @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(raw.T))).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def test_commuting_covariances_have_a_closed_form():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64)).Q
    one, two = torch.tensor([1, 4, 9, 0.25, 2]).double(), torch.tensor([4, 1, 1, 0.36, 2]).double()
    means = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    expected = float((means[0] - means[1]).square().sum() + (one.sqrt() - two.sqrt()).square().sum())
    a = rows(basis * one @ basis.T, means[0], 60, generator)
    b = rows(basis * two @ basis.T, means[1], 90, generator)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet(b, a) == pytest.approx(expected, rel=1e-9)


def test_covariances_that_do_not_commute():
    # in two dimensions tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det AB))
    a, b = torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double(), torch.tensor([[1.0, -0.3], [-0.3, 3.0]]).double()
    overlap = ((a @ b).trace() + 2 * torch.linalg.det(a @ b).sqrt()).sqrt()
    mean = torch.zeros(2).double()
    assert gaussian_frechet(mean, a, mean + 1, b) == pytest.approx(
        float(2 + a.trace() + b.trace() - 2 * overlap), rel=1e-12
    )


def test_itself_is_at_distance_zero_even_where_a_feature_is_constant():
    a = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    a[:, 2] = 1
    assert 0 <= frechet(a, a.clone()) < 1e-6
    assert frechet(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [3.0]])) == pytest.approx(1.0)


def test_errors():
    with pytest.raises(ValueError, match="8 of each or more"):
        frechet(torch.zeros(7, 4), torch.zeros(20, 4))
    with pytest.raises(ValueError, match=r"accepted: \(n, d\)"):
        frechet(torch.zeros(9, 4), torch.zeros(9, 3))
    with pytest.raises(ValueError, match="finite"):
        frechet(torch.full((9, 4), float("nan")), torch.zeros(9, 4))
