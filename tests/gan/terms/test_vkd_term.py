import pytest
import torch
from pydantic import ValidationError

from gan_vkd.distill.normalise import WhitenDataset
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.terms.term import Seen, Setting
from gan_vkd.gan.terms.vkd import VkDSettings, VkDTerm

B, DS, DT = 10, 6, 16


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seen(step: int, generated: bool = True, pull: float = 1.0) -> Seen:
    """A step whose adversarial gradient at h has the norm `pull` · √(2B · DS)."""
    h = random(2 * B, DS).requires_grad_()
    nothing = torch.zeros(())
    return Seen(
        step=step,
        iteration=step,
        real=nothing,
        fake=nothing,
        logits_real=nothing,
        logits_fake=nothing,
        h_real=h[:B],
        h_fake=h[B:],
        h=h,
        adversarial=pull * h.sum(),
        teacher_real=random(B, DT, seed=1),
        teacher_fake=random(B, DT, seed=2) if generated else None,
    )


def make(**settings) -> VkDTerm:
    torch.manual_seed(0)
    return VkDTerm(VkDSettings(**settings), Setting(DS, DT))


def test_a_fixed_weight_times_both_distances():
    term, at = make(weight=3.0), seen(1)
    loss, scalars = term.discriminator(at)
    real, fake = term.loss(at.h_real, at.teacher_real), term.loss(at.h_fake, at.teacher_fake)
    assert loss.item() == pytest.approx(3 * (real + fake).item(), rel=1e-5)
    assert scalars["distill_real"].item() == pytest.approx(real.item(), rel=1e-6)
    assert scalars["distill_fake"].item() == pytest.approx(fake.item(), rel=1e-6)
    norm = term.loss.targets(at.teacher_fake).norm(dim=1).mean()
    assert scalars["target_norm_fake"].item() == pytest.approx(norm.item(), rel=1e-6)
    for step in range(0, 40):
        term.discriminator(seen(step))
    assert term.distill_weight == 3


def test_without_generated_images_their_part_is_left_out_and_the_log_keeps_the_last():
    term = make(weight=3.0)
    before = term.discriminator(seen(1)).scalars["distill_fake"]
    loss, scalars = term.discriminator(seen(2, generated=False))
    assert loss.item() == pytest.approx(3 * scalars["distill_real"].item(), rel=1e-6)
    assert scalars["distill_fake"] == before


def test_generated_images_are_read_every_so_many_steps_of_d():
    term = make(generated_every=3)
    for step in range(7):
        expected = {"teacher_real", "teacher_fake"} if step % 3 == 0 else {"teacher_real"}
        assert term.reads(step) == expected


def gradient_norm(term: VkDTerm, at: Seen) -> float:
    """Of the term at h."""
    return torch.autograd.grad(term.discriminator(at).loss, at.h)[0].norm().item()


def test_the_logged_ratio_is_of_the_gradients_at_h():
    term = make(weight=3.0)
    scalars = term.discriminator(seen(0, pull=0.5)).scalars
    theirs = 0.5 * (2 * B * DS) ** 0.5
    assert scalars["gradient_ratio"].item() == pytest.approx(
        gradient_norm(term, seen(1)) / theirs, rel=1e-5
    )


def test_lambda_goes_a_tenth_of_its_way_each_time_and_gets_there():
    term = make(ratio=0.7, generated_every=2)
    first = term.discriminator(seen(0)).scalars
    expected = (0.7 / first["gradient_ratio"].item()) ** 0.1
    assert first["distill_weight"].item() == pytest.approx(expected, rel=1e-5)
    for step in (1, 2, 4, 6):  # measured at every fourth step with generated images
        assert term.discriminator(seen(step)).scalars["distill_weight"] == first["distill_weight"]
    for step in range(8, 800, 8):
        scalars = term.discriminator(seen(step)).scalars
    assert scalars["gradient_ratio"].item() == pytest.approx(0.7, rel=1e-3)
    assert gradient_norm(term, seen(1)) / (2 * B * DS) ** 0.5 == pytest.approx(0.7, rel=1e-3)


def test_lambda_is_saved_and_not_trained():
    term = make(ratio=0.7)
    term.discriminator(seen(0))
    other = make(ratio=0.7)
    other.load_state_dict(term.state_dict())
    assert other.distill_weight == term.distill_weight != 1
    assert {name for name, _ in term.named_parameters()} == {"loss.projection.move"}


def test_the_control_gives_each_image_the_target_of_another():
    plain, control = make(weight=1.0), make(weight=1.0, shuffled=True)
    at = seen(1)
    rolled = plain.loss(at.h_real, at.teacher_real.roll(1, dims=0))
    rolled = rolled + plain.loss(at.h_fake, at.teacher_fake.roll(1, dims=0))
    assert control.discriminator(at).loss.item() == pytest.approx(rolled.item(), rel=1e-6)
    assert control.discriminator(at).loss.item() != pytest.approx(
        plain.discriminator(at).loss.item(), rel=1e-3
    )


def test_its_statistics_are_taken_once_from_the_teachers_features():
    term = make(normalise="whiten-dataset", rank=3)
    z = random(50, DT, seed=5)
    term.prepare(lambda: z.split(20))
    fitted = WhitenDataset.fit(z.split(20), 3)
    for name, tensor in fitted.state_dict().items():
        assert torch.equal(term.loss.normalise.state_dict()[name], tensor)
    assert make(normalise="whiten-dataset").loss.normalise.rank == DT // 8
    wide = VkDTerm(VkDSettings(normalise="whiten-dataset"), Setting(3, 80))
    assert wide.loss.normalise.rank == 3
    few = VkDTerm(VkDSettings(normalise="whiten-dataset"), Setting(32, 1280, num_images=12))
    assert few.loss.normalise.rank == 11


@pytest.mark.parametrize("projection", ["orthogonal", "svd"])
def test_the_fit_is_r_squared(projection):
    normalise = "none" if projection == "svd" else "whiten"
    term = make(projection=projection, normalise=normalise)
    z = [random(B, DT, seed=i) for i in range(2)]
    perfect = []
    for part in z:
        target = term.loss.targets(part)
        perfect.append((torch.linalg.lstsq(term.loss.projection.matrix(), target.T)[0].T, part))
    values = term.probe(perfect)
    targets, missed = [], []
    for h, part in perfect:
        targets.append(term.loss.targets(part))
        missed.append(term.loss.predictions(h) - targets[-1])
    expected = 1 - torch.cat(missed).square().sum() / torch.cat(targets).square().sum()
    assert values["fit"] == pytest.approx(expected.item(), abs=1e-5)
    assert values["fit"] > 0.1
    nothing = term.probe([(torch.zeros(B, DS), part) for part in z])
    assert nothing["fit"] == pytest.approx(0, abs=1e-5)
    norm = torch.cat(targets).norm(dim=1).mean().item()
    assert values["target_norm"] == pytest.approx(norm, rel=1e-5)


def test_ratio_or_weight_not_both():
    assert VkDSettings().ratio == 0.5
    assert VkDSettings(weight=2.0).ratio is None
    with pytest.raises(ValidationError, match="exclude each other"):
        VkDSettings(weight=2.0, ratio=1.0)


def test_what_does_not_go_together_is_one_line():
    with pytest.raises(GanVkdError, match="--projection"):
        make(projection="identity")
