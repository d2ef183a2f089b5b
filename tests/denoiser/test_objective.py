import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rovolad_lib.denoiser.mean import PriorMean
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.denoiser.objective import Denoising, Estimator, answerable
from rovolad_lib.diffusion.guidance import deviation
from rovolad_lib.diffusion.priors import Bridge, Gaussian, Mixed, PerItem
from rovolad_lib.diffusion.samplers import ddim, ddpm, dpm_solver, dpm_solver_pp
from rovolad_lib.diffusion.schedules import gamma, gamma_linear, grid
from rovolad_lib.diffusion.targets import TARGETS, target, x0_from

PRIORS = [Gaussian(), Bridge(), Bridge(noise=0.3), Bridge(end="zero")]
RESIDUAL = torch.tensor([0.2, 1.0, 3.0])  # mean square of x0 - y, per channel


class Knows(nn.Module):
    """A network that is told its answer and keeps what it was given."""

    def __init__(self, answer=None, condition=True, residual=RESIDUAL):
        super().__init__()
        self.mean, self.answer, self.config = PriorMean(3), answer, {"condition": condition}
        self.mean.residual.copy_(residual)

    def forward(self, x, t, y, **inputs):
        self.heard, self.told = x, inputs.get("kind")
        return torch.zeros_like(x) if self.answer is None else self.answer


def drawn(items=5, frames=7):
    """y, a residual of the stated variance, and noise."""
    torch.manual_seed(0)
    y, noise = torch.randn(2, items, 3, frames)
    return y, RESIDUAL.sqrt()[:, None] * torch.randn(items, 3, frames), noise


def state(prior, y, residual, noise, t):
    a, b, c = (k.view(-1, 1, 1) for k in prior.coefficients(t))
    return a * y + b * (y + residual) + c * noise, (a, b, c)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_best_answer_gives_x0_back(prior):
    y, residual, noise = drawn()
    t = torch.tensor([1.0, 0.9, 0.5, 0.1, 1e-3])
    x, (a, b, c) = state(prior, y, residual, noise, t)
    estimate = Estimator(Knows(), prior)
    shift, c_in, c_skip, c_out = estimate.scales(t)
    v, u = RESIDUAL.view(1, 3, 1), b * residual + c * noise
    torch.testing.assert_close(shift, a + b)
    noisy = (b**2 * v + c**2 > 0).expand_as(c_in)
    torch.testing.assert_close(c_in[noisy], (b**2 * v + c**2).rsqrt()[noisy])
    torch.testing.assert_close(c_skip[noisy], (b * v / (b**2 * v + c**2))[noisy])
    torch.testing.assert_close(
        c_out[noisy], (v - b**2 * v**2 / (b**2 * v + c**2)).clamp(min=0).sqrt()[noisy], rtol=2e-3, atol=1e-4
    )
    estimate.model.answer = (residual - c_skip * u) / c_out
    torch.testing.assert_close(estimate(x, t, y), y + residual, rtol=1e-4, atol=2e-4)


