"""Put one-line faults into the step of training, one at a time, and see whether a test notices.

Usage: python scripts/mutants.py [--jobs 2] [NAME ...]

Each fault goes into a copy of the project; the fast tests of that part run on it. A fault that
passes them has survived: exit code 1. NAMEs (parts of names) choose among the faults.
"""

# ruff: noqa: E501
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PASSED, FAILED = 0, 1  # pytest's exit codes; any other is no answer

STEPS = ("gan_vkd/gan/steps.py", ["tests/gan/test_steps.py"])
REFERENCE = ["tests/gan/test_reference_step.py", "-k", "none-none or whiten-48 or svd"]
TASK = ("gan_vkd/gan/task.py", ["tests/gan/test_task.py", "-k", "not what_a_run_leaves"])
PROBES = ("gan_vkd/gan/probes.py", TASK[1])
DRAWS = ("gan_vkd/gan/draws.py", ["tests/gan/test_draws.py"])
HINGE = ("gan_vkd/gan/losses/hinge.py", ["tests/gan/losses/test_hinge.py"])
LECAM = ("gan_vkd/gan/terms/lecam.py", ["tests/gan/terms/test_lecam.py"])
VKD_TERM = ("gan_vkd/gan/terms/vkd.py", ["tests/gan/terms/test_vkd_term.py"])
VKD_LOSS = ("gan_vkd/distill/methods/vkd.py", ["tests/distill/methods/test_vkd.py"])
NORMALISE = (
    "gan_vkd/distill/normalise.py",
    ["tests/distill/test_normalise.py", "-k", "not lengthen_held_out"],
)
PROJECTION = ("gan_vkd/distill/projections.py", REFERENCE)
AUGMENT = ("gan_vkd/gan/augment/diffaugment.py", ["tests/gan/augment"])
BATCHES = ("gan_vkd/data/batches.py", ["tests/data/test_batches.py", "tests/gan/augment"])
AVERAGE = ("gan_vkd/gan/ema.py", ["tests/gan/test_ema.py"])
EXPORT = ("gan_vkd/gan/exported.py", ["tests/gan/test_exported.py"])
PLAYERS = ("gan_vkd/engine/players.py", ["tests/engine/test_players.py"])
PACKING = ("gan_vkd/engine/draws.py", DRAWS[1])
SHARE = ("gan_vkd/gan/share.py", ["tests/gan/test_share.py", "-k", "steps_of_one"])
ALIKE = (PLAYERS[0], SHARE[1])
SHARED_TASK = (TASK[0], SHARE[1])
BATCH_NORM = (
    "gan_vkd/gan/networks/batch_norm.py",
    ["tests/test_processes.py", "-k", "three_processes"],
)
PROCESSES = ("gan_vkd/processes.py", ["tests/test_processes.py"])
LOOP = ("gan_vkd/engine/loop.py", PROCESSES[1])
LAYERS = ("gan_vkd/gan/networks/layers.py", ["tests/gan/networks"])
LAYERS_REFERENCE = (LAYERS[0], REFERENCE)


@dataclass(frozen=True)
class Mutant:
    """A fault.

    Attributes:
        name: what is wrong.
        part: the file, and pytest's arguments for the tests of that part.
        right, wrong: the text, which the file has once, and what takes its place.
    """

    name: str
    part: tuple[str, list[str]]
    right: str
    wrong: str


