from itertools import permutations

import pytest
import torch

from rovolad_lib import convert
from rovolad_lib.convert import SYNTHETIC, Converter
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.denoiser.objective import Estimator
from rovolad_lib.diffusion import samplers
from rovolad_lib.diffusion.guidance import guided
from rovolad_lib.diffusion.named import prior_of, priors_of
from rovolad_lib.diffusion.priors import Bridge, Gaussian, Mixed
from rovolad_lib.diffusion.schedules import gamma_sigmoid, grid
from rovolad_lib.metrics import pitch
from rovolad_lib.sampling import Noise, matched, padding, sample
from rovolad_lib.speech import longform, references, robot
from rovolad_lib.speech.audio import load, save, set_level, tags
from rovolad_lib.speech.batches import pad
from rovolad_lib.speech.robot import flatten

PRIORS = ["gaussian", "robot", "mixed"]
FRAMES, HEARD = [9, 14, 6, 1], [7, 0, 12, 5]


def items(frames):
    return [torch.randn(6, n, generator=torch.Generator().manual_seed(n)) for n in frames]


def near(got, wanted, relative=1e-4):
    return got.shape == wanted.shape and (got - wanted).abs().max() <= relative * wanted.abs().max()


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("mode", ["post", "pre", "even"])
def test_a_batch_of_unequal_lengths_is_one_by_one(denoiser, prior, mode):
    model, (kind, sampler) = denoiser(), prior_of(prior)
    robots, contexts = items(FRAMES), items(HEARD)
    options = {"sampler": sampler, "steps": 2, "guidance": 1.5, "seed": 2}
    for k in (0, 2, 3):  # an item's noise follows from its place: each in turn is the first
        order = [(k + n) % 4 for n in range(4)]
        batch = sample(model, kind, [robots[i] for i in order], [contexts[i] for i in order], mode=mode, **options)
        alone = sample(model, kind, [robots[k]], [contexts[k]], mode=mode, **options)
        assert [z.shape[1] for z in batch] == [FRAMES[i] for i in order]
        assert near(batch[0], alone[0]) and alone[0].std() > 0.1


@pytest.mark.parametrize("prior", PRIORS)
@torch.no_grad()
def test_guidance_one_is_the_conditional_estimate_bit_for_bit(denoiser, prior):
    model, (kind, sampler) = denoiser(), prior_of(prior)
    robot, context = items([8])[0][None], items([6])[0][None]
    real, heard, noise = (
        torch.ones(1, 8, dtype=torch.bool),
        torch.ones(1, 6, dtype=torch.bool),
        Noise([2 * 1_000_003], [8]),
    )
    y = model.mean(robot, context, heard, real)

    def denoise(x, t):
        return Estimator(model, kind)(x, t, y, robot=robot, context=context, context_mask=heard, mask=real)

    wanted = getattr(samplers, sampler)(denoise, kind.start(y, noise(y)), grid(4), kind, y, noise)
    assert torch.equal(sample(model, kind, [robot[0]], [context[0]], sampler=sampler, steps=4, seed=2)[0], wanted[0])


@pytest.mark.parametrize("prior", PRIORS)
def test_guidance_zero_is_the_speech_without_a_voice(denoiser, prior):
    model, (kind, sampler) = denoiser(), prior_of(prior)
    robots, options = items([8, 5]), {"sampler": sampler, "steps": 3, "seed": 1}
    none = sample(model, kind, robots, [z[:, :0] for z in robots], **options)
    voice = sample(model, kind, robots, items([4, 6]), **options)
    zero = sample(model, kind, robots, items([4, 6]), guidance=0.0, **options)
    for a, b, c in zip(none, zero, voice, strict=True):
        assert near(b, a, 1e-3) and not near(c, a, 1e-2)


@pytest.mark.parametrize("prior", PRIORS)
def test_a_seed_is_a_reading(denoiser, prior):
    model, (kind, sampler) = denoiser(), prior_of(prior)
    one, two, other = (sample(model, kind, items([9, 9]), items([4, 4]), sampler=sampler, seed=s) for s in (3, 3, 4))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])
    assert not near(one[0], other[0], 1e-2) and not near(one[0], one[1], 1e-2)


