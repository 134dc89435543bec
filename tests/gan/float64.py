"""A GAN's training in float64."""

import gan_vkd.gan.task as task_module
from gan_vkd.gan.task import GanTask


def in_float64(monkeypatch, task: GanTask) -> GanTask:
    """Rounding then says nothing of what follows from it."""
    for network in (task.generator, task.discriminator, task.terms, task.average):
        network.double()
    plain = task.draws.of_iteration

    def draws(iteration):
        drawn = plain(iteration)
        return {n: t.double() if t.is_floating_point() else t for n, t in drawn.items()}

    monkeypatch.setattr(task.draws, "of_iteration", draws)
    monkeypatch.setattr(task_module, "to_float", lambda x: x.double() / 127.5 - 1)
    return task