MUTANTS = [
    # The steps
    Mutant("hinge gets the logits swapped", STEPS, "discriminator(logits_real, logits_fake)", "discriminator(logits_fake, logits_real)"),
    Mutant("labels of real and generated images swapped", STEPS, "torch.cat([real.labels, draws.labels])", "torch.cat([draws.labels, real.labels])"),
    Mutant("generated images are not augmented for D", STEPS, "game.augment(fake, draws.fake)])", "fake])"),
    Mutant("real images are not augmented", STEPS, "game.augment(real.images, draws.real)", "real.images"),
    Mutant("real images are augmented by the generated ones' draws", STEPS, "game.augment(real.images, draws.real)", "game.augment(real.images, draws.fake)"),
    Mutant("generated images are not augmented for G", STEPS, "game.discriminator(game.augment(fake, draws.fake), draws.labels)", "game.discriminator(fake, draws.labels)"),
    Mutant("D's step trains through G", STEPS, "with torch.no_grad():", "with torch.enable_grad():"),
    Mutant("G's step gives D gradients", STEPS, "network.requires_grad_(False)", "network.requires_grad_(True)"),
    Mutant("D stays frozen after G's step", STEPS, "    finally:\n        network.requires_grad_(True)", "    finally:\n        pass"),
    Mutant("terms are left out of D's loss", STEPS, "loss, scalars = loss + added,", "loss, scalars = loss,"),
    Mutant("the teacher sees augmented images", STEPS, "game.teacher(fake) if", "game.teacher(shown.chunk(2)[1]) if"),
    Mutant("h of real and generated images swapped", STEPS, "h_real, h_fake = h.chunk(2)", "h_fake, h_real = h.chunk(2)"),
    Mutant("the teacher is asked though nobody reads", STEPS, 'game.teacher(fake) if "teacher_fake" in reads else None', "game.teacher(fake)"),
    Mutant("the adversarial loss that terms see has the terms in it", STEPS, "adversarial=adversarial,", "adversarial=2 * adversarial,"),
    # The adversarial loss
    Mutant("hinge without its margin on real images", HINGE, "F.relu(1 - real)", "F.relu(-real)"),
    Mutant("hinge pushes generated images up", HINGE, "F.relu(1 + fake)", "F.relu(1 - fake)"),
    Mutant("G ascends", HINGE, "-fake.mean()", "fake.mean()"),
    # The task
    Mutant("beta1 is .9", TASK, "BETAS = (0.0, 0.999)", "BETAS = (0.9, 0.999)"),
    Mutant("beta2 is .99", TASK, "BETAS = (0.0, 0.999)", "BETAS = (0.0, 0.99)"),
    Mutant("G at D's rate", TASK, "training.g_lr, BETAS", "training.d_lr, BETAS"),
    Mutant("D at G's rate", TASK, "training.d_lr, BETAS", "training.g_lr, BETAS"),
    Mutant("the projection is not trained", TASK, '{"discriminator": self.discriminator, "terms": self.terms}', '{"discriminator": self.discriminator}'),
    Mutant("no average", TASK, "settings.ema_decay if self._averaging(iteration) else 0.0", "0.0"),
    Mutant("the average starts at once", TASK, "iteration >= self.recipe.training.ema_start", "iteration >= 0"),
    Mutant("the average starts one late", TASK, "iteration >= self.recipe.training.ema_start", "iteration > self.recipe.training.ema_start"),
    Mutant("real images are not mirrored", TASK, "mirror(to_float(inputs[\"images\"][turn]), mirrored)", "to_float(inputs[\"images\"][turn])"),
    Mutant("the teacher is shown the unmirrored image", TASK, "drawn[\"mirrored\"].flatten())", "drawn[\"mirrored\"].flatten() & False)"),
    Mutant("every D step has the number of the first", TASK, "step = iteration * settings.d_steps + turn", "step = iteration * settings.d_steps"),
    Mutant("G takes the first D step's draws", TASK, "*d_draws, g_draws = self.draws.by_step(inputs)", "*d_draws, _ = self.draws.by_step(inputs); g_draws = d_draws[0]"),
    Mutant("G is not trained", TASK, "self.g_player.descend(loss)", "pass"),
    Mutant("D is not trained", TASK, "self.d_player.descend(loss)", "pass"),
    Mutant("D is probed in train mode", PROBES, "    module.eval()\n", "    module.train()\n"),
    Mutant("overfitting has the wrong sign", PROBES, 'values["logit_train"] - values["logit_held_out"]', 'values["logit_held_out"] - values["logit_train"]'),
    Mutant("the networks do not depend on the seed", TASK, 'seed_for(training.seed, "networks")', 'seed_for(0, "networks")'),
    Mutant("spread of real over generated images", TASK, "self._spread(seen.fake) / self._spread(seen.real)", "self._spread(seen.real) / self._spread(seen.fake)"),
    Mutant("an old export is handed out after loading", TASK, '        """Restore what `state_dict` gave; training goes on with the same bits."""\n        self._exported = None', '        """Restore what `state_dict` gave; training goes on with the same bits."""'),
    # The players
    Mutant("gradients pile up", PLAYERS, "self.optimiser.zero_grad()", "pass"),
    Mutant("restored moments in another memory layout", PLAYERS, "torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)", "tensor.contiguous()"),
    Mutant("moments are not saved", PLAYERS, 'for name, tensor in moments.items()}', 'for name, tensor in moments.items() if name == "step"}'),
    # The draws
    Mutant("all steps share their latents", DRAWS, 'drawn["latents"][turn]', 'drawn["latents"][0]'),
    Mutant("labels are uniform over the classes", DRAWS, "self.labels[shown]", "shown % 2"),
    Mutant("every iteration has the same latents", DRAWS, "return generator(seed, purpose, iteration)", "return generator(seed, purpose)"),
    Mutant("no mirror images", DRAWS, "& self.flip", "& False"),
    Mutant("mirror images though the data have none", DRAWS, "& self.flip", "& True"),
    Mutant("real and generated images share their augmentation", DRAWS, 'stream(f"augment {kind}")', 'stream("augment")'),
    Mutant("D steps of two iterations overlap", DRAWS, "first = iteration * self.d_steps", "first = iteration"),
    Mutant("packed tensors overlap", PACKING, "        start += _room(tensor)\n    return packed", "        start += tensor.nbytes // 2\n    return packed"),
    # V_kD in the step
    Mutant("λ is ignored", VKD_TERM, "self.distill_weight * missed, latest", "missed, latest"),
    Mutant("only real images are distilled", VKD_TERM, "missed = missed + distance", 'missed = missed + distance * (kind == "real")'),
    Mutant("the fake h meets the real target", VKD_TERM, '(seen.h_fake, seen.teacher_fake)', "(seen.h_fake, seen.teacher_real)"),
    Mutant("generated images are read in every step", VKD_TERM, "if step % every else", "if every < 0 else"),
    Mutant("the ratio is upside down", VKD_TERM, "self.distill_weight * ours / theirs", "self.distill_weight * theirs / ours"),
    Mutant("the ratio leaves λ out", VKD_TERM, "self.distill_weight * ours / theirs", "ours / theirs"),
    Mutant("λ runs away from its ratio", VKD_TERM, "** FOLLOW_RATE)", "** -FOLLOW_RATE)"),
    Mutant("λ moves though it is fixed", VKD_TERM, "if self.settings.ratio is not None:", "if True:"),
    Mutant("the control is no control", VKD_TERM, "features.roll(1, dims=0)", "features.roll(0, dims=0)"),
    Mutant("the control is always on", VKD_TERM, "if self.settings.shuffled else features", "if True else features"),
    Mutant("the fit forgets the square", VKD_TERM, "torch.cat(parts).square().sum()", "torch.cat(parts).abs().sum()"),
    # The loss
    Mutant("h is not centred", VKD_LOSS, "h = h - (global_mean(h) if self.across_processes else h.mean(dim=0))", "h = h + 0"),
    Mutant("the loss is divided by dt", VKD_LOSS, "min(student_dim, target_dim)", "target_dim"),
    Mutant("the loss is not averaged over the batch", VKD_LOSS, "(self.scale * len(targets))", "self.scale"),
    Mutant("targets are not normalised", VKD_LOSS, "targets = self.normalise(features)", "targets = features"),
    # Normalisation
    Mutant("whitening does not centre", NORMALISE, "z = z - z.mean(dim=0)", "z = z + 0"),
    Mutant("whitening on the wrong side", NORMALISE, "if batch <= dim else", "if batch > dim else"),
    Mutant("whitened targets have another scale", NORMALISE, "whitened * mean_square.rsqrt()", "whitened"),
    Mutant("weak directions are kept", NORMALISE, "kept = values > CUT * mean", "kept = values > -1"),
    Mutant("Newton-Schulz without its scaling", NORMALISE, "alpha=-(scale**3) / 2", "alpha=-scale / 2"),
    Mutant("a GPU's whitening forgets the ridge", NORMALISE, "ridge = max(self.ridge, LEAST_RIDGE)", "ridge = LEAST_RIDGE"),
    Mutant("the trailing directions in place of the leading ones", NORMALISE, "slice(len(values) - rank, None)", "slice(0, rank)"),
    Mutant("whiten-dataset forgets the mean", NORMALISE, "(features.to(self.mean.dtype) - self.mean)", "features.to(self.mean.dtype)"),
    # The projection
    Mutant("P's gradient is not made tangent", PROJECTION, "return None, _tangent(*ctx.saved_tensors, gradient)", "return None, gradient"),
    Mutant("the tangent part has the wrong sign", PROJECTION, "direction - frame @", "direction + frame @"),
    Mutant("exp of a symmetric matrix", ("gan_vkd/distill/projections.py", ["tests/distill/test_projections.py", "-k", "paper_s"]), "matrix_exp(upper - upper.T)", "matrix_exp(upper + upper.T)"),
    Mutant("svd takes the weakest directions", PROJECTION, "values[kept].flip(0), vectors[:, kept].flip(1)", "values[kept], vectors[:, kept]"),
    # Augmentation
    Mutant("shifts by up to a quarter", AUGMENT, "reach = size // 8", "reach = size // 4"),
    Mutant("no shift to the right or down by the most", AUGMENT, "torch.randint(-reach, reach + 1,", "torch.randint(-reach, reach,"),
    Mutant("the hole is a quarter of the side", AUGMENT, "position < start + side // 2", "position < start + side // 4"),
    Mutant("the hole is filled with white", AUGMENT, "torch.where(hole, 0.0, images)", "torch.where(hole, 1.0, images)"),
    Mutant("the hole's centre stays off the border", AUGMENT, "torch.randint(0, size + 1 - odd,", "torch.randint(1, size - odd,"),
    Mutant("brightness by one", AUGMENT, "images + brightness - 0.5", "images + 2 * brightness - 1"),
    Mutant("saturation only fades", AUGMENT, "(2 * saturation)", "saturation"),
    Mutant("contrast by image in place of pixel", AUGMENT, "(contrast + 0.5) + mean", "(contrast + 0.5)"),
    Mutant("rows and columns of a shift swapped", BATCHES, "zip(images.shape[-2:], offsets.unbind(1), strict=True)", "zip(images.shape[-2:], offsets.flip(1).unbind(1), strict=True)"),
    Mutant("shifts go the other way", BATCHES, "position[None, None, :] + offset", "position[None, None, :] - offset"),
    Mutant("mirrored upside down", BATCHES, "images.flip(-1), images)", "images.flip(-2), images)"),
    Mutant("every epoch has the same order", BATCHES, 'generator(seed, "order", epoch)', 'generator(seed, "order")'),
    # The average
    Mutant("the average takes the live weights' share", AVERAGE, "list(model.parameters()), 1 - decay", "list(model.parameters()), decay"),
    Mutant("the average trains", AVERAGE, ".requires_grad_(False)", ".requires_grad_(True)"),
    # The networks
    Mutant("spectral norm stands still", LAYERS, "if self.training:\n                    self.u.copy_(u)", "if False:\n                    self.u.copy_(u)"),
    Mutant("spectral norm by the Frobenius norm", LAYERS, "u, sigma = _unit(matrix.mv(v))", "u, sigma = _unit(matrix.mv(v))[0], matrix.norm()"),
    Mutant("the gradient forgets that the norm moves", LAYERS_REFERENCE, "(gradient - across) / sigma", "gradient / sigma"),
    Mutant("the class's gain is ignored", LAYERS, "gain = 1 + self.gain(labels)", "gain = 1 + 0 * self.gain(labels)"),
    # Several processes
    Mutant("gradients stay each process's own", ALIKE, "processes.average_(self._gradients())", "pass"),
    Mutant("gradients are not scaled for the mean", SHARE, "return processes.size() * own.flatten(0, 1), None", "return own.flatten(0, 1), None"),
    Mutant("the gradient of another's share", SHARE, "[:, ctx.share.own]", "[:, : ctx.share.own.stop - ctx.share.own.start]"),
    Mutant("every process draws the first images", SHARE, "numbers[:, self.own]", "numbers[:, : self.own.stop - self.own.start]"),
    Mutant("batch norm over a process's own images", SHARE, "norm.shared = len(self.sizes) > 1", "norm.shared = False"),
    Mutant("the teacher's features of generated images are one's own", SHARE, "lambda images: self.together(see(images))", "lambda images: torch.cat([see(images)] * processes.size())[: sum(self.sizes)]"),
    Mutant("spread over a process's own images", SHARED_TASK, "self.share.together(images).std(dim=0)", "images.std(dim=0)"),
    Mutant("batch norm's gradient without the others", BATCH_NORM, "processes.summed(sums)", "sums"),
    Mutant("batch norm counts processes alike", BATCH_NORM, "(counts * means).sum(0) / count", "means.mean(0)"),
    Mutant("batch norm forgets how far the means differ", BATCH_NORM, "(squared + counts * (means - mean).square())", "squared"),
    Mutant("running variance without Bessel's correction", BATCH_NORM, "squares / (count - 1)", "squares / count"),
    Mutant("the mean over processes is a sum", PROCESSES, "flat.div_(size())", "flat"),
    Mutant("an error stays with its process", PROCESSES, "    if not last:\n        return", "    if raised is None:\n        return"),
    Mutant("all say the same error", PROCESSES, "raised if teller == rank() else", "raised if raised is not None else"),
    Mutant("a state that differs passes", PROCESSES, "if ours != first:", "if False:"),
    Mutant("a hash of names alone", PROCESSES, "        found.update(tensor.contiguous()", "        (tensor.contiguous()"),
    Mutant("each process goes by its own clock and signals", LOOP, "number, late = processes.greatest(interruption.signal, time.monotonic() >= deadline)", "number, late = interruption.signal, time.monotonic() >= deadline"),
    Mutant("processes are not compared", LOOP, "processes.require_same(what, processes.digest, state)", "pass"),
    Mutant("all processes take the first GPU", ("gan_vkd/device.py", ["tests/test_device.py"]), 'torch.device("cuda", own)', 'torch.device("cuda", 0)'),
    Mutant("every process checks its numbers alone", LOOP, "processes.on_first(book.check, done, terms)", "pass"),
    # The export
    Mutant("spectral norm is not folded", EXPORT, "raw / sigma", "raw"),
    Mutant("batch-norm statistics of one batch", EXPORT, "norm.momentum = None", "norm.momentum = 1.0"),
    Mutant("statistics without the classes' proportions", EXPORT, "weights = class_counts.cpu().double()", "weights = (torch.arange(len(class_counts)) == 0).double()"),
    Mutant("statistics are not estimated anew", EXPORT, "    estimate_statistics(network, class_counts)\n", ""),
    Mutant("samples depend on their place in the batch", ("gan_vkd/gan/latents.py", EXPORT[1]), 'generator(seed, "latent", int(index))', 'generator(seed, "latent", int(index) % 2)'),
]  # fmt: skip