def test_without_masks_the_whole_length_is_speech(denoiser):
    model, (kind, sampler) = denoiser(), prior_of("robot")
    made = {n: sample(model, kind, items([9]), items([4]), sampler=sampler, masked=False, length=n)[0] for n in (4, 10, 20)}
    assert {z.shape for z in made.values()} == {(6, 9)}
    free = sample(model, kind, items([9]), items([4]), sampler=sampler, masked=False)[0]  # to the longest item
    assert torch.equal(made[4], free)
    assert torch.equal(made[4], made[10]) and not near(made[10], made[20], 1e-3)  # at least the item; padding is heard


def test_the_callback_sees_every_step(denoiser):
    seen = []
    kind, sampler = prior_of("robot")
    sample(
        denoiser(),
        kind,
        items([9]),
        items([4]),
        sampler=sampler,
        steps=3,
        callback=lambda n, t, x, x0: seen.append((n, round(t, 3))),
    )
    assert seen == [(0, 0.667), (1, 0.333), (2, 0.0)]


def test_noise_is_an_item_s_own():
    noise, x = Noise([5, 6], [3, 7], [2, 0]), torch.ones(2, 4, 8)
    first, second, alone = noise(x), noise(x), Noise([5], [3])(torch.ones(1, 4, 3))
    assert torch.equal(first[0, :, 2:5], alone[0]) and not first[0, :, :2].any() and not first[0, :, 5:].any()
    assert not torch.equal(first, second) and first[1, :, :7].all() and not first[1, :, 7].any()


def manual(model, kind, sampler, times, guidance=1.0, told=None, objective=None, rescale=0.0, interval=(0.0, 1.0), **options):
    """The sampling of one item of 8 frames with a voice of 6, written out; (6, 8)."""
    robot, context = items([8])[0][None], items([6])[0][None]
    real, heard = torch.ones(1, 8, dtype=torch.bool), torch.ones(1, 6, dtype=torch.bool)
    estimate, noise = Estimator(model, kind, told, **(objective or {})), Noise([2 * 1_000_003], [8])
    y, blank = estimate.mean(robot, context, heard, real), estimate.mean(robot, mask=real)

    def denoise(x, t):
        return estimate(x, t, y, robot=robot, context=context, context_mask=heard, mask=real)

    def null(x, t):
        return estimate(x - kind.coefficients(t)[0].view(-1, 1, 1) * (y - blank), t, blank, robot=robot, mask=real)

    both = guided(denoise, null, guidance, rescale, real, interval)
    return getattr(samplers, sampler)(both, kind.start(y, noise(y)), times, kind, y, noise, **options)[0]


CHOICES = [
    ("gaussian", "ddim", "uniform", {"eta": 0.5}, {}),
    ("gaussian", "ddpm", "trailing", {"variance": "large"}, {}),
    ("robot", "dpm_solver_pp", "karras", {"order": 3, "form": "multistep"}, {}),
    ("robot", "dpm_solver", "lambda", {"order": 2, "form": "singlestep"}, {"guidance": 1.5}),
    ("mixed", "heun", "sigmoid", {}, {"guidance": 3.0, "rescale": 0.7, "interval": (0.2, 0.8)}),
    ("robot", "bridge_ode", "uniform", {"boot": False}, {"guidance": 2.0, "rescale": 1.0}),
]


@pytest.mark.parametrize(("prior", "sampler", "spacing", "options", "guidance"), CHOICES)
@torch.no_grad()
def test_every_choice_of_the_sampler_can_be_made(denoiser, prior, sampler, spacing, options, guidance):
    model, (kind, _) = denoiser(), prior_of(prior)
    given = {"sampler": sampler, "steps": 6, "seed": 2, "spacing": spacing} | options | guidance
    got = sample(model, kind, items([8]), items([6]), **given)[0]
    assert torch.equal(got, manual(model, kind, sampler, grid(6, spacing, kind), **guidance, **options))
    plain = sample(model, kind, items([8]), items([6]), sampler=sampler, steps=6, seed=2)[0]
    assert not near(got, plain, 1e-3)


STEPS = [
    ("gaussian", "ddpm", {}), ("gaussian", "ddim", {"eta": 0.5}), ("robot", "bridge_sde", {}), ("robot", "bridge_ode", {}),
    ("mixed", "heun", {}),
    *((p, s, {"order": o, "form": f}) for p in ("gaussian", "robot") for s in ("dpm_solver", "dpm_solver_pp") for o in (2, 3)
      for f in ("multistep", "singlestep")),
]  # fmt: skip


