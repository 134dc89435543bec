"""Several processes of one training in a test: gloo on this machine, without a launcher."""

import socket
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

PATIENCE = timedelta(minutes=2)  # with a process that does not do what the others do


def several(size: int, work: Callable, *arguments: object) -> None:
    """Calls `work(*arguments)`, of a module of the tests, in `size` processes that know each other.

    They are forked from a server that has read the libraries once.

    Raises:
        torch.multiprocessing.ProcessRaisedException: one of them raised something.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    mp.get_context("forkserver").set_forkserver_preload(["gan_vkd.gan.task", "tensorboard"])
    mp.start_processes(
        _begin, (size, place, work, arguments), nprocs=size, start_method="forkserver"
    )


def _begin(rank: int, size: int, place: str, work: Callable, arguments: tuple) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if size > 1:
        dist.init_process_group(
            "gloo", init_method=place, rank=rank, world_size=size, timeout=PATIENCE
        )
    work(*arguments)
    if size > 1:
        dist.destroy_process_group()