def copy_project(place: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".venv", ".git", "runs", "samples", "docs")
    shutil.copytree(ROOT, place, ignore=ignored)


def run_tests(project: Path, arguments: list[str]) -> int:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True)
    return done.returncode


def killed(mutant: Mutant) -> bool:
    """Whether a test fails on a copy with the fault in it."""
    file, arguments = mutant.part
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copy_project(project)
        source = (project / file).read_text()
        (project / file).write_text(source.replace(mutant.right, mutant.wrong))
        code = run_tests(project, arguments)
    if code not in (PASSED, FAILED):
        sys.exit(f"{mutant.name}: pytest {' '.join(arguments)} gave no answer (exit code {code})")
    return code == FAILED


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if all(name in m.name for name in options.names)]
    for mutant in chosen:
        count = (ROOT / mutant.part[0]).read_text().count(mutant.right)
        if count != 1:
            sys.exit(f"{mutant.name}: {mutant.part[0]} has its text {count} times, not once")
    parts = {tuple(mutant.part[1]) for mutant in chosen}
    with ThreadPoolExecutor(options.jobs) as pool:
        # The tests must pass without a fault, or their failing says nothing.
        for part, code in zip(
            parts, pool.map(lambda p: run_tests(ROOT, list(p)), parts), strict=True
        ):
            if code != PASSED:
                sys.exit(f"pytest {' '.join(part)} fails without any fault (exit code {code})")
        survivors = []
        for mutant, dead in zip(chosen, pool.map(killed, chosen), strict=True):
            print(f"{'killed  ' if dead else 'SURVIVED'}  {mutant.name}", flush=True)
            survivors += [] if dead else [mutant.name]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
