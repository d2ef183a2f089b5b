import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from rovolad_lib import checkpoints, train
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.denoiser.objective import Denoising
from rovolad_lib.diffusion.priors import Bridge
from rovolad_lib.lab.paths import ROOT
from rovolad_lib.train import fit


class Line:
    """Batches of a noisy linear rule, a pure function of i."""

    weight = torch.tensor([[1.0, -2.0, 0.5]])

    def __getitem__(self, i):
        random = torch.Generator().manual_seed(i)
        x = torch.randn(16, 3, generator=random)
        return {"x": x, "y": x @ self.weight.T + 3, "none": None}


def step(model, batch):
    """A loss that draws random numbers, so that a resumed run must be seeded as the uninterrupted one."""
    error = model(batch["x"]) + 0.1 * torch.randn(16, 1) - batch["y"]
    return {"loss": error.square().mean(), "bias": error.mean()}


class Stops:
    """`step`, until the given call."""

    def __init__(self, at, how):
        self.calls, self.at, self.how = 0, at, how

    def __call__(self, model, batch):
        self.calls += 1
        return self.how(model, batch) if self.calls > self.at else step(model, batch)


class Interrupted(Exception):
    pass


def interrupt(model, batch):
    raise Interrupted


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))  # buffers too, one of them whole numbers


