"""What processes do and decide together."""

import json
import math
import os
import signal
import time
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from several import several

from gan_vkd import processes
from gan_vkd.engine.batch_norm import BatchNorm
from gan_vkd.engine.loop import Outcome, train
from gan_vkd.engine.run_dir import RunDir
from gan_vkd.engine.share import Share
from gan_vkd.engine.task import Schedule
from gan_vkd.errors import EndedElsewhere, GanVkdError
from gan_vkd.progress import QUIET


def raised_by(function, *arguments):
    """What it raises, and nothing else."""
    with pytest.raises(GanVkdError) as caught:
        function(*arguments)
    return caught.value


# Gathering, summing, deciding.


def gather_and_decide() -> None:
    own, three = processes.rank(), torch.arange(3.0)
    parts = processes.gathered(own + three)
    assert [part.tolist() for part in parts] == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert processes.summed(own + three).tolist() == [3, 6, 9]

    strided = torch.full((2, 3, 4, 4), own + 1.0).contiguous(memory_format=torch.channels_last)
    gradients = [strided, torch.tensor(10.0 * own), torch.zeros(0)]
    processes.average_(gradients)
    assert (strided == 2).all()
    assert strided.is_contiguous(memory_format=torch.channels_last)
    assert gradients[1] == 10

    buffers = [torch.full((2,), own), torch.tensor(own + 5)]
    processes.copy_first_(buffers)
    assert [buffer.tolist() for buffer in buffers] == [[0, 0], 5]

    assert processes.greatest(own, -own, own == 1) == [2, 0, 1]
    assert processes.told(f"of {own}") == "of 0"
    assert processes.on_first(lambda: own) == (0 if own == 0 else None)
    assert processes.in_turns(lambda value: value + own, 7) == 7 + own


def share_rows() -> None:
    for total in (0, 1, 2, 3, 7):
        rows = torch.arange(2 * total, dtype=torch.uint8).view(total, 2)
        sizes = processes.sizes_of_parts(total)
        assert (sum(sizes), max(sizes) - min(sizes) <= 1) == (total, True)
        own = rows[processes.own_part(total)]
        assert len(own) == sizes[processes.rank()]
        assert processes.whole(own, total).equal(rows)
    alone = [processes.in_turns(lambda: (processes.size(), processes.leading()))]
    alone.append(processes.on_first(lambda: (processes.size(), processes.leading())))
    assert alone == [(1, True), (1, True) if processes.rank() == 0 else None]
    assert processes.size() == 3


def end_together() -> None:
    own = processes.rank()

    def fail(*ranks):
        with processes.failing_together():
            if own in ranks:
                raise GanVkdError(f"{own} fails")

    def fail_inside():
        with processes.failing_together():
            processes.in_turns(fail_on_one)

    def fail_on_one():
        if own == 1:
            raise GanVkdError("1 fails")

    fail()
    for ranks, teller in (((2,), 2), ((1, 2), 1), ((0, 1, 2), 0)):
        error = raised_by(fail, *ranks)
        assert isinstance(error, EndedElsewhere) == (own != teller)
        assert str(error) == (f"{own} fails" if own == teller else f"process {teller} has ended")
    assert isinstance(raised_by(fail_inside), EndedElsewhere) == (own != 1)
    with pytest.raises(KeyError if own == 0 else EndedElsewhere):
        processes.on_first({}.pop, "what is not there")

    weights = {"w": torch.zeros(2), "v": torch.ones(3)}
    processes.require_same("weights", processes.digest, weights)
    weights["v"][2] += 1e-7 * (own == 2)
    error = raised_by(processes.require_same, "weights", processes.digest, weights)
    assert isinstance(error, EndedElsewhere) == (own != 2)
    assert own != 2 or "process 2 of 3 differs from process 0 in weights" in str(error)
    assert processes.greatest(1) == [1]  # still in step


def small_batch() -> None:
    batch = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(1)).double() + 3
    weights = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(2)).double()
    share, plain, shared = Share(5), torch.nn.BatchNorm2d(2).double(), BatchNorm(2).double()
    assert share.sizes == [1, 2, 2]
    shared.shared = True
    whole, own = batch.clone().requires_grad_(), batch[share.own].clone().requires_grad_()
    for _ in range(2):  # the running statistics move twice
        expected, ours = plain(whole), shared(own)
        assert torch.allclose(ours, expected[share.own], atol=1e-12)
    (expected * weights).sum().backward()
    assert torch.allclose(share.together(ours), expected, atol=1e-12)
    (share.together(ours) * weights).sum().backward()  # the whole loss, in each process
    assert torch.allclose(own.grad, processes.size() * whole.grad[share.own], atol=1e-12)
    processes.average_([p.grad for p in shared.parameters()])
    for (name, one), (_, other) in zip(
        plain.state_dict(keep_vars=True).items(),
        shared.state_dict(keep_vars=True).items(),
        strict=True,
    ):
        assert torch.allclose(one.double(), other.double(), atol=1e-12), name
        if one.requires_grad:
            assert torch.allclose(one.grad, other.grad, atol=1e-12), name

    rows = torch.arange(10).view(2, 5)  # two kinds, one behind the other
    assert share.together(rows[:, share.own].flatten()).tolist() == list(range(10))
    steps = share.of_steps({"drawn": rows[:, :, None]})["drawn"]
    assert steps.tolist() == rows[:, share.own, None].tolist()
    error = raised_by(Share, 2)
    assert "training.batch_size 2: fewer than the 3 processes" in str(error)


