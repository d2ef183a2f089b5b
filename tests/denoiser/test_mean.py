import pytest
import torch
import torch.nn.functional as F

from rovolad_lib.denoiser.mean import LACK, WINDOW, PriorMean


def corpus(lengths=(30, 41, 25), channels=4):
    torch.manual_seed(0)
    robots = [torch.randn(channels, length) + 3 for length in lengths]
    voices = [torch.randn(channels, 1) for _ in lengths]
    targets = [voice + robot.roll(1, 0) / 2 + torch.randn_like(robot) for robot, voice in zip(robots, voices, strict=True)]
    return robots, targets, voices


def rows(robot, centre):
    """Three neighbouring centred frames a row, written out: (T, 3E) with the frame index fastest."""
    centred = F.pad(robot - centre, (1, 1))
    length = robot.shape[1]
    return torch.stack([centred[:, shift : shift + length] for shift in range(3)], dim=1).flatten(0, 1).T


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_fit_is_the_ridge_of_least_squares(l2):
    robots, targets, voices = corpus()
    mean = PriorMean(4)
    mean.fit(iter(robots), iter(targets), iter(voices), l2=l2)
    inputs = torch.cat([rows(robot, torch.cat(robots, dim=1).mean(dim=1, keepdim=True)) for robot in robots]).double()
    wanted = torch.cat([(target - voice).T for target, voice in zip(targets, voices, strict=True)]).double()
    # the ridge as further rows
    inputs = torch.cat((inputs, (l2 * len(inputs)) ** 0.5 * torch.eye(12, dtype=torch.float64)))
    solution = torch.linalg.lstsq(inputs, F.pad(wanted, (0, 0, 0, 12))).solution  # (3E, E)
    assert torch.allclose(mean.weight.double(), solution.T.unflatten(1, (4, 3)), atol=1e-5)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_the_affine_form_is_a_line_for_each_channel(l2):
    robots, targets, voices = corpus()
    mean = PriorMean(4)
    explained = mean.fit(robots, targets, voices, l2=l2, form="affine")
    inputs = torch.cat(robots, dim=1).double()
    inputs = inputs - inputs.mean(dim=1, keepdim=True)
    wanted = torch.cat([target - voice for target, voice in zip(targets, voices, strict=True)], dim=1).double()
    slope = (inputs * wanted).mean(1) / (inputs.square().mean(1) + l2)
    left = (wanted - slope[:, None] * inputs).square()
    assert torch.allclose(mean.residual.double(), left.mean(1), rtol=1e-4)
    assert explained == pytest.approx(1 - float(left.sum() / wanted.square().sum()), rel=1e-3, abs=1e-4)
    y = mean(robots[1][None])[0]
    assert torch.allclose(y, slope[:, None].float() * (robots[1] - mean.centre), atol=1e-5)


def test_the_robot_as_it_is_and_no_robot():
    robots, targets, voices = corpus()
    mean = PriorMean(4)
    mean.fit(robots, targets, voices, form="robot")
    assert torch.equal(mean(robots[0][None])[0], robots[0])
    left = torch.cat([t - v - r for r, t, v in zip(robots, targets, voices, strict=True)], dim=1)
    assert torch.allclose(mean.residual, left.square().mean(1), rtol=1e-4)
    mean.fit(robots, targets, form="none")
    assert not mean(robots[0][None]).any()
    assert torch.allclose(mean.residual, torch.cat(targets, dim=1).square().mean(1), rtol=1e-4)
    with pytest.raises(ValueError, match="'diagonal'.*ridge, affine, robot, none"):
        mean.fit(robots, targets, form="diagonal")