def same(model, other):
    return all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 50 steps that nothing interrupted: its model and its log."""
    model = network()
    done = fit(model, step, Line(), tmp_path_factory.mktemp("run"), steps=50, every=0)
    return model, done


@pytest.mark.parametrize("at", [0, 19, 20, 33, 49])
def test_an_interrupted_run_continues_bit_for_bit(whole, tmp_path, at):
    with pytest.raises(Interrupted):
        fit(network(), Stops(at, interrupt), Line(), tmp_path, steps=50, every=0)
    torch.manual_seed(99)  # another process has another random state
    model, again = network(), Stops(50, interrupt)
    done = fit(model, again, Line(), tmp_path, steps=50, every=0)
    assert again.calls == 50 - at // 20 * 20  # only what came after the last checkpoint is repeated
    assert same(model, whole[0]) and not model.training
    pd.testing.assert_frame_equal(done.log.drop(columns="seconds"), whole[1].log.drop(columns="seconds"), check_exact=True)


def test_twice_interrupted_with_checkpoints_far_apart(whole, tmp_path):
    for at in (25, 22):
        with pytest.raises(Interrupted):
            fit(network(), Stops(at, interrupt), Line(), tmp_path, steps=50, every=0)
    model = network()
    fit(model, step, Line(), tmp_path, steps=50, every=1e9)
    assert same(model, whole[0])


def test_averages_are_kept_on_the_way_and_change_nothing(whole, tmp_path):
    fit(network(), step, Line(), tmp_path, steps=50, keep=(30, 50))
    kept = {n: load_file(tmp_path / f"average_{n}.safetensors") for n in (30, 50)}
    assert sorted(p.name for p in tmp_path.glob("average*")) == ["average_30.safetensors", "average_50.safetensors"]
    assert all(torch.equal(kept[50][name], value) for name, value in whole[0].state_dict().items())
    assert not torch.equal(kept[30]["0.weight"], kept[50]["0.weight"])


def test_batches_hear_of_the_steps_before_the_first_is_asked_for(tmp_path):
    class Planned(Line):
        told = None

        def planned(self, steps):
            self.told = steps

        def __getitem__(self, i):
            assert self.told == 3
            return super().__getitem__(i)

    fit(network(), step, Planned(), tmp_path, steps=3)


def test_batches_from_a_worker_are_the_same(whole, tmp_path):
    model = network()
    fit(model, step, Line(), tmp_path, steps=50, workers=1)
    assert same(model, whole[0])


def test_the_log_has_a_row_for_twenty_steps_and_for_the_end(whole, tmp_path):
    log = whole[1].log
    assert log.step.tolist() == [20, 40, 50] and log.columns.tolist() == ["step", "loss", "bias", "seconds"]
    assert log.seconds.is_monotonic_increasing and whole[1].steps == 50 and whole[1].seconds >= log.seconds.iloc[-1]
    seen = []

    def note(model, batch):
        losses = step(model, batch)
        seen.append(losses["loss"].item())
        return losses

    fit(network(), note, Line(), tmp_path, steps=50)
    means = [sum(seen[a:b]) / (b - a) for a, b in ((0, 20), (20, 40), (40, 50))]
    assert log.loss.tolist() == pytest.approx(means)
    assert pd.read_csv(tmp_path / "log.csv").loss.tolist() == pytest.approx(means)


def test_a_finished_run_is_loaded_without_a_step(tmp_path):
    first = network()
    done = fit(first, step, Line(), tmp_path, steps=10)
    model = network()
    again = fit(model, interrupt, Line(), tmp_path, steps=10)
    assert same(model, first) and not same(model, network()) and not model.training
    assert again.log.equals(done.log) and again.steps == 10 and again.seconds == done.log.seconds.iloc[-1]


def test_of_many_processes_only_the_first_writes(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "PartialState", lambda **given: SimpleNamespace(is_main_process=False))  # one process here
    model = network()
    done = fit(model, step, Line(), tmp_path, steps=50, every=0)
    assert not list(tmp_path.iterdir()) and same(model, whole[0]) and done.log.loss.equals(whole[1].log.loss)


def test_force_starts_over(tmp_path):
    first, model, counted = network(), network(), Stops(99, interrupt)
    fit(first, step, Line(), tmp_path, steps=10)
    with torch.no_grad():
        model[0].weight += 1
    fit(model, counted, Line(), tmp_path, steps=10, force=True)
    assert counted.calls == 10 and not same(model, first)


def nan_loss(model, batch):
    return {"loss": step(model, batch)["loss"] * math.nan}


def nan_gradient(model, batch):
    loss = step(model, batch)["loss"]
    return {"loss": loss + (0 * model[0].weight.sum()).sqrt()}  # finite, but its slope is 0 times infinity


@pytest.mark.parametrize("bad", [nan_loss, nan_gradient])
def test_bad_numbers_stop_the_run_before_they_reach_a_checkpoint(whole, tmp_path, bad):
    with pytest.raises(FloatingPointError, match=r"at step 39") as caught:
        fit(network(), Stops(39, bad), Line(), tmp_path, steps=50, every=0)  # step 39 is the one before a checkpoint
    assert str(tmp_path / "checkpoint.pt") in str(caught.value)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 20
    model = network()
    fit(model, step, Line(), tmp_path, steps=50, every=0)
    assert same(model, whole[0])


def test_bad_numbers_before_any_checkpoint_say_so(tmp_path):
    with pytest.raises(FloatingPointError, match="at step 3; there is no checkpoint"):
        fit(network(), Stops(3, nan_loss), Line(), tmp_path, steps=50)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_seconds_become_steps_once_and_for_all_runs_of_a_plan(tmp_path):
    model, plan = network(), tmp_path / "plan.json"
    done = fit(model, step, Line(), tmp_path / "a", seconds=0.02, plan=plan)
    written = json.loads(plan.read_text(encoding="utf-8"))
    assert written == {"seconds": 0.02, "steps": done.steps} and done.log.step.iloc[-1] == done.steps >= 1
    counted = network()
    fit(counted, step, Line(), tmp_path / "b", steps=done.steps)
    assert same(model, counted)  # the timed steps have left no trace
    plan.write_text(json.dumps({"seconds": 0.02, "steps": 7}), encoding="utf-8")
    shared = Stops(7, interrupt)
    assert fit(network(), shared, Line(), tmp_path / "c", seconds=1000, plan=plan).steps == 7 and shared.calls == 7


def test_a_budget_of_its_own_stands_in_the_run(tmp_path):
    done = fit(network(), step, Line(), tmp_path, seconds=0.01)
    assert json.loads((tmp_path / "budget.json").read_text(encoding="utf-8"))["steps"] == done.steps
    with pytest.raises(ValueError, match="steps or seconds"):
        fit(network(), step, Line(), tmp_path / "other")


def test_rate_clipping_and_average_by_hand(tmp_path):
    """Four steps of AdamW: warm-up over two, half a cosine from 1 to 2 %, decays 1/10, 2/11, 3/12, then ema."""
    model, mine = nn.Linear(3, 1), nn.Linear(3, 1)
    mine.load_state_dict(model.state_dict())
    fit(
        model,
        step,
        Line(),
        tmp_path,
        steps=4,
        lr=0.1,
        betas=(0.8, 0.9),
        weight_decay=0.3,
        warmup=0.5,
        ema=0.26,
        clip=0.7,
        seed=2,
    )
    average = [p.detach().clone() for p in mine.parameters()]
    optimizer = torch.optim.AdamW(mine.parameters(), 0.1, (0.8, 0.9), weight_decay=0.3)
    for i, (rate, decay) in enumerate(zip((0.05, 0.1, 0.1, 0.051), (1 / 10, 2 / 11, 3 / 12, 0.26), strict=True)):
        torch.manual_seed(2 * 1_000_003 + i)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        step(mine, Line()[i])["loss"].backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in mine.parameters()))
        assert norm > 0.7
        for p in mine.parameters():
            p.grad *= 0.7 / norm
        optimizer.step()
        average = [decay * a + (1 - decay) * p.detach() for a, p in zip(average, mine.parameters(), strict=True)]
    for a, p in zip(average, model.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), a, rtol=1e-4, atol=1e-6)


def test_a_regression_is_learnt(tmp_path):
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    log = fit(model, step, Line(), tmp_path, steps=160, lr=0.1, ema=0.9, weight_decay=0).log
    assert log.loss.iloc[0] > 2 and log.loss.iloc[-1] < 0.02  # the noise's own variance is 0.01
    torch.testing.assert_close(model.weight.detach(), Line.weight, atol=0.03, rtol=0)


def test_frozen_weights_stay(tmp_path):
    model = network()
    model[0].requires_grad_(False)
    fit(model, step, Line(), tmp_path, steps=5)
    assert torch.equal(model[0].weight, network()[0].weight) and not torch.equal(model[2].weight, network()[2].weight)


@pytest.mark.parametrize("keep", [0, 100])
def test_a_damaged_checkpoint_is_passed_over_and_said(whole, tmp_path, capsys, keep):
    with pytest.raises(Interrupted):
        fit(network(), Stops(45, interrupt), Line(), tmp_path, steps=50, every=0)
    newest, before = tmp_path / checkpoints.NEWEST, tmp_path / checkpoints.BEFORE
    assert [torch.load(path, weights_only=True)["step"] for path in (newest, before)] == [40, 20]
    newest.write_bytes(newest.read_bytes()[:keep])
    model = network()
    again = fit(model, step, Line(), tmp_path, steps=50, every=0)
    assert same(model, whole[0]) and again.log.drop(columns="seconds").equals(whole[1].log.drop(columns="seconds"))
    assert f"{newest} is damaged: the run goes on from {checkpoints.BEFORE}, step 20" in capsys.readouterr().out


def test_only_damaged_checkpoints_stop_the_run_and_name_the_file(tmp_path):
    fit(network(), step, Line(), tmp_path, steps=2)
    for path in (tmp_path / checkpoints.NEWEST, tmp_path / checkpoints.BEFORE):
        path.write_bytes(b"half")
    with pytest.raises(ValueError, match=f"{checkpoints.NEWEST} is damaged.*delete it to start over"):
        fit(network(), step, Line(), tmp_path, steps=2)


COUNTED = """
import sys, time, torch
from tests.test_train import Line, fit, network, step