@pytest.mark.parametrize(("prior", "sampler", "options"), STEPS)
def test_no_sampler_lets_a_result_depend_on_its_batch(denoiser, prior, sampler, options):
    model, (kind, _) = denoiser(), prior_of(prior)
    robots, contexts, options = items(FRAMES), items(HEARD), {"sampler": sampler, "steps": 4, "guidance": 1.5} | options
    for k in (0, 2, 3):
        turned = [x[k:] + x[:k] for x in (robots, contexts)]
        batch, alone = sample(model, kind, *turned, **options)[0], sample(model, kind, [robots[k]], [contexts[k]], **options)[0]
        assert near(batch, alone)


def test_times_that_leave_out_the_start_of_a_bridge_are_refused(denoiser):
    """It would take y, which is x_1, for a noisy state of a time before: wrong means and no variance."""
    model, given = denoiser(), (items([8]), items([6]))
    for spacing in ("leading", torch.tensor([0.9, 0.5, 0.0]), [0.9, 0.5, 0.0]):
        for named in ("robot", {"name": "robot", "end": "zero"}, {"name": "robot", "kind": "gmax"}):
            with pytest.raises(ValueError, match=r"times begin at 0\.\d+; accepted: 1, for Bridge.*starts without noise"):
                sample(model, prior_of(named)[0], *given, sampler="ddim", spacing=spacing)
        assert sample(model, Gaussian(), *given, sampler="ddim", spacing=spacing)[0].isfinite().all()


def test_what_does_not_fit_together_is_refused(denoiser):
    model, bridge = denoiser(), Bridge()
    for robots, contexts, said in (
        ([], [], r"0 robots of \[\] frames and 0 contexts"),
        (items([8]), items([6, 5]), r"1 robots of \[8\] frames and 2 contexts"),
        (items([8, 0]), items([6, 5]), r"2 robots of \[8, 0\] frames and 2 contexts"),
    ):
        with pytest.raises(ValueError, match=said + "; accepted: one context each, and robots of a frame or more"):
            sample(model, bridge, robots, contexts, sampler="ddim")
    blown = denoiser(objective={"target": "eps"})
    with pytest.raises(ValueError, match="target 'eps' with b / c = 3.2e-05 at t = 1 of Gaussian"):
        sample(blown, Gaussian(), items([8]), items([6]), sampler="ddim")
    assert sample(blown, bridge, items([8]), items([6]), sampler="ddim")[0].isfinite().all()


def test_times_can_be_given(denoiser):
    model, (kind, sampler) = denoiser(), prior_of("robot")
    made = [sample(model, kind, items([8]), items([6]), sampler=sampler, seed=2, spacing=s)[0] for s in ("uniform", grid(4))]
    assert torch.equal(*made)
    with pytest.raises(ValueError, match="'euler'.*ddpm, ddim, dpm_solver, dpm_solver_pp, bridge_sde, bridge_ode, heun"):
        sample(model, kind, items([8]), items([6]), sampler="euler")


@pytest.mark.parametrize("prior", PRIORS)
def test_guidance_outside_its_interval_is_none(denoiser, prior):
    model, (kind, sampler) = denoiser(), prior_of(prior)
    options = {"sampler": sampler, "steps": 4, "seed": 2}
    none = sample(model, kind, items([8]), items([6]), **options)[0]
    never = sample(model, kind, items([8]), items([6]), guidance=3.0, interval=(0.0, 0.1), **options)[0]
    assert torch.equal(none, never)


@torch.no_grad()
def test_a_network_of_both_priors_is_told_which():
    torch.manual_seed(0)
    model = Denoiser(channels=6, width=16, depth=1, heads=2, patch=2, priors=2).eval()
    for value in (*model.parameters(), model.mean.weight):
        value.add_(torch.randn_like(value) / 5)
    for told, name in enumerate(("gaussian", "robot")):
        kind, sampler = prior_of("both", name)
        got = sample(model, kind, items([8]), items([6]), sampler=sampler, steps=4, seed=2)[0]
        wanted, other = (manual(model, kind, sampler, grid(4), told=torch.tensor([k])) for k in (told, 1 - told))
        assert torch.equal(got, wanted) and not near(got, other, 1e-3)
    with pytest.raises(ValueError, match="Mixed.*none that a network of both was told of; accepted: gaussian, robot"):
        sample(model, Mixed(), items([8]), items([6]), sampler="ddim")


