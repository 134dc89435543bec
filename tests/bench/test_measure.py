import math

import pytest
import torch

from gan_vkd.bench import measure
from gan_vkd.bench.measure import interleaved, peak_bytes, standing_bytes, timed
from gan_vkd.bench.table import markdown
from gan_vkd.progress import QUIET

CPU = torch.device("cpu")


def test_all_cases_take_turns_and_a_slow_one_sits_out(monkeypatch):
    order = []
    takes = {"a": 1.0, "slow": 20.0, "b": 2.0}

    def by_the_book(call, device):
        call()
        return takes[order[-1]]

    monkeypatch.setattr(measure, "timed", by_the_book)
    cases = {name: lambda name=name: order.append(name) for name in takes}
    with QUIET.bar("", 12) as bar:
        timings = interleaved(cases, "a", rounds=4, patience=30, device=CPU, bar=bar)
    assert order[:3] == ["a", "slow", "b"]  # warm-up
    assert order[3:6] == ["a", "slow", "b"]
    assert order[6:9] == ["slow", "b", "a"]
    assert [len(timings[name].seconds) for name in cases] == [4, 2, 4]
    assert [timings[name].ratio for name in cases] == [1, 20, 2]
    assert timings["slow"].median == 20


def test_patience_of_nothing_still_measures_once():
    with QUIET.bar("", 4) as bar:
        cases = {"a": lambda: None, "b": lambda: None}
        timings = interleaved(cases, "a", rounds=2, patience=0, device=CPU, bar=bar)
    assert [len(timings[name].seconds) for name in cases] == [2, 1]
    assert timings["b"].spread == 0


def test_a_call_takes_time():
    assert timed(lambda: torch.ones(10), CPU) > 0


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