def test_residual_and_explained_share_are_those_of_forward():
    robots, targets, voices = corpus()
    mean = PriorMean(4)
    explained = mean.fit(robots, targets, voices)
    left = torch.cat(
        [target - mean(robot[None], voice[None])[0] for robot, target, voice in zip(robots, targets, voices, strict=True)],
        dim=1,
    )
    whole = torch.cat([target - voice for target, voice in zip(targets, voices, strict=True)], dim=1)
    assert torch.allclose(mean.residual, left.square().mean(dim=1), rtol=1e-4)
    assert explained == pytest.approx(1 - float(left.square().sum() / whole.square().sum()), rel=1e-4)


@pytest.mark.parametrize(("form", "neighbours"), [("ridge", 0), ("affine", 0), ("robot", 0), ("none", 0), ("ridge", 2)])
def test_the_moments_are_those_of_forward(form, neighbours):
    robots, targets, voices = corpus()
    voices = [voice + torch.randn(4, 9) for voice in voices] if neighbours else voices
    mean = PriorMean(4, neighbours)
    assert mean.moments is None
    mean.fit(iter(robots), iter(targets), iter(voices), form=form)
    blank = torch.cat([mean(robot[None])[0] for robot in robots], dim=1)
    y = torch.cat([mean(robot[None], voice[None])[0] for robot, voice in zip(robots, voices, strict=True)], dim=1)
    x0 = torch.cat(targets, dim=1)
    wanted = torch.stack((x0 * x0, y * y, x0 * y, blank * blank, x0 * blank)).mean(2)
    assert torch.allclose(torch.tensor(mean.moments), wanted, rtol=1e-4, atol=1e-5)
    power, square, product = wanted[:3]
    assert torch.allclose(power + square - 2 * product, mean.residual, rtol=1e-3)
    mean.fit(robots, targets, form=form)
    assert mean.moments[1:3] == mean.moments[3:]


def test_an_exact_filter_is_found_and_carried_over_to_other_clips():
    torch.manual_seed(1)
    kernel = torch.randn(4, 4, 3)
    robots = [torch.randn(4, 60) for _ in range(5)]
    centre = torch.cat(robots[:4], dim=1).mean(dim=1, keepdim=True)
    filtered = [F.conv1d((robot - centre)[None], kernel, padding=1)[0] for robot in robots]
    mean = PriorMean(4)
    assert mean.fit(robots[:4], filtered[:4], l2=0) == pytest.approx(1)
    assert torch.allclose(mean(robots[4][None])[0], filtered[4], atol=1e-4)


def test_unfitted_mean_is_the_context_mean_and_dropped_context_is_zero():
    mean = PriorMean(4)
    robot, context = torch.randn(3, 4, 7), torch.randn(3, 4, 5)
    context_mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0] * 5], dtype=torch.bool)
    y = mean(robot, context, context_mask)
    assert torch.allclose(y[0], context[0].mean(dim=1, keepdim=True).expand(4, 7), atol=1e-6)
    assert torch.allclose(y[1], context[1, :, :2].mean(dim=1, keepdim=True).expand(4, 7), atol=1e-6)
    assert not y[2].any() and not mean(robot).any()
    y = mean(robot, context, drop=torch.tensor([True, False, False]))
    assert not y[0].any() and y[1].any()


def test_what_is_alike_is_heard_in_canonical_directions():
    robots, targets, voices = corpus()
    plain, mean = PriorMean(4), PriorMean(4, 2)
    plain.fit(robots, targets, voices)
    mean.fit(robots, targets, voices)
    around = torch.cat([t - v for t, v in zip(targets, voices, strict=True)], dim=1)
    left = around - torch.cat([plain(robot[None])[0] for robot in robots], dim=1)
    power, left = (z @ z.T / z.shape[1] for z in (around, left))
    told = mean.content @ power @ mean.content.T
    shares = told.diagonal()
    assert shares.max() > 0.15 and (shares.diff() > 0).all()
    assert torch.allclose(told, torch.diag(shares), atol=1e-4)  # uncorrelated, of unit variance times the share
    assert torch.allclose(mean.content @ (power - left) @ mean.content.T, torch.diag(shares.square()), atol=1e-4)  # explained


