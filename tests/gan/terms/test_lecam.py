import pytest
import torch

from gan_vkd.gan.terms.lecam import LeCamSettings, LeCamTerm
from gan_vkd.gan.terms.term import Seen, Setting


def seen(real: list[float], fake: list[float], iteration: int) -> Seen:
    nothing = torch.zeros(())
    return Seen(
        step=iteration,
        iteration=iteration,
        real=nothing,
        fake=nothing,
        logits_real=torch.tensor(real, requires_grad=True),
        logits_fake=torch.tensor(fake, requires_grad=True),
        h_real=nothing,
        h_fake=nothing,
        h=nothing,
        adversarial=nothing,
        teacher_real=None,
        teacher_fake=None,
    )


def test_it_follows_then_averages_and_counts():
    term = LeCamTerm(LeCamSettings(weight=0.5, decay=0.9, start=2), Setting(4))
    early = seen([1.0, 3.0], [-1.0, 0.0], 1)
    assert term.discriminator(early).loss == 0
    assert (term.average_real, term.average_fake) == (2.0, -0.5)

    late = seen([0.0, 2.0], [3.0, -4.0], 2)
    loss, scalars = term.discriminator(late)
    a_real, a_fake = 0.9 * 2.0 + 0.1 * 1.0, 0.9 * -0.5 + 0.1 * -0.5
    above = sum(max(0, d - a_fake) ** 2 for d in (0.0, 2.0)) / 2
    below = sum(max(0, a_real - d) ** 2 for d in (3.0, -4.0)) / 2
    assert term.average_real.item() == pytest.approx(a_real)
    assert scalars["lecam"].item() == pytest.approx(above + below)
    assert loss.item() == pytest.approx(0.5 * (above + below))
    loss.backward()
    assert late.logits_real.grad[1].item() == pytest.approx(0.5 * (2.0 - a_fake))
    assert not term.average_real.requires_grad


def test_its_averages_are_saved():
    term = LeCamTerm(LeCamSettings(), Setting(4))
    assert set(term.state_dict()) == {"average_real", "average_fake"}