@pytest.mark.parametrize("objective", [
    {"target": "v"}, {"target": "residual", "voice": False}, {"target": "x0", "mapped": "robot", "normalise": "item"},
])  # fmt: skip
@torch.no_grad()
def test_the_objective_is_the_one_of_training(denoiser, objective):
    model, (kind, sampler) = denoiser(objective=objective), prior_of("robot")
    got = sample(model, kind, items([8]), items([6]), sampler=sampler, steps=4, seed=2, guidance=1.5)[0]
    assert torch.equal(got, manual(model, kind, sampler, grid(4), 1.5, objective=objective))
    assert not near(got, manual(model, kind, sampler, grid(4), 1.5), 1e-3)


def test_a_prior_is_named():
    for name in ("noise", {"name": "noise"}):
        with pytest.raises(ValueError, match="gaussian, robot, mixed, both, got 'noise'"):
            prior_of(name)
    assert prior_of("both") == prior_of("robot") == (Bridge(), "bridge_sde")
    assert prior_of("both", "gaussian") == prior_of("gaussian") == (Gaussian(), "ddpm")
    assert prior_of({"name": "mixed", "form": "diffvc"}) == (Mixed(form="diffvc"), "ddpm")
    assert prior_of({"name": "robot", "noise": 0.5, "end": "zero"})[0] == Bridge(0.5, end="zero")
    t, named = torch.rand(5), {"name": "gaussian", "schedule": {"name": "sigmoid", "tau": 0.9}, "scale": 0.5}
    assert torch.equal(prior_of(named)[0].gamma(t), gamma_sigmoid(t, tau=0.9)) and prior_of(named)[0].scale == 0.5
    both = {"name": "both", "gaussian": {"scale": 0.5}, "robot": {"noise": 2.0}}
    assert priors_of(both) == (Gaussian(scale=0.5), Bridge(2.0)) and priors_of("mixed") == (Mixed(),)
    with pytest.raises(ValueError, match="prior 'gaussian' of a model trained with prior 'robot'; accepted: robot"):
        prior_of("robot", "gaussian")


@pytest.mark.parametrize(("named", "said"), [
    ({"name": "both", "gausian": {"scale": 0.5}}, "gausian: no argument of prior 'both'; accepted: gaussian, robot"),
    ({"name": "both", "noise": 0.5}, "noise: no argument of prior 'both'; accepted: gaussian, robot"),
    ({"name": "both", "gaussian": {"noise": 0.5}}, "noise: no argument of prior 'gaussian'; accepted: schedule, scale"),
    ({"name": "robot", "schedule": "linear"}, "schedule: no argument of prior 'robot'; accepted: noise, kind, constants, end"),
    ({"name": "mixed", "kind": "vp"}, "kind: no argument of prior 'mixed'; accepted: noise, form, schedule"),
    ({"noise": 1.0}, "prior must be one of gaussian, robot, mixed, both, got None"),
])  # fmt: skip
def test_a_misspelt_prior_is_refused(named, said):
    with pytest.raises(ValueError, match=said):
        priors_of(named)


def wave(samples, seed=0):
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) / 20