torch.set_num_threads(1)  # as here: sums of several threads round otherwise

def counted(model, batch):
    with open(sys.argv[2], "a", encoding="utf-8") as file:
        print("x", file=file)
    time.sleep(0.02)
    return step(model, batch)

print(fit(network(), counted, Line(), sys.argv[1], steps=50).steps)
"""


def test_two_processes_of_one_run_do_the_work_once(tmp_path):
    command = [sys.executable, "-c", COUNTED, str(tmp_path / "run"), str(tmp_path / "count")]
    look = {"stdout": subprocess.PIPE, "encoding": "utf-8", "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    both = [subprocess.Popen(command, cwd=ROOT, **look) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0] and all(text.endswith("50\n") for text in said)
    assert len((tmp_path / "count").read_text(encoding="utf-8").splitlines()) == 50  # not 100
    assert not (tmp_path / "run" / "owner.json").exists()


KILLED = COUNTED.replace("time.sleep(0.02)", "time.sleep(0.005)").replace("steps=50", "steps=50, every=0")


@pytest.mark.parametrize("after", [8, 21, 40])
def test_a_killed_run_ends_bit_for_bit_as_the_uninterrupted_one(whole, tmp_path, after):
    count = tmp_path / "count"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run"), str(count)]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and (not count.exists() or count.stat().st_size < 2 * after):
            time.sleep(0.001)
        process.kill()
    assert process.returncode != 0, "it ended before it was killed"
    model = network()
    again = fit(model, step, Line(), tmp_path / "run", steps=50, every=0)
    assert same(model, whole[0]) and again.log.drop(columns="seconds").equals(whole[1].log.drop(columns="seconds"))


class Clips:
    """Batches of latents for a small Denoiser: five items of unequal length, so that two processes have unequal shares."""

    def __getitem__(self, i):
        random = torch.Generator().manual_seed(i)
        x0, robot = torch.randn(2, 5, 6, 12, generator=random)
        mask = torch.arange(12) < torch.randint(2, 13, (5, 1), generator=random)
        context, heard = torch.randn(5, 6, 8, generator=random), torch.rand(5, 8, generator=random) < 0.8
        drop = torch.rand(5, generator=random) < 0.2
        return {"x0": x0, "robot": robot, "mask": mask, "context": context, "context_mask": heard, "drop": drop}


class Noting:
    """The step of a Denoiser, which notes each loss and how many items the network is given."""

    def __init__(self):
        self.step, self.losses, self.items = Denoising(Bridge()), [], set()

    def __call__(self, model, batch):
        inside = getattr(model, "module", model)
        hook = inside.register_forward_pre_hook(lambda _, given: self.items.add(len(given[0])))
        made = self.step(model, batch)
        hook.remove()
        self.losses.append(made["loss"].item())
        return made


def share(rank, world, run, port):
    """One of several processes that train together."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}  # fmt: skip
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, noting = Denoiser(channels=6, width=16, depth=1, heads=2, patch=2), Noting()
    fit(model, noting, Clips(), run, steps=50, every=0)
    save_file(model.state_dict(), Path(f"{run}-{rank}.safetensors"))
    noted = noting.losses, [*noting.items], fit(model, noting, Clips(), f"{run}-timed", seconds=0.1).steps
    Path(f"{run}-{rank}.json").write_text(json.dumps([noted[0][:50], *noted[1:]]), encoding="utf-8")