def test_at_the_end_of_a_bridge_the_estimate_is_y_and_the_network():
    y, residual, noise = drawn()
    t = torch.ones(5)
    for prior in (Bridge(), Bridge(noise=0.3)):
        estimate = Estimator(Knows(noise), prior)
        x = prior.start(y, noise)
        torch.testing.assert_close(estimate(x, t, y), y + RESIDUAL.sqrt()[:, None] * noise)
        assert not estimate.model.heard.any()
        estimate(x + 1e-6, t, y)  # as rounding leaves it where guidance moves the state to another mean
        assert not estimate.model.heard.any()
    gaussian = Estimator(Knows(noise), Gaussian())(noise, t, y)
    torch.testing.assert_close(gaussian, y + RESIDUAL.sqrt()[:, None] * noise, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("time", [0.02, 0.3, 0.8, 0.999])
def test_what_the_network_hears_and_shall_say_has_unit_variance(prior, time):
    y, residual, noise = drawn(40, 1000)
    t = torch.full((40,), time)
    x, (a, b, c) = state(prior, y, residual, noise, t)
    estimate = Estimator(Knows(), prior)
    estimate(x, t, y)
    _, _, c_skip, c_out = estimate.scales(t)
    answer = (residual - c_skip * (b * residual + c * noise)) / c_out
    for values in (estimate.model.heard, answer):
        torch.testing.assert_close(values.var((0, 2)), torch.ones(3), atol=0.03, rtol=0)
    both = estimate.model.heard * answer
    assert both.mean((0, 2)).abs().max() < 0.03  # all that is linear has been taken out


SHARES = torch.tensor([0.2, 0.5, 0.9])  # of a unit variance, what the mean leaves over
PATHS = [*PRIORS, Mixed(), Mixed(0.5, "diffvc"), Gaussian(gamma_linear, 0.3), Bridge(kind="gmax"), Bridge(0.0)]


def standard(items, frames, mapped="ridge"):
    """y, x0 of unit variance and noise, as `moments` assumes them: y uncorrelated with the residual, or of unit variance."""
    one, two, noise = torch.randn(3, items, 3, frames, generator=torch.Generator().manual_seed(3))
    v = SHARES[:, None]
    if mapped == "robot":
        return one, (1 - v / 2) * one + (1 - (1 - v / 2) ** 2).sqrt() * two, noise
    return (1 - v).sqrt() * one, (1 - v).sqrt() * one + v.sqrt() * two, noise


@pytest.mark.parametrize("prior", PATHS)
@pytest.mark.parametrize("kind", TARGETS)
def test_every_target_is_led_back_and_is_heard_and_said_with_unit_variance(prior, kind):
    for mapped in ("ridge", "robot"):
        y, x0, noise = standard(30, 1000, mapped)
        for time in (0.05, 0.5, 1.0):
            t = torch.full((30,), time)
            x = prior.sample(x0, y, t, noise)
            estimate = Estimator(Knows(residual=SHARES), prior, target=kind, mapped=mapped)
            wanted = target(kind, prior, x0, y, noise, x, t, estimate.moments())
            estimate.model.answer = wanted
            got, known = estimate(x, t, y), float(prior.coefficients(time)[1]) > 1e-3 or kind != "eps"
            if known:
                torch.testing.assert_close(got, x0, rtol=1e-4, atol=1e-3)
            for values in (estimate.model.heard, wanted):
                power = values.square().mean((0, 2))
                alive = power > 1e-6  # a bridge to zeros ends in silence
                torch.testing.assert_close(power[alive], torch.ones(3)[alive], atol=0.04, rtol=0)
                assert alive.all() or (prior == Bridge(end="zero") and time == 1)


@pytest.mark.parametrize("mapped", ["ridge", "affine", "robot", "none"])
@pytest.mark.parametrize("voice", [True, False])
def test_with_a_fitted_mean_the_network_hears_unit_variance_with_a_voice_and_without(mapped, voice):
    """A voice of 0.3 of the latents' variance, heard in a noisy context; dropped, absent and all-masked ones are none."""
    torch.manual_seed(0)
    sound, robot = 0.3**0.5 * torch.randn(300, 3, 1), torch.randn(300, 3, 60)
    x0 = sound + 0.2**0.5 * robot + 0.5**0.5 * torch.randn(300, 3, 60)
    context = sound + 0.7**0.5 * torch.randn(300, 3, 40)
    kinds = [("residual", True), ("x0", True), ("preconditioned", False)]  # the last hears x_t, as the others do
    for kind, condition in kinds:
        model = Knows(condition=condition)
        model.mean.fit(robot, x0, context if voice else None, form=mapped)
        estimate = [Estimator(model, prior, target=kind, mapped=mapped, voice=voice, moments=model.mean.moments)
                    for prior in (Bridge(), Mixed(0.5), Gaussian())]  # fmt: skip
        everything, nothing = torch.ones(300, dtype=torch.bool), torch.zeros(300, 40, dtype=torch.bool)
        inputs = [{}, {"drop": everything}, {"context_mask": nothing}]
        inputs = [{}, *({"context": context} | given for given in inputs)]
        for one, given, time in itertools.product(estimate, inputs, (1.0, 0.5)):
            t, noise = torch.full((300,), time), torch.randn_like(x0)
            y = one.mean(robot, *(given.get(name) for name in ("context", "context_mask")), drop=given.get("drop"))
            x = one.prior.sample(x0, y, t, noise)
            one(x, t, y, **given)
            power = model.heard.square().mean()
            assert power == pytest.approx(1, abs=0.03) or not x.any()
            if kind == "residual":
                said = target(kind, one.prior, x0, y, noise, x, t, one.moments(given)).square().mean()
                assert said == pytest.approx(1, abs=0.03)


def test_in_one_batch_each_item_is_scaled_as_it_is_told():
    given, model = batch(6, 9, masked=False), Knows()
    model.mean.fit(given["robot"], given["x0"], given["context"])
    estimate = Estimator(model, Bridge(), target="v", moments=model.mean.moments)
    inputs = {name: given[name] for name in ("context", "context_mask", "drop")}
    y, t = estimate.mean(given["robot"], given["context"], None, None, given["drop"]), torch.full((6,), 0.8)
    estimate(given["x0"], t, y, **inputs)
    together = model.heard
    for item in range(6):
        own = slice(item, item + 1)
        estimate(given["x0"][own], t[own], y[own], **({} if given["drop"][item] else {"context": given["context"][own]}))
        torch.testing.assert_close(model.heard, together[own])


def test_a_network_that_is_not_given_the_robot_hears_the_state_itself():
    y, x0, noise = standard(30, 1000)
    for prior in (Bridge(), Mixed(0.5)):
        t = torch.ones(30)
        x = prior.sample(x0, y, t, noise)
        blind, told = (Estimator(Knows(condition=c, residual=SHARES), prior) for c in (False, True))
        blind(x, t, y), told(x, t, y)
        heard, u = blind.model.heard, told.model.heard
        torch.testing.assert_close(heard.square().mean((0, 2)), torch.ones(3), atol=0.03, rtol=0)
        assert torch.corrcoef(torch.stack((heard.flatten(), y.flatten())))[0, 1] > 0.7
        assert not u.any() or abs(torch.corrcoef(torch.stack((u.flatten(), y.flatten())))[0, 1]) < 0.02


@torch.no_grad()
def test_the_robot_is_prior_or_condition_or_both_or_neither():
    given = batch(8, 9)
    other = given | {"robot": given["robot"].flip(0)}
    for prior in (Gaussian(), Bridge()):
        for condition in (False, True):
            for mapped in ("ridge", "none"):
                model = denoiser(condition=condition)
                model.mean.fit(given["robot"], given["x0"], form=mapped)
                losses = []
                for data in (given, other):
                    torch.manual_seed(5)
                    losses.append(Denoising(prior, mapped=mapped)(model, data)["loss"])
                assert torch.equal(*losses) == (not condition and mapped == "none")


@torch.no_grad()
def test_the_context_s_mean_can_be_left_out_of_the_prior():
    given, model = batch(8, 9), denoiser()
    with_voice, without = Estimator(model, Bridge()), Estimator(model, Bridge(), voice=False)
    y = with_voice.mean(*(given[k] for k in ("robot", "context", "context_mask", "mask", "drop")))
    plain = without.mean(*(given[k] for k in ("robot", "context", "context_mask", "mask", "drop")))
    assert torch.equal(y[given["drop"]], plain[given["drop"]])  # dropped together with the context
    voice = given["context"].mean(2, keepdim=True) * given["mask"][:, None]
    torch.testing.assert_close((y - plain)[~given["drop"]], voice[~given["drop"]])


def test_an_item_s_own_deviation_is_that_of_its_real_frames():
    """Chen 2023's normalised input: every clip of unit deviation, what is padding does not count, and the state is as it was."""
    y, residual, noise = drawn()
    mask = torch.arange(7) < torch.tensor([7, 5, 3, 1, 7])[:, None]
    t = torch.full((5,), 0.4)
    x, _ = state(Bridge(), y, residual, noise, t)
    for kind in ("preconditioned", "v"):
        estimate = Estimator(Knows(), Bridge(), target=kind, normalise="item")
        estimate(x, t, y, mask=mask)
        heard = estimate.model.heard
        torch.testing.assert_close(deviation(heard, mask), torch.ones(5, 1, 1))
        loud = torch.where(mask[:, None], x, 1000.0)
        estimate(loud, t, y, mask=mask)
        real = mask[:, None].expand_as(x)
        torch.testing.assert_close(estimate.model.heard[real], heard[real], rtol=1e-4, atol=1e-5)
        for item, frames in enumerate((7, 5, 3, 1, 7)):
            own = slice(item, item + 1)
            estimate(x[own, :, :frames], t[own], y[own, :, :frames])
            torch.testing.assert_close(estimate.model.heard[0], heard[item, :, :frames], rtol=1e-4, atol=1e-5)
    silent = Estimator(Knows(), Bridge(), target="v", normalise="item")
    silent(torch.zeros_like(x), t, y)
    assert not silent.model.heard.any()


@pytest.mark.parametrize("kind", ["preconditioned", "x0", "eps", "v"])
@pytest.mark.parametrize("normalise", ["known", "item"])
@torch.no_grad()
def test_an_input_scale_is_another_schedule_once_the_input_is_normalised(kind, normalise):
    scale = 0.3

    def other(t):
        power = scale**2 * gamma_linear(t)
        return power / (power + 1 - gamma_linear(t))

    model, given = denoiser(), batch(5, 9)
    y, t = torch.zeros_like(given["x0"]), torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
    scaled, plain = Gaussian(gamma_linear, scale), Gaussian(other)
    noise = torch.randn_like(y)
    x, same = (prior.sample(given["x0"], None, t, noise) for prior in (scaled, plain))
    spread = (scale**2 * gamma_linear(t) + 1 - gamma_linear(t)).sqrt().view(-1, 1, 1)
    torch.testing.assert_close(x / spread, same)
    one, two = (Estimator(model, prior, target=kind, normalise=normalise) for prior in (scaled, plain))
    torch.testing.assert_close(one(x, t, y, robot=y), two(same, t, y, robot=y), rtol=1e-4, atol=1e-4)


def test_one_network_learns_several_priors_and_is_told_which():
    given, model = batch(400, 10, masked=False), Knows()
    torch.manual_seed(0)
    step = Denoising(Gaussian(), Bridge())
    losses = step(model, given)
    kind, heard = model.told, model.heard
    assert set(kind.tolist()) == {0, 1} and 0.4 < kind.double().mean() < 0.6 and losses["loss"].isfinite()
    power = heard.square().mean((1, 2))
    ended = (power == 0).double()  # u is nothing at the end of a bridge: a twentieth of its items, and of no others
    assert not ended[kind == 0].any() and 0.01 < ended[kind == 1].mean() < 0.12
    network = denoiser(priors=2)
    step(network, batch(16, 8))["loss"].backward()
    assert network.kind.weight.grad.abs().sum(1).gt(0).all()


@pytest.mark.parametrize("prior", [Gaussian(), Bridge(), Mixed()])
def test_errors_by_noise_level_are_comparable_between_targets(prior):
    """A silent preconditioned network is the best linear estimator: its error is known at every noise level."""
    given = batch(300, 40, masked=False) | {"drop": torch.ones(300, dtype=torch.bool)}
    given["x0"] = RESIDUAL.sqrt()[:, None] * torch.randn(300, 3, 40, generator=torch.Generator().manual_seed(2))  # y = 0
    found = Estimator(Knows(), prior).x0_errors(given, (-2.0, 0.0, 3.0))
    for level, error in found.items():
        ratio = math.exp(-2 * level)  # c^2 / b^2
        assert error == pytest.approx(float((RESIDUAL * ratio / (RESIDUAL + ratio)).mean()), rel=0.03)
    right = Estimator(Knows(given["x0"]), prior, target="x0").x0_errors(given)
    assert list(right) == [-4, -2, 0, 2, 4] and max(right.values()) == 0
    with pytest.raises(ValueError, match="holds no noise"):
        Estimator(Knows(), Bridge(0.0)).x0_errors(given)
    kind = torch.tensor([0, 1]).repeat(150)
    mixed = Estimator(Knows(), PerItem((prior, Bridge()), kind), kind).x0_errors(given, (-2.0, 0.0, 3.0))
    assert mixed == pytest.approx(found, rel=0.03)  # of what it hears and says the same


NOISE = {  # name: a path, and whether "eps" is accepted as its target
    "scaled_linear": (Gaussian(gamma("scaled_linear")), True), "ddpm_linear": (Gaussian(gamma("ddpm_linear")), True),
    "scale": (Gaussian(gamma("scaled_linear"), 0.1), True), "bridge": (Bridge(), True), "narrow": (Bridge(0.3), True),
    "gmax": (Bridge(kind="gmax"), True), "cosine": (Gaussian(), False), "linear": (Gaussian(gamma_linear, 0.1), False),
    "ddpm_cosine": (Gaussian(gamma("ddpm_cosine")), False),
}  # fmt: skip


@pytest.mark.parametrize("name", NOISE)
def test_noise_as_the_target_samples_sanely_where_it_is_accepted_and_only_there(name):
    """x0 | y is N(1.2, 0.5^2) at y = 1.3, and the network's noise estimate is 5 % wrong."""
    prior, accepted = NOISE[name]
    y, start = torch.full((4000, 1, 1), 1.3), torch.randn(4000, 1, 1, generator=torch.Generator().manual_seed(0))

    def denoise(x, t):
        a, b, c = (k.view(-1, 1, 1) for k in prior.coefficients(t.double()))
        right = 1.2 + b * 0.25 / (b**2 * 0.25 + c**2).clamp(min=1e-30) * (x - a * y - b * 1.2)
        eps = (x - a * y - b * right) / torch.where(c == 0, 1.0, c)
        return x0_from("eps", prior, eps + 0.05 * 2**0.5 * torch.sin(7 * x + 50 * t.view(-1, 1, 1)), x, y, t).float()

    torch.manual_seed(0)
    spreads = []
    for walk, steps in itertools.product((ddim, ddpm, dpm_solver, dpm_solver_pp), (4, 20)):
        made = walk(denoise, prior.start(y, start), grid(steps), prior, y)
        spreads.append(float(made.std()))
        if accepted:
            assert float(made.mean()) == pytest.approx(1.2, abs=0.1)
    if accepted:
        answerable(prior, target="eps")
        assert 0.15 < min(spreads) and max(spreads) < 0.55
    else:
        assert max(spreads) > 5
        for priors in ((prior,), (Bridge(), prior)):
            with pytest.raises(ValueError, match="target 'eps' with b / c = .*e-0[56] at t = 1.*scaled_linear"):
                Denoising(*priors, target="eps")
        Denoising(prior, target="v")


def test_a_clip_longer_than_the_network_has_frames_for_is_learnt_in_windows():
    network, given = denoiser(backbone="transformer_et", frames=12), batch(4, 30)
    losses = Denoising(Bridge())(network, given)
    losses["loss"].backward()
    assert losses["loss"].isfinite() and all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert network.backbone.embed.weight.grad.any()


def test_wrapped_for_several_processes_a_network_learns_the_same(tmp_path):
    """DistributedDataParallel in a group of one: its attributes are the wrapper's own, and each parameter must be used."""
    where = {"init_method": (tmp_path / "group").as_uri(), "rank": 0, "world_size": 1}
    torch.distributed.init_process_group("gloo", **where)
    try:
        for priors, objective in (((Bridge(),), {}), ((Gaussian(), Bridge()), {"target": "v", "normalise": "item"})):
            plain, inside = (denoiser(priors=len(priors)) for _ in range(2))
            wrapped, losses = DistributedDataParallel(inside), []
            for model in (plain, wrapped):
                for _ in range(2):  # the second forward notices parameters that the first left unused
                    torch.manual_seed(3)
                    losses.append(Denoising(*priors, **objective)(model, batch(6, 8))["loss"])
                    losses[-1].backward()
            assert losses[0] == losses[1] == losses[2] == losses[3]
            for one, two in zip(plain.parameters(), inside.parameters(), strict=True):
                torch.testing.assert_close(one.grad, two.grad)
    finally:
        torch.distributed.destroy_process_group()


def test_a_silent_network_has_a_loss_of_one_under_every_target():
    given = batch(600, 40, masked=False) | {"drop": torch.ones(600, dtype=torch.bool)}
    given["x0"] = torch.randn(600, 3, 40, generator=torch.Generator().manual_seed(2))
    for kind in TARGETS:
        for prior in (Gaussian(), Bridge(), Mixed()):
            losses = Estimator(Knows(residual=torch.ones(3)), prior, target=kind).loss(given)
            assert float(losses["loss"]) == pytest.approx(1, abs=0.05) and losses["x0"].isfinite()


def test_unknown_words_name_the_accepted_ones():
    with pytest.raises(ValueError, match="'flow'.*preconditioned, x0, eps, v, residual"):
        Estimator(Knows(), Bridge(), target="flow")
    with pytest.raises(ValueError, match="holds no noise; with it the target must be one of x0, eps, v, residual"):
        Denoising(Bridge(0.0))
    assert Denoising(Bridge(0.0), target="x0")(Knows(), batch(4, 6))["loss"].isfinite()
    with pytest.raises(ValueError, match="'batch'.*known, item"):
        Estimator(Knows(), Bridge(), normalise="batch")


def batch(items, frames, masked=True):
    y, residual, _ = drawn(items, frames)
    mask = torch.ones(items, frames, dtype=torch.bool)
    mask[: items // 2, frames // 2 :] = False
    context = torch.randn(items, 3, 4)
    return {"x0": y + residual, "robot": torch.randn(items, 3, frames), "mask": mask if masked else None, "context": context,
            "context_mask": torch.ones(items, 4, dtype=torch.bool), "drop": torch.arange(items) % 3 == 0}  # fmt: skip


def denoiser(**options):
    torch.manual_seed(0)
    model = Denoiser(channels=3, width=16, depth=1, heads=2, patch=2, **options)
    with torch.no_grad():
        for value in (*model.parameters(), model.mean.weight):
            value.add_(torch.randn_like(value) / 5)
    model.mean.residual.copy_(RESIDUAL)
    return model


@pytest.mark.parametrize("prior", PRIORS[:2])
@torch.no_grad()
def test_masked_frames_do_not_count(prior):
    model, given = denoiser(), batch(8, 9)
    torch.manual_seed(5)
    clean = Denoising(prior)(model, given)
    junk = given | {
        "x0": given["x0"] + 100 * ~given["mask"][:, None],
        "robot": given["robot"] - 50 * ~given["mask"][:, None],
    }
    torch.manual_seed(5)
    for name, value in Denoising(prior)(model, junk).items():
        torch.testing.assert_close(value, clean[name], rtol=1e-5, atol=0)
    torch.manual_seed(5)
    assert Denoising(prior)(model, given | {"mask": None})["loss"] != clean["loss"]
    torch.manual_seed(5)
    every = given | {"mask": torch.ones(8, 9, dtype=torch.bool)}
    all_real = Denoising(prior)(model, every)["loss"]
    torch.manual_seed(5)
    torch.testing.assert_close(Denoising(prior)(model, given | {"mask": None})["loss"], all_real, rtol=1e-4, atol=0)


@pytest.mark.parametrize("prior", PRIORS)
@torch.no_grad()
def test_a_silent_network_has_a_loss_of_one_times_of_exactly_one_included(prior):
    model = Knows()
    residual = RESIDUAL.sqrt()[:, None] * torch.randn(600, 3, 40, generator=torch.Generator().manual_seed(1))
    given = batch(600, 40, masked=False) | {
        "x0": residual,
        "drop": torch.ones(600, dtype=torch.bool),
    }  # y = 0: no voice, no weights
    times = []
    plain = prior.coefficients

    class Noted(type(prior)):
        def coefficients(self, t):
            times.append(t)
            return plain(t)

    losses = Estimator(model, Noted(**vars(prior))).loss(given)
    assert abs(float(losses["loss"]) - 1) < 0.05 and losses["x0"].isfinite()
    share = float((times[0] == 1).double().mean())
    assert 0.02 < share < 0.09 and float(times[0].min()) >= 1e-4 - 1e-9


class Times(Knows):
    def forward(self, x, t, y, **inputs):
        self.times = t
        return super().forward(x, t, y, **inputs)


def test_a_regressor_is_trained_where_sampling_starts():
    y, residual, _ = drawn(items=200)
    heard = {"context": torch.zeros(200, 3, 2), "context_mask": torch.ones(200, 2, dtype=torch.bool)}
    batch = heard | {"x0": residual, "robot": y, "mask": None, "drop": torch.zeros(200, dtype=torch.bool)}
    losses = {}
    for times in ("path", "start"):
        model = Times()
        torch.manual_seed(0)
        losses[times] = Estimator(model, Bridge(), times=times).loss(batch)
        assert (model.times == 1).all() == (times == "start") and (model.times == 1).any()
    torch.testing.assert_close(losses["start"]["x0"], residual.square().mean())  # the mean, here 0, is all that it knows
    assert losses["path"]["x0"] < losses["start"]["x0"]
    with pytest.raises(ValueError, match="times 'end' is not known; accepted: path, start"):
        Estimator(Times(), Bridge(), times="end")


def test_seen_padding_reaches_the_network_and_not_the_loss():
    batch = {"x0": torch.randn(2, 3, 6), "robot": torch.randn(2, 3, 6), "context": torch.randn(2, 3, 4)}
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    batch |= {"mask": mask, "context_mask": torch.ones(2, 4, dtype=torch.bool), "drop": torch.zeros(2, dtype=torch.bool)}
    masks = []

    class Told(Knows):
        def forward(self, x, t, y, mask=None, **inputs):
            masks.append(mask)
            return super().forward(x, t, y)

    for padding in ("seen", "hidden"):
        torch.manual_seed(1)
        loss = Estimator(Told(), Bridge(), padding=padding).loss(batch)["x0"]
        torch.manual_seed(1)
        estimator = Estimator(Told(), Bridge(), padding=padding)
        t = torch.rand(2)
        t = torch.where(torch.rand(2) < 0.05, 1.0, t.clamp(1e-4, 1))
        x, y, _, given = estimator._state(batch, t)
        error = (estimator(x, t, y, **given) - batch["x0"]).square() * mask[:, None]
        assert loss == pytest.approx(float(error.sum() / (3 * 10)), rel=1e-5)
    assert [m is None for m in masks] == [True, True, False, False]
    with pytest.raises(ValueError, match="padding"):
        Estimator(Told(), Bridge(), padding="none")


def test_the_mean_is_made_of_a_context_of_its_own():
    given = batch(6, 8, masked=False)
    whole = {"whole": torch.randn(6, 3, 11), "whole_mask": torch.arange(11) < torch.tensor([[11], [9], [3], [1], [11], [2]])}
    model, heard = denoiser(), []
    network = model.context.forward
    model.context.forward = lambda items, frames, *a: heard.append(frames) or network(items, frames, *a)
    estimate, t = Estimator(model, Bridge()), torch.full((6,), 0.5)
    y = estimate._state(given | whole, t)[1]
    assert torch.equal(y, estimate.mean(given["robot"], *whole.values(), drop=given["drop"]))
    assert not torch.allclose(y, estimate._state(given, t)[1], atol=0.1)
    estimate.loss(given | whole)
    assert torch.equal(heard[0], given["context"])
