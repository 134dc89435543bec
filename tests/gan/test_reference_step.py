"""An iteration's gradients against the formulas, written down plainly in float64.

The reference shares the two networks with the task (they have tests of their own) and nothing
else: mirroring, augmentation, losses, normalisation and projection are written again.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from fixed_teacher import FixedTeacher

from gan_vkd.config.layers import preset_layer, resolve, set_layer
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.distill import normalise, projections
from gan_vkd.distill.view import TeacherView
from gan_vkd.gan.task import GanTask
from gan_vkd.progress import QUIET

CPU = torch.device("cpu")
B, LAMBDA = 8, 3.0


# The reference, 40 lines of code.


def shown(images, draws):
    """DiffAugment's translation and cutout on images [B, 3, 16, 16], image by image."""
    out = []
    moves = zip(images, draws["translation"].tolist(), draws["cutout"].tolist(), strict=True)
    for image, (down, right), (y, x) in moves:
        kept = torch.ones(16, 16, dtype=image.dtype)
        kept[max(0, y - 4) : y + 4, max(0, x - 4) : x + 4] = 0
        moved = F.pad(image, (2, 2, 2, 2))[:, 2 - down : 18 - down, 2 - right : 18 - right]
        out.append(moved * kept)
    return torch.stack(out)


def distance(h, z, p, how, every):
    """‖P h - normalise(z)‖² / min(ds, dt), mean over B; `every`: z of all training images."""
    if how == "layernorm":
        z = (z - z.mean(1, True)) / (z.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    if how == "whiten-dataset":
        values, vectors = torch.linalg.eigh(every.T.cov(correction=0))
        z = (z - every.mean(0)) @ (vectors / values.sqrt())[:, -z.shape[1] // 8 :]
    if how in ("whiten", "whiten-iterative"):
        u, _, v = torch.linalg.svd(z - z.mean(0), full_matrices=False)
        z = u[:, : B - 1] @ v[: B - 1] * (B * z.shape[1] / (B - 1)) ** 0.5
    if p is None:  # svd: P, and the targets' part along it, from the batch
        z = z - z.mean(0)
        v = torch.linalg.svd(z, full_matrices=False)[2][: B - 1].T
        v = v * v.gather(0, v.abs().argmax(0, True)).sign()
        z, p, how = z @ v @ v.T, F.pad(v, (0, h.shape[1] - v.shape[1])), "whiten"
    h = h - h.mean(0) if how.startswith("whiten") else h
    return (h @ p.T - z).square().sum() / (B * min(p.shape))


def reference(g, d, images, all_labels, in_d, in_g, teacher, p, how):
    """The gradients: of D's loss by D and P, of G's loss by G."""
    data = images.double() / 127.5 - 1
    real = torch.where(in_d.mirrored.view(B, 1, 1, 1), data[in_d.rows].flip(-1), data[in_d.rows])
    fake = g(in_d.latents.double(), in_d.labels).detach()
    labels = torch.cat([all_labels[in_d.rows], in_d.labels])
    logits, h = d(torch.cat([shown(real, in_d.real), shown(fake, in_d.fake)]), labels)
    loss = (1 - logits[:B]).clamp(min=0).mean() + (1 + logits[B:]).clamp(min=0).mean()
    if teacher is not None:
        every = teacher(torch.cat([data, data.flip(-1)]))
        parts = ((h[:B], teacher(real)), (h[B:], teacher(fake)))
        loss = loss + LAMBDA * sum(distance(*part, p and p(), how, every) for part in parts)
    loss.backward()
    fake = shown(g(in_g.latents.double(), in_g.labels), in_g.fake)
    d(fake, in_g.labels)[0].mean().neg().backward(inputs=list(g.parameters()))
    return [q.grad for q in d.parameters()], [q.grad for q in g.parameters()]


# What is compared with it.


def projection(name, module, dim, ds):
    """P as a function of a float64 leaf, the leaf, and its gradient as the module has it."""
    if name in ("svd", "none"):
        return None, None, None
    if name == "identity":
        return lambda: torch.eye(ds, dtype=torch.float64), None, None
    if name == "orthogonal-frozen":
        return lambda: module.matrix().double(), None, None
    if name == "orthogonal-exp":
        leaf = module.weight.detach().double().requires_grad_()

        def exponential():
            upper = leaf.triu(1)
            return torch.linalg.matrix_exp(upper - upper.T)[:dim, :ds]

        return exponential, leaf, lambda: (leaf.grad, module.weight.grad)
    if name == "linear":
        leaf = module.weight.detach().double().requires_grad_()
        return lambda: leaf, leaf, lambda: (leaf.grad, module.weight.grad)
    leaf = module.matrix().detach().double().requires_grad_()

    def tangent():
        """Of the frames: G - P sym(PᵀG), P with orthonormal columns."""
        frame, gradient = (leaf.T, leaf.grad.T) if dim < ds else (leaf, leaf.grad)
        product = frame.T @ gradient
        return gradient - frame @ (product + product.T) / 2, module.move.grad

    return lambda: leaf, leaf, tangent


def relative_error(ours, reference) -> float:
    """Of one gradient over all its tensors."""
    pairs = list(zip(ours, reference, strict=True))
    missed = sum((a.double() - b).square().sum() for a, b in pairs)
    return (missed / sum(b.square().sum() for _, b in pairs)).sqrt().item()


def relative_errors(name: str, how: str, dim: int) -> dict[str, float]:
    """Of the gradients of D, G and P."""
    sets = ["training.batch_size=8", "training.d_steps=1", "training.precision=fp32"]
    sets += ["training.d_lr=1e-30", "training.g_lr=1e-30"]  # nothing moves
    sets += ["gan.generator_spectral_norm=true", "distill.generated_every=1"]
    sets += ["data.augment=translation,cutout", "terms.mode-seeking=false"]
    if name != "none":
        sets += [f"distill.projection={name}", f"distill.normalise={how}"]
    sets.append(f"distill.weight={LAMBDA}")
    recipe = resolve([("preset", preset_layer("tiny")), ("sets", set_layer(tuple(sets)))])
    data = split_training(load_dataset("digits", image_size=16, channels=3), 0.2, "balanced", 0)
    teacher = None if name == "none" else FixedTeacher(dim)
    view = teacher and TeacherView(teacher, data.train, CPU, "fp32")
    task = GanTask(recipe, data, view, CPU)
    task.prepare(QUIET)
    ds = task.discriminator.feature_dim
    module = None if teacher is None else task.terms["vkd"].loss.projection
    rank = min(ds, dim // 8) if how == "whiten-dataset" else dim
    p, leaf, pair = projection(name, module, rank, ds)
    copies = (copy.deepcopy(n).double() for n in (task.generator, task.discriminator))
    train, draws = data.train, task.draws.by_step(task.draws.of_iteration(0))
    of_d, of_g = reference(*copies, train.images, train.labels, *draws, teacher, p, how)
    task.iterate(0)
    errors = {
        "D": relative_error([q.grad for q in task.discriminator.parameters()], of_d),
        "G": relative_error([q.grad for q in task.generator.parameters()], of_g),
    }
    if leaf is not None:
        expected, ours = pair()
        errors["P"] = relative_error([ours], [expected])
    return errors


NORMALISATIONS = ("none", "layernorm", "whiten", "whiten-iterative", "whiten-dataset")
CASES = [("none", "none", 48), ("svd", "none", 48)]
CASES += [
    (name, how, 48) for name in ("orthogonal", "orthogonal-exp", "linear") for how in NORMALISATIONS
]
CASES += [("orthogonal", "whiten", 24)]  # dt < ds: orthonormal rows
CASES += [("orthogonal-frozen", "whiten", 48)]
CASES += [("identity", how, 32) for how in NORMALISATIONS if how != "whiten-dataset"]


@pytest.mark.parametrize(("name", "how", "dim"), CASES)
def test_gradients_are_those_of_the_formulas(name, how, dim):
    for player, error in relative_errors(name, how, dim).items():
        assert error < 1e-5, player


def test_gradients_on_the_paths_of_a_gpu(monkeypatch):
    """Whitening by products, a retraction that asks nothing."""
    for module in (normalise, projections):
        monkeypatch.setattr(module, "asking_waits", lambda device: True)
    for player, error in relative_errors("orthogonal", "whiten", 48).items():
        assert error < 1e-5, player