def test_two_processes_learn_what_one_does(tmp_path):
    for world in (1, 2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        torch.multiprocessing.spawn(share, (world, str(tmp_path / str(world)), port), world)
    (one, five, _), *both = (json.loads((tmp_path / f"{n}.json").read_text(encoding="utf-8")) for n in ("1-0", "2-0", "2-1"))
    assert len(one) == 50 and five == [5] and [items for _, items, _ in both] == [[3], [3]]
    assert all(losses == pytest.approx(one, rel=1e-5) for losses, _, _ in both)
    assert both[0][2] == both[1][2] == json.loads((tmp_path / "2-timed/budget.json").read_text(encoding="utf-8"))["steps"]
    weights = [load_file(tmp_path / f"{n}.safetensors") for n in ("1-0", "2-0", "2-1")]
    for name, value in weights[0].items():
        assert torch.equal(weights[1][name], weights[2][name]) and torch.allclose(value, weights[1][name], atol=1e-5)
    assert not list(tmp_path.rglob("*.part*")) and not (tmp_path / "2" / "owner.json").exists()


def test_accumulated_batches_are_one_large_one(tmp_path):
    class Pairs:
        def __getitem__(self, i):
            whole = {k: v for k, v in Line()[i // 2].items() if v is not None}
            return {k: v[8 * (i % 2) :][:8] for k, v in whole.items()}

    def plain(model, batch):
        return {"loss": (model[2](model[0](batch["x"]).tanh()) - batch["y"]).square().mean()}

    whole, parts = network(), network()
    fit(whole, plain, Line(), tmp_path / "whole", steps=10)
    fit(parts, plain, Pairs(), tmp_path / "parts", steps=10, accumulate=2)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert not torch.equal(whole[0].weight, network()[0].weight)


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"compile": True, "precision": "bf16"}], ids=str)
def test_a_network_learns_in_bfloat16_and_compiled(tmp_path, options):
    if "compile" in options and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        pytest.skip("no C++ compiler, which torch.compile needs")
    if "compile" in options and " " in torch.__file__:
        pytest.skip("torch lies in a folder with a space, where it cannot compile")
    kinds, model = set(), nn.Linear(3, 1)

    def seen(model, batch):
        kinds.add(model(batch["x"]).dtype)
        return step(model, batch)

    log = fit(model, seen, Line(), tmp_path, steps=160, lr=0.1, ema=0.9, weight_decay=0, **options).log
    assert log.loss.iloc[0] > 2 and log.loss.iloc[-1] < 0.03 and model.weight.dtype == torch.float32
    assert kinds == {torch.bfloat16} and model(torch.zeros(1, 3)).dtype == torch.float32
    with pytest.raises(ValueError, match="precision 'fp8' is not known; accepted: no, bf16"):
        fit(model, seen, Line(), tmp_path, steps=1, precision="fp8")


def test_where_torch_cannot_compile_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__file__", "/home/an ne/torch/__init__.py")
    with pytest.raises(ValueError, match="compile: torch lies in '.*an ne.*torch'; accepted on a CPU: a path without a space"):
        fit(network(), step, Line(), tmp_path, steps=1, compile=True)


def million(model, batch):
    return {"loss": 1e6 * step(model, batch)["loss"]}


def test_an_exploding_loss_stops_the_run_before_it_reaches_a_checkpoint(whole, tmp_path):
    with pytest.raises(FloatingPointError, match=r"up to 40, in the first .*last good checkpoint is .*checkpoint.pt"):
        fit(network(), Stops(39, million), Line(), tmp_path, steps=50, every=0)
    model = network()
    fit(model, step, Line(), tmp_path, steps=50, every=0)
    assert same(model, whole[0])