def test_neighbours_are_the_mean_of_the_context_s_frames_most_alike():
    robots, targets, voices = corpus()
    plain, mean = PriorMean(4), PriorMean(4, 2)
    contexts = [voice + torch.randn(4, 9) for voice in voices]
    plain.fit(robots, targets, contexts)
    mean.fit(robots, targets, contexts)
    said, context, y = plain(robots[0][None])[0], contexts[0], mean(robots[0][None], contexts[0][None])[0]
    heard = context - context.mean(1, keepdim=True)
    here, there = (F.pad(mean.content @ frames, (WINDOW // 2, WINDOW // 2)) for frames in (said, heard))
    for at, (frame, made) in enumerate(zip(said.T, y.T, strict=True)):
        now = here[:, at : at + WINDOW].flatten()
        alike = [float(F.cosine_similarity(now, there[:, k : k + WINDOW].flatten(), dim=0)) for k in range(9)]
        first, second = sorted(range(9), key=alike.__getitem__)[:-3:-1]
        lacking = 1 - (alike[first] + alike[second]) / 2
        assert torch.allclose(made, (context[:, first] + context[:, second]) / 2 + LACK * lacking * frame, atol=1e-5)
    assert torch.equal(mean(robots[0][None])[0], said)  # without a voice there is none to take frames from
    one = mean(robots[0][None], context[None, :, :1])[0]
    assert torch.allclose(one, context[:, :1] + LACK * said, atol=1e-5)  # a frame alone is the voice's mean, and like nothing


def test_an_item_without_neighbours_keeps_its_own():
    robots, targets, voices = corpus()
    mean = PriorMean(4, 3)
    mean.fit(robots, targets, voices)
    robot, context = torch.stack([robots[0]] * 3), torch.randn(3, 4, 5)
    heard = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0] * 5], dtype=torch.bool)
    y = mean(robot, context, heard)
    assert torch.allclose(y[1], mean(robot[1:2], context[1:2, :, :2])[0], atol=1e-5)  # two, where three are asked for
    assert torch.equal(y[2], mean(robot)[2]) and y.isfinite().all()
    dropped = mean(robot, context, heard, drop=torch.tensor([True, False, False]))
    assert torch.equal(dropped[0], mean(robot)[0]) and torch.equal(dropped[1:], y[1:])


@pytest.mark.parametrize("neighbours", [0, 4])
@pytest.mark.parametrize("lead", [0, 3, 9])
def test_padding_changes_nothing(lead, neighbours):
    robots, targets, voices = corpus()
    mean = PriorMean(4, neighbours)
    mean.fit(robots, targets, voices)
    context = torch.randn(1, 4, 6)
    alone = mean(robots[0][None], context)
    padded = F.pad(robots[0][None], (lead, 9 - lead), value=50)
    mask = F.pad(torch.ones(1, 30, dtype=torch.bool), (lead, 9 - lead))
    context_mask = F.pad(torch.ones(1, 6, dtype=torch.bool), (lead, 2))
    y = mean(padded, F.pad(context, (lead, 2), value=50), context_mask, mask)
    assert torch.allclose(y[:, :, lead : lead + 30], alone, rtol=1e-4, atol=1e-5)
    assert not y.masked_select(~mask[:, None]).any()


def test_fit_says_what_it_accepts():
    mean = PriorMean(4)
    with pytest.raises(ValueError, match=r"\(4, T\) alike, got \(4, 5\) and \(4, 6\)"):
        mean.fit([torch.zeros(4, 5)], [torch.zeros(4, 6)])
    with pytest.raises(ValueError, match=r"must be \(4, T2\), T2 > 0, got \(3, 1\)"):
        mean.fit([torch.zeros(4, 5)], [torch.zeros(4, 5)], [torch.zeros(3, 1)])
    with pytest.raises(ValueError, match="no frames"):
        mean.fit([], [])
    with pytest.raises(ValueError):
        mean.fit([torch.zeros(4, 5)] * 2, [torch.zeros(4, 5)])