@pytest.fixture(scope="module")
def files(denoiser, codec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    denoiser(prior="robot", autoencoder=codec.fingerprint()).save(folder / "denoiser.safetensors")
    denoiser(prior="robot", autoencoder="another one").save(folder / "foreign.safetensors")
    save(folder / "voice.flac", wave(8000, 1))
    return folder


@pytest.fixture(scope="module")
def converter(codec, files):
    return Converter.load(files / "denoiser.safetensors", codec)


def test_text_becomes_a_wave_of_the_robot_s_length(converter, files):
    made = converter("Yes.", files / "voice.flac", steps=2, seed=1)
    said = converter.robot("Yes.", "en")
    assert made.shape == said.shape and made.isfinite().all() and 0.01 < made.abs().max() <= 1
    assert converter.sample_rate == 16000
    again = converter("Yes.", [load(files / "voice.flac")], steps=2, seed=1)
    assert torch.equal(made, again)
    assert not torch.equal(made, converter("Yes.", wave(8000, 2), steps=2, seed=1))


@pytest.mark.parametrize("kind", ["tensor", "path"])
def test_a_recording_is_said_again_in_a_flat_voice(converter, files, tmp_path, kind):
    spoken = set_level(wave(8000, 5))
    save(tmp_path / "words.wav", spoken)
    heard = load(tmp_path / "words.wav")
    made = converter(tmp_path / "words.wav" if kind == "path" else heard, files / "voice.flac", steps=2, seed=1)
    robot = converter.autoencoder.encode(set_level(flatten(heard))[None])[0]
    options = {"sampler": "bridge_sde", "steps": 2, "seed": 1, "match": convert.MATCH}
    latents = sample(converter.denoiser, converter.prior, [robot], [converter.voice(files / "voice.flac")], **options)[0]
    wanted = converter.autoencoder.decode(latents[None])[0, :8000]
    assert made.shape == heard.shape and torch.equal(made, wanted / wanted.abs().max().clamp(min=1))
    assert not torch.equal(made, converter(wave(8000, 6), files / "voice.flac", steps=2, seed=1))


def test_a_network_trained_without_masks_hears_its_own_length(denoiser, codec, converter, tmp_path):
    notes = {"prior": "robot", "autoencoder": codec.fingerprint(), "setting": {"pad": "pre", "mask": "off"}, "length": 120}
    denoiser(**notes).save(tmp_path / "open.safetensors")
    unmasked = Converter.load(tmp_path / "open.safetensors", codec)
    assert padding(unmasked.denoiser) == {"mode": "pre", "masked": False, "length": 120}
    assert padding(converter.denoiser) == {"mode": "post", "masked": True, "length": None}
    said, options = unmasked.robot("One."), {"sampler": "bridge_sde", "steps": 2, "match": 0.0, **padding(unmasked.denoiser)}
    made = unmasked("One.", wave(8000, 8000), steps=2, match=0.0)
    robot, voice = codec.encode(set_level(said)[None])[0], unmasked.voice(wave(8000, 8000))
    latents = sample(unmasked.denoiser, unmasked.prior, [robot], [voice], **options)[0]
    assert robot.shape[1] < 120 and latents.shape == robot.shape
    wanted = codec.decode(latents[None])[0, : len(said)]
    assert torch.equal(made, wanted / wanted.abs().max().clamp(min=1))
    assert not torch.equal(made, converter("One.", wave(8000, 8000), steps=2))  # the same weights, padding hidden
    longer = unmasked("One, two, three, four, five, six, seven, eight.", wave(8000), steps=1)
    assert len(longer) > 120 * codec.hop and longer.isfinite().all()


def test_a_voice_is_its_recordings_joined_to_six_seconds(converter):
    assert converter.voice([wave(3200, 1), wave(6400, 2)]).shape == (6, 30)
    assert converter.voice([wave(80000, 1), wave(80000, 2)]).shape == (6, 300)
    assert converter.voice(wave(160000, 1)).shape == (6, 300)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_every_reference_of_a_voice_is_heard_for_as_long(converter, count):
    long = [wave(80000, k) for k in range(count)]
    share = 300 // count // 2 * 2  # whole patches
    wanted = torch.cat([converter.voice(w)[:, :share] for w in long], dim=1)
    assert torch.equal(converter.voice(long), wanted) and wanted.shape == (6, share * count)
    short = converter.voice([wave(3300, 9), *long[1:]])  # 11 frames
    assert torch.equal(short[:, :10], converter.voice(wave(3300, 9)))
    assert torch.equal(short[:, 10:], wanted[:, share:])


def test_the_prior_s_mean_is_made_of_a_minute_of_references(converter, monkeypatch):
    given, long = [], [wave(16000 * seconds, seconds) for seconds in (40, 50, 2)]
    monkeypatch.setattr(convert, "sample", lambda *a, **k: given.append(k) or sample(*a, **k))
    converter("Yes.", long, steps=1)
    (heard,), (known,) = given[0]["contexts"], given[0]["whole"]
    assert heard.shape == (6, 300) and known.shape == (6, 1000 + 1000 + 100)
    for frames, got in ((300, heard), (3000, known)):
        assert any(torch.equal(got, converter.voice(list(order), frames)) for order in permutations(long))
    given.clear()
    converter("Yes.", long[::-1], steps=1)
    assert torch.equal(given[0]["whole"][0], known)  # the mean would hear where two meet


def test_what_is_known_of_a_voice_makes_the_prior_s_mean_and_nothing_else(denoiser, monkeypatch):
    model, (kind, sampler), means = denoiser(), prior_of("robot"), []
    heard, known = items([4, 6]), items([40, 9])
    plain, mean = model.mean.forward, model.mean
    monkeypatch.setattr(mean, "forward", lambda *a, **k: means.append(plain(*a, **k)) or means[-1])
    sample(model, kind, items([8, 5]), heard, whole=known, sampler=sampler, steps=1)
    robot, mask = pad(items([8, 5]), "post", None, model.stride)
    wanted = plain(robot, *pad(known, "post"), mask)
    assert torch.equal(means[0], wanted) and not near(wanted, plain(robot, *pad(heard, "post"), mask), 1e-2)
    seen, network = [], model.context.forward
    monkeypatch.setattr(model.context, "forward", lambda items, frames, *a: seen.append(frames) or network(items, frames, *a))
    sample(model, kind, items([8, 5]), heard, whole=known, sampler=sampler, steps=1)
    assert torch.equal(seen[0][1], heard[1])


def test_matched_latents_go_a_share_of_the_way_to_another_s_mean_and_deviation():
    latents, reference = torch.randn(3, 40) * 4 + 2, torch.randn(3, 500) * torch.tensor([[1.0], [2.0], [3.0]]) + 7
    whole, half = matched(latents, reference), matched(latents, reference, 0.5)
    assert torch.allclose(whole.mean(1), reference.mean(1), atol=1e-4) and torch.allclose(whole.std(1), reference.std(1))
    assert torch.allclose(half.mean(1), (latents.mean(1) + reference.mean(1)) / 2, atol=1e-4)
    assert torch.allclose(half.std(1), (latents.std(1) * reference.std(1)).sqrt())
    assert torch.corrcoef(torch.stack([half[0], latents[0]]))[0, 1] > 0.9999  # scaled and shifted
    for frames in (0, 1):  # which have no deviation
        assert matched(latents, reference[:, :frames]) is latents and matched(latents[:, :frames], reference).shape[1] == frames


def test_a_sample_is_matched_with_all_that_is_known_of_its_voice(denoiser):
    model, (kind, sampler), known = denoiser(), prior_of("robot"), items([40, 9])
    plain, made, alone = (
        sample(model, kind, items([8, 5]), items([4, 0]), sampler=sampler, steps=1, **options)
        for options in ({"whole": known}, {"whole": known, "match": 0.5}, {"match": 0.5})
    )
    assert all(map(torch.equal, made, (matched(z, voice, 0.5) for z, voice in zip(plain, known, strict=True))))
    assert not torch.equal(alone[0], made[0]) and alone[1].isfinite().all()


def test_the_order_of_references_is_irrelevant(converter):
    one, two, three = wave(8000, 1), wave(9700, 2), wave(4000, 3)  # 25, 31 and 13 frames: a patch is two
    assert converter.voice([one, two, three]).shape == (6, 24 + 30 + 12)
    made = [converter("Yes.", voices, steps=2) for voices in ([one, two, three], [three, one, two])]
    assert near(*made)
    many = [wave(800, k) for k in range(160)]
    assert converter.voice(many).shape == (6, 320)  # a patch of each, however many
    assert near(converter.voice(many).mean(1), converter.voice(many[::-1]).mean(1))
    assert converter.voice([one, wave(300, 4)]).shape == (6, 24)
    with pytest.raises(ValueError, match="none of 2 references has 2 frames"):
        converter.voice([wave(300, 4), wave(200, 5)])


def test_a_reference_is_heard_once(converter, files, codec, monkeypatch):
    heard, apart = [], Converter.load(files / "denoiser.safetensors", codec)
    monkeypatch.setattr(codec, "encode", lambda wave, do=codec.encode: heard.append(wave.shape[1]) or do(wave))
    save(files / "other.flac", wave(6000, 7))
    first = apart("Yes.", [files / "voice.flac", files / "other.flac"], steps=1, pitch="reference")
    assert heard[:2] == [8000, 6000] and len(heard) == 3
    again = apart("Yes.", [files / "other.flac", load(files / "voice.flac")], steps=1, pitch="reference")
    assert len(heard) == 4 and near(first, again)  # the robot alone, and whose they are by what they hold
    save(files / "other.flac", wave(6000, 8))
    assert not near(first, apart("Yes.", [files / "voice.flac", files / "other.flac"], steps=1), 1e-2) and len(heard) == 6
    monkeypatch.setattr(convert, "KNOWN", 1)
    apart("Yes.", wave(7000, 9), steps=1, pitch=110)
    assert len(apart.known) == 1


def test_the_sampler_s_options_reach_it_from_outside(converter, files):
    seen, voice = [], files / "voice.flac"
    chosen = {"sampler": "dpm_solver_pp", "order": 3, "spacing": "karras", "guidance": 2.0}
    chosen |= {"rescale": 0.7, "interval": (0.1, 0.9)}
    made = converter("Yes.", voice, steps=5, **chosen, callback=lambda step, t, *_: seen.append(t))
    assert seen == grid(5, "karras", converter.prior)[1:].tolist() and made.isfinite().all()
    assert not torch.equal(made, converter("Yes.", voice, steps=5, **chosen | {"order": 1}))
    with pytest.raises(ValueError, match="'gaussian' of a model trained with prior 'robot'"):
        converter("Yes.", voice, prior="gaussian")


LONG = "The bird sings in the garden, and nobody in the whole wide village has an ear for it. " * 4


def test_a_long_text_comes_piece_by_piece_the_first_before_the_last_is_made(converter, files, monkeypatch):
    made, voice = [], files / "voice.flac"
    monkeypatch.setattr(convert, "sample", lambda *a, **o: made.append(o["seed"]) or sample(*a, **o))
    pieces = converter.stream(LONG, voice, steps=1, seed=7)
    first, said = next(pieces), list(longform.said(LONG))
    assert made == [7] and len(said) == 4 and len(first) == len(said[0]) - 800
    whole = torch.cat([first, *pieces])
    assert made == [7, 8, 9, 10] and len(whole) == sum(map(len, said)) - 3 * 800
    assert torch.equal(whole, converter(LONG, voice, steps=1, seed=7))


def test_levels_inside_a_long_text_differ_as_the_robot_s_do(converter, files, monkeypatch):
    loud = [set_level(wave(16000, k), -26.0 - 5 * k) for k in range(3)]
    monkeypatch.setattr(convert, "_said", lambda *a: iter(loud))
    monkeypatch.setattr(longform, "joined", lambda waves: waves)
    uneven = iter((1.0, 0.1, 3.0))
    monkeypatch.setattr(Converter, "_decode", lambda self, latents, samples: next(uneven) * wave(samples, 5) / 20)
    made = list(map(longform.level_db, converter.stream("", files / "voice.flac", steps=1)))
    assert made[0] == pytest.approx(longform.level_db(wave(16000, 5) / 20), abs=1e-3)  # the network's own
    assert [made[0] - level for level in made] == pytest.approx([0, 5, 10], abs=0.01)


def test_a_long_recording_keeps_its_length_and_its_silence(converter, files):
    sound = wave(36 * 16000)
    sound[16 * 16000 : 35 * 16000] = 0  # more than a stretch
    made = converter(sound, files / "voice.flac", steps=1)
    assert made.shape == sound.shape and made[:160000].any() and not made[320_000:360_000].any()
    assert not converter(torch.zeros(1600), files / "voice.flac", steps=1).any()


def test_rate_pitch_and_level_are_given_or_the_references(converter, monkeypatch):
    said, voice = [], robot.say("A reference of some length, spoken in a low voice.", rate=120, f0=80.0)
    monkeypatch.setattr(longform, "said", lambda *a: said.append(a) or iter([robot.say(a[0], *a[1:3], f0=a[3])]))
    plain = converter("Yes.", voice, steps=1)
    same = converter("Yes.", voice, steps=1, rate=200, pitch=90.0, level=-40.0)
    assert longform.level_db(same) == pytest.approx(-40, abs=0.01)
    alike = converter("Yes.", voice, steps=1, rate="reference", pitch="reference", level="reference")
    assert longform.level_db(alike) == pytest.approx(longform.level_db(voice), abs=0.01)
    rate = longform.rate_like(voice, "Yes.", "en")
    f0 = pitch.median_f0(voice)
    assert said == [("Yes.", "en", None, 110.0), ("Yes.", "en", 200, 90.0), ("Yes.", "en", rate, f0)] and abs(f0 - 80) < 1
    assert len(plain) == len(robot.say("Yes."))
    for options in ({"rate": "fast"}, {"pitch": "high"}, {"level": "loud"}):
        with pytest.raises(ValueError, match="accepted: a number, None, or 'reference'"):
            converter("Yes.", voice, **options)
    with pytest.raises(ValueError, match="rate 200 is of a text; a recording has its own"):
        converter(voice, voice, rate=200)


def test_a_network_that_is_told_the_pitch_hears_the_same_robot(converter, monkeypatch):
    said, told, voice = [], [], robot.say("A reference of some length, spoken in a high voice.", rate=120, f0=220.0)
    monkeypatch.setattr(longform, "said", lambda *a: said.append(a[3]) or iter([robot.say(a[0], *a[1:3], f0=a[3])]))
    monkeypatch.setattr(convert, "sample", lambda *a, **k: told.append(k["told"]) or sample(*a, **k | {"told": {}}))
    monkeypatch.setattr(convert, "_most_like", lambda waves, heard: waves[0])
    monkeypatch.setitem(converter.denoiser.config, "pitch", True)
    for options in ({}, {"pitch": "reference", "best_of": 2}, {"pitch": 90.0}):
        converter("Yes.", voice, steps=1, **options)
    high = pytest.approx(pitch.median_f0(voice))
    converter("Yes.", wave(8000, 1), steps=1)  # of a voice without a pitch nothing is told, and the robot is as ever
    assert told.pop()["pitch"].tolist() == [0.0] and said.pop() == 110.0
    assert said == [110.0] * 3 and [one["pitch"].tolist() for one in told] == [[high], [high] * 2, [90.0]]


def test_the_best_of_several_readings_is_the_most_like_the_reference(converter, monkeypatch):
    voice, heard = wave(8000, 1), []

    def embed(waves):  # the last is the likest
        heard.extend(waves)
        return torch.eye(2)[[int(k == len(waves) - 1) for k in range(len(waves))]]

    monkeypatch.setattr(convert.speaker, "embed", embed)
    made = converter("Yes.", voice, steps=2, seed=3, best_of=3)
    *readings, reference = heard
    assert torch.equal(reference, voice) and len(readings) == 3 and near(made, longform.amplified(readings[2], 1.0))
    assert near(longform.amplified(readings[0], 1.0), converter("Yes.", voice, steps=2, seed=3), 1e-3)


def test_a_shipped_voice_is_a_reference_by_its_name(converter, codec, monkeypatch, tmp_path):
    voice = robot.say("A voice that is shipped with us.")
    monkeypatch.setattr(convert, "VOICES", tmp_path / "voices.safetensors")
    references.ship(convert.VOICES, {"ann": {"wave": voice, "licence": "CC0", "source": "espeak-ng"}}, codec)
    latents = references.latents(convert.VOICES, "ann", codec.fingerprint())
    assert torch.equal(converter.voice("ann"), latents[:, : latents.shape[1] // 2 * 2])
    assert near(converter("Yes.", "ann", steps=1), converter("Yes.", voice, steps=1), 0.02)  # kept in half precision
    assert converter("Yes.", "ann", steps=1, pitch="reference", level="reference").isfinite().all()


def test_a_saved_result_says_that_it_is_synthetic(converter, tmp_path):
    for name in ("made.wav", "made.flac"):
        converter.save(tmp_path / name, wave(1600))
        assert tags(tmp_path / name)["comment"] == SYNTHETIC and "synthetic" in SYNTHETIC
        assert (load(tmp_path / name) - wave(1600)).abs().max() < 1e-4


def test_errors_name_what_was_given(converter, codec, files, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.safetensors"):
        Converter.load(tmp_path / "absent.safetensors", codec)
    with pytest.raises(ValueError, match=f"foreign.safetensors.*another one.*{codec.fingerprint()}"):
        Converter.load(files / "foreign.safetensors", codec)
    with pytest.raises(ValueError, match="reference is empty"):
        converter("Yes.", [])
    with pytest.raises(FileNotFoundError, match="nobody.flac"):
        converter("Yes.", tmp_path / "nobody.flac")
    with pytest.raises(ValueError, match="8000 samples, 1 of them not finite"):
        converter("Yes.", wave(8000).index_fill(0, torch.tensor([3]), torch.nan))
    for silent in (torch.zeros(1600), torch.zeros(0)):
        with pytest.raises(ValueError, match=f"{len(silent)} samples holds no sound"):
            converter("Yes.", silent)
    with pytest.raises(ValueError, match=r"\(S,\), got shape \(1, 1600\)"):
        converter("Yes.", wave(1600)[None])