def primitives() -> None:
    gather_and_decide()
    share_rows()
    end_together()
    small_batch()


def test_what_three_processes_do_and_decide_together():
    several(3, primitives)


def test_one_process_needs_no_others():
    assert (processes.size(), processes.rank(), processes.leading()) == (1, 0, True)
    assert processes.greatest(3, False) == [3, False]
    assert processes.told("x") == "x"
    with pytest.raises(KeyError), processes.failing_together():
        raise KeyError
    row = torch.ones(2, 3)
    assert Share(2).together(row) is row


def test_a_hash_is_of_names_types_shapes_and_bits():
    base = {"a": torch.zeros(2, 3), "b": torch.ones(())}
    others = (
        {"a": torch.zeros(3, 2), "b": torch.ones(())},
        {"a": torch.zeros(2, 3), "c": torch.ones(())},
        {"a": torch.zeros(2, 3), "b": torch.ones((), dtype=torch.float64)},
        {"a": -torch.zeros(2, 3), "b": torch.ones(())},
    )
    hashes = {processes.digest(state) for state in (base, *others)}
    assert len(hashes) == 5
    assert processes.digest(dict(reversed(base.items()))) in hashes


# The loop.


class Count:
    """A task that counts; `at` says what happens in which iteration of which process."""

    artefact, shown, limits, remedy = "count.txt", {}, (), "another --seed"
    images_per_iteration = 1

    def __init__(self, at: dict[tuple[int, int], object]):
        self.at, self.total = at, torch.zeros(())
        self.schedule = Schedule(
            iterations=40, log_every=2, sample_every=3, checkpoint_every=10, eval_every=5
        )

    def iterate(self, iteration, measure=False):
        happens = self.at.get((processes.rank(), iteration), lambda task: None)
        self.total += 1
        happens(self)
        return {"total": self.total.item()} if measure else {}

    def probe(self):
        return {}

    def picture(self, iteration):
        return None

    def point(self, iteration):
        raise AssertionError("it is not evaluated here")

    def export(self, iteration, path):
        path.write_text(str(iteration))

    def state_dict(self):
        return {"total": self.total.clone()}


def interrupt(task) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def drift(task) -> None:
    task.total += 1e-3


def lose_the_number(task) -> None:
    task.total.fill_(math.nan)


def loop(at: dict, deadlines: tuple[float, ...], folder: Path) -> Outcome:
    task = Count(at)
    task.schedule = Schedule(40, 2, 3, 10, 0)
    deadline = time.monotonic() + deadlines[processes.rank()]
    folder = Path(processes.told(str(folder)))
    if processes.leading():
        folder.mkdir()
    processes.greatest(0)
    return train(task, RunDir(folder), start=0, deadline=deadline, reporter=QUIET)


def loops(folder: Path) -> None:
    own, never = processes.rank(), (math.inf, math.inf)

    # 1. One has a signal, or its time is up: both end at the same iteration.
    assert loop({(1, 12): interrupt}, never, folder / "signal") == Outcome(13, "signal", 15)
    ended = loop({}, (math.inf, -1.0), folder / "time")
    assert ended == Outcome(0, "time")
    assert loop({}, never, folder / "done") == Outcome(40, "done")

    # 2. One state drifts: the next checkpoint is not written.
    error = raised_by(loop, {(1, 14): drift}, never, folder / "drift")
    assert isinstance(error, EndedElsewhere) == (own == 0)
    assert own == 0 or "differs from process 0 in its state after iteration 20" in str(error)

    # 3. A number that is not finite ends both, and process 0 says so.
    at = {(rank, 16): lose_the_number for rank in (0, 1)}
    error = raised_by(loop, at, never, folder / "nan")
    assert isinstance(error, EndedElsewhere) == (own == 1)
    assert own == 1 or "total is nan at iteration 18" in str(error)


def test_processes_stop_at_the_same_iteration_and_one_writes(tmp_path):
    several(2, loops, tmp_path)
    left = {path.name: RunDir(path) for path in tmp_path.iterdir()}
    assert left["signal"].checkpoints.iterations() == [10, 13]
    assert left["done"].checkpoints.iterations() == [20, 30, 40]
    assert left["drift"].checkpoints.iterations() == [10]
    assert left["nan"].checkpoints.iterations() == [10]
    lines = [json.loads(line) for line in left["done"].log_path.read_text().splitlines()]
    assert [line["iteration"] for line in lines] == list(range(2, 41, 2))


def die(task) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(folder: Path) -> None:
    with pytest.raises(processes.LostProcess, match="another of the 3 processes is lost"):
        loop({(2, 7): die}, (math.inf,) * 3, folder / "run")
    (folder / f"{processes.rank()}").touch()


def test_a_process_that_dies_ends_the_others(tmp_path):
    with pytest.raises(mp.ProcessExitedException, match="SIGKILL"):
        several(3, killed, tmp_path)
