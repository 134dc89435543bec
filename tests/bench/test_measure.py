import math
import time

import pytest
import torch

from gan_vkd.bench.measure import interleaved, peak_bytes, standing_bytes
from gan_vkd.bench.table import markdown
from gan_vkd.progress import QUIET

CPU = torch.device("cpu")


def test_all_cases_take_turns_and_a_slow_one_sits_out():
    order = []

    def case(name: str, seconds: float):
        def call():
            order.append(name)
            time.sleep(seconds)

        return call

    cases = {"a": case("a", 0.001), "slow": case("slow", 0.02), "b": case("b", 0.001)}
    with QUIET.bar("", 12) as bar:
        timings = interleaved(cases, "a", rounds=4, patience=0.03, device=CPU, bar=bar)
    assert order[:3] == ["a", "slow", "b"]  # warm-up
    assert order[3:6] == ["a", "slow", "b"]
    assert order[6:9] == ["slow", "b", "a"]
    assert [len(timings[name].seconds) for name in cases] == [4, 2, 4]
    assert timings["a"].ratio == 1
    assert timings["slow"].ratio > 2
    assert timings["slow"].median >= 0.02


def test_peak_memory_counts_what_lives_at_once():
    megabyte = 2**20

    def call():
        first = torch.ones(megabyte, dtype=torch.uint8)
        second = first + first
        del first
        third = second + second
        return third

    assert peak_bytes(call, CPU) == pytest.approx(2 * megabyte, rel=0.01)


def test_standing_memory_has_weights_and_moments():
    model = torch.nn.Linear(10, 10, bias=False)
    optimiser = torch.optim.Adam(model.parameters())
    assert standing_bytes(model, optimiser) == 400
    model(torch.ones(1, 10)).sum().backward()
    optimiser.step()
    assert math.isclose(standing_bytes(model, optimiser), 1200, abs_tol=8)  # and a step count


def test_a_table():
    assert markdown(["name", "x"], [["a", "10"], ["longer", "2"]]).splitlines() == [
        "| name   |  x |",
        "| ------ | -: |",
        "| a      | 10 |",
        "| longer |  2 |",
    ]
