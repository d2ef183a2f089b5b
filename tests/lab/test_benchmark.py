import time

import pandas as pd
import pytest
import torch

from rovolad_lib.diffusion.priors import Gaussian
from rovolad_lib.diffusion.samplers import dpm_solver_pp
from rovolad_lib.diffusion.schedules import grid
from rovolad_lib.lab import benchmark


def test_rivals_take_turns_and_warm_up_does_not_count():
    order = []
    table = benchmark.take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3, warmup=2)
    assert order == ["a", "b"] * 5
    assert table.shape == (3, 2) and (table >= 0).all(axis=None)


def test_the_slower_is_slower():
    table = benchmark.take_turns({"nap": lambda: time.sleep(0.02), "wink": lambda: time.sleep(0.001)}, rounds=3, warmup=0)
    assert (table.nap >= 0.02).all() and (table.nap > table.wink).all()


def test_spread_is_the_quartiles():
    assert benchmark.spread(pd.Series([4.0, 1.0, 2.0, 3.0, 5.0])) == {"median": 3.0, "low": 2.0, "high": 4.0}


def test_operations_are_counted():
    call, expected = benchmark.matrix_product(64)
    assert benchmark.flops(call) == expected == 2 * 64**3
    query = torch.randn(1, 2, 16, 8)  # two products of 16 x 16 x 8 a head
    attention = benchmark.flops(lambda: torch.nn.functional.scaled_dot_product_attention(query, query, query))
    assert attention == 2 * 2 * (2 * 16 * 16 * 8)


def test_a_stopwatch_counts_what_is_inside_and_passes_on():
    watch = benchmark.Stopwatch(lambda x, more=0: time.sleep(0.01) or x + more)
    assert watch(1, more=2) + watch(3) == 6
    assert 0.02 <= watch.seconds < 1


def test_a_training_step_learns():
    torch.manual_seed(0)
    model, x = torch.nn.Linear(4, 1), torch.randn(32, 4)
    step = benchmark.training_step(model, lambda m, b: {"loss": (m(b) - b.sum(1, keepdim=True)).square().mean()}, x, lr=0.1)
    before = (model(x) - x.sum(1, keepdim=True)).square().mean()
    for _ in range(50):
        step()
    assert (model(x) - x.sum(1, keepdim=True)).square().mean() < before / 10


def test_diffusers_walk_is_our_second_order():
    pytest.importorskip("diffusers", reason="diffusers is not installed (extra: peers)")
    x = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    prior, times = Gaussian(), grid(20)

    def denoise(x, t):
        return 0.6 * x / (1 + t.view(-1, 1, 1))

    ours = dpm_solver_pp(denoise, x, times, prior, lower_order_final=False)
    assert torch.allclose(benchmark.diffusers_walk(denoise, x, times, prior), ours, atol=2e-5)


@pytest.mark.skipif(not benchmark.STATUS.exists(), reason="memory is read from /proc, which Linux alone has")
def test_the_peak_is_what_a_call_takes():
    little, much = (benchmark.peak_memory(torch.neg, torch.zeros(n, 2**18)) / 2**20 for n in (1, 64))  # MiB in, MiB out
    assert 0 <= little < 40 and 120 < much - little < 160
