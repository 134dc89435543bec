"""KD-DLGAN's two forms against their equations in float64."""

import pytest
import torch
from torch import nn

from gan_vkd.config.layers import preset_layer, resolve, set_layer, with_layer
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.cast import terms_of
from gan_vkd.gan.draws import StepDraws
from gan_vkd.gan.terms.kd_dlgan import KDDLGANSettings, KDDLGANTerm
from gan_vkd.gan.terms.term import Seen, Setting

B, DS, DT, NAMES = 4, 3, 5, ("a", "b", "c")
SETTING = Setting(DS, DT, name="kd-dlgan", teacher="efficientnet-lite0", class_names=NAMES)


def made(**settings) -> KDDLGANTerm:
    torch.manual_seed(0)
    term = KDDLGANTerm(KDDLGANSettings(**settings), SETTING).double()
    for layer in term.head:
        parts = layer.parametrizations.weight
        parts.original.data.normal_()
        parts[0].u.copy_(torch.linalg.svd(parts.original.detach())[0][:, 0])
        layer.bias.data.normal_()
    term.texts.normal_()
    return term


def seen(q: float) -> Seen:
    numbers = torch.Generator().manual_seed(1)
    h, i = (torch.randn(2 * B, d, generator=numbers, dtype=torch.float64) for d in (DS, DT))
    views = torch.zeros(B, DS, dtype=torch.float64)  # what other terms show D comes behind
    h, images = torch.cat([h, views]).requires_grad_(), torch.zeros(B, 3, 8, 8)
    draws = StepDraws(images, images, {}, own={"kd-dlgan": {"q": torch.full((B,), q)}})
    return Seen(0, 0, images, images, h, h, h[:B], h[B:], h, h.sum(), i[:B], i[B:], draws=draws)


def features(term: KDDLGANTerm, h: torch.Tensor) -> torch.Tensor:
    for layer in term.head:
        weight = layer.parametrizations.weight.original
        h = h @ (weight / torch.linalg.matrix_norm(weight, 2)).T + layer.bias
    return h


def similarities(term: KDDLGANTerm, v: torch.Tensor) -> torch.Tensor:
    products = torch.stack([(v * text).sum(1) for text in term.texts], dim=1)
    return products / products.square().sum(1, keepdim=True).sqrt()


def parts(term: KDDLGANTerm, step: Seen) -> tuple:
    f = features(term, step.h[: 2 * B])
    return f[:B], f[B:], step.teacher_real, step.teacher_fake


def check(term: KDDLGANTerm, step: Seen, agkd, cgkd, weights) -> None:
    loss, scalars = term.discriminator(step)
    wanted = weights[0] * agkd + weights[1] * cgkd
    assert scalars["agkd"].item() == pytest.approx(agkd.item(), rel=1e-9)
    assert scalars["cgkd"].item() == pytest.approx(cgkd.item(), rel=1e-9)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-9)
    ours, expected = (torch.autograd.grad(x, step.h, retain_graph=True)[0] for x in (loss, wanted))
    assert torch.allclose(ours, expected, atol=1e-9)


@pytest.mark.parametrize(("q", "swapped"), [(0.69, True), (0.71, False)])
def test_the_paper_s_form(q, swapped):
    term, step = made(form="paper"), seen(q)
    f_x, f_y, i_x, i_y = parts(term, step)
    agkd = (i_x - f_x).abs().mean() + (i_y - f_y).abs().mean()
    if swapped:
        agkd = agkd + (i_x - f_y).abs().mean() + (i_y - f_x).abs().mean()
    cgkd = (similarities(term, i_y) - similarities(term, f_y)).abs().mean()
    check(term, step, agkd, cgkd, (1, 1))


def test_the_released_form():
    term, step = made(), seen(0.99)
    f_x, f_y, i_x, i_y = parts(term, step)
    agkd = sum(
        torch.stack([(a - b).square().sum().sqrt() for a, b in zip(i, f, strict=True)]).mean()
        for i, f in ((i_x, f_x), (i_y, f_y), (i_x, f_y), (i_y, f_x))
    )
    cgkd = (similarities(term, i_x) - similarities(term, f_x)).square().sum()
    cgkd = cgkd + (similarities(term, i_y) - similarities(term, f_y)).square().sum()
    check(term, step, agkd, cgkd, (10, 10))


def test_weights_can_be_set():
    term, step = made(form="paper", agkd=3.0, cgkd=0.5), seen(0.0)
    loss, scalars = term.discriminator(step)
    assert loss.item() == pytest.approx((3 * scalars["agkd"] + 0.5 * scalars["cgkd"]).item())


def test_how_alike_generated_images_are_is_logged_without_a_gradient():
    term, step = made(), seen(0.0)
    value = term.discriminator(step).scalars["kd_likeness"]
    rows = similarities(term, step.teacher_fake)
    pairs = [rows[i] @ rows[j] for i in range(B) for j in range(B) if i != j]
    assert value.item() == pytest.approx(torch.stack(pairs).mean().item(), rel=1e-9)
    assert not value.requires_grad


def test_q_is_one_number_a_step_and_drawn_anew():
    numbers = made().draw((3, 50), 8, torch.Generator().manual_seed(0))["q"]
    assert numbers.shape == (3, 50)
    assert [len(step.unique()) for step in numbers] == [1, 1, 1]
    assert numbers.unique().numel() == 3


def test_anchors_are_set_once_and_saved():
    term = made()
    features = torch.randn(6, DT)
    term.prepare(lambda: features.split(4), torch.tensor([0, 0, 1, 1, 2, 2]))
    means = features.unflatten(0, (3, 2)).mean(1)
    assert torch.allclose(term.texts.float(), means - means.mean(0), atol=1e-6)
    assert "texts" in term.state_dict()
    assert "mean image of each class" in term.summary()


def test_what_does_not_fit_is_refused():
    with pytest.raises(GanVkdError, match="efficientnet-lite0 has no text"):
        KDDLGANTerm(KDDLGANSettings(anchors="prompts"), SETTING)
    with pytest.raises(GanVkdError, match="two classes or more"):
        KDDLGANTerm(KDDLGANSettings(), Setting(DS, DT, class_names=("one",)))
    clip = Setting(DS, DT, teacher="clip", class_names=NAMES)
    assert KDDLGANTerm(KDDLGANSettings(), clip).anchors == "prompts"


def test_it_takes_nothing_of_the_preset_s_distillation():
    recipe = resolve(
        [("lab", preset_layer("lab")), ("with", with_layer("kd-dlgan:form=paper,agkd=2"))]
    )
    assert recipe.distill == KDDLGANSettings(form="paper", agkd=2)
    sets = set_layer(("distill.projection=linear",))
    with pytest.raises(GanVkdError, match=r"distill\.projection: no field of the distill"):
        resolve([("lab", preset_layer("lab")), ("a", with_layer("kd-dlgan")), ("b", sets)])


def test_without_a_teacher_it_is_refused():
    none = set_layer(("teacher.spec=none",))
    recipe = resolve([("a", preset_layer("tiny")), ("b", none), ("c", with_layer("kd-dlgan"))])
    with pytest.raises(GanVkdError, match="--with kd-dlgan: learns from a teacher: name a --teac"):
        terms_of(recipe, nn.Identity(), Augmentation(()), 0, NAMES, 50)
