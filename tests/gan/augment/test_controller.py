import pytest
import torch
from pydantic import ValidationError

from gan_vkd.gan.augment.controller import Controller, ControllerSettings
from gan_vkd.gan.terms.term import Seen, Setting


def seen(step: int, real: list[float], fake: list[float]) -> Seen:
    names = dict.fromkeys(Seen.__dataclass_fields__)
    logits = {"logits_real": torch.tensor(real), "logits_fake": torch.tensor(fake)}
    return Seen(**{**names, **logits, "step": step, "iteration": 0})


def test_p_moves_after_every_interval_by_the_images_seen():
    settings = ControllerSettings(target=0.5, interval=2, images=80)
    controller = Controller(settings, Setting(4, batch_size=4))
    for step, real, p in (
        (0, [1, 1, 1, 1], 0.0),
        (1, [3, 1, -1, 1], 0.1),  # r = (1 + .5) / 2
        (2, [1, 1, 1, 1], 0.1),
        (3, [1, 1, 1, 1], 0.2),
        (4, [-1, 1, -1, 1], 0.2),
        (5, [1, 1, -2, 1], 0.1),  # r = (0 + .5) / 2
        (6, [-1, -1, -1, -1], 0.1),
        (7, [-1, -1, -1, -1], 0.0),
        (8, [-1, -1, -1, -1], 0.0),
        (9, [-1, -1, -1, -1], 0.0),  # and not below
    ):
        controller.observe(seen(step, [float(x) for x in real], [9.0] * 4))
        assert controller.p.item() == pytest.approx(p), step


def test_at_the_target_it_stays_and_pairs_are_compared():
    settings = ControllerSettings(target=0.5, interval=1, images=10, start=0.7)
    controller = Controller(settings, Setting(4, batch_size=4))
    controller.observe(seen(0, [1.0, 1.0, 1.0, -1.0], [0.0] * 4))
    assert controller.p.item() == pytest.approx(0.7)
    paired = Controller(settings, Setting(4, batch_size=4, loss="relativistic"))
    paired.observe(seen(0, [1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 2.0, 0.0]))
    assert paired.p.item() == pytest.approx(0.3)


def test_published_numbers():
    own = ControllerSettings()
    assert (own.target, own.interval, own.images, own.start) == (0.6, 4, 500_000, 0)
    with pytest.raises(ValidationError):
        ControllerSettings(target=1.5)
