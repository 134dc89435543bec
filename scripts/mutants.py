"""Put one-line faults into the step of training, one at a time, and see whether a test notices.

Usage: python scripts/mutants.py [--jobs 2] [NAME ...]

Each fault goes into a copy of the project; the fast tests of that part run on it. A fault that
passes them has survived: exit code 1. NAMEs choose the faults whose name has one of them in it.
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
SHARED = ROOT.parent / "shared"
PASSED, FAILED = 0, 1  # pytest's exit codes; any other is no answer

STEPS = ("gan_vkd/gan/steps.py", ["tests/gan/test_steps.py"])
REFERENCE = ["tests/gan/test_reference_step.py", "-k", "none-none or whiten-48 or svd"]
TASK = ("gan_vkd/gan/task.py", ["tests/gan/test_task.py", "-k", "not what_a_run_leaves"])
PROBES = ("gan_vkd/gan/probes.py", TASK[1])
DRAWS = ("gan_vkd/gan/draws.py", ["tests/gan/test_draws.py"])
HINGE = ("gan_vkd/gan/losses/hinge.py", ["tests/gan/losses/test_hinge.py"])
CONSISTENCY = ["tests/gan/terms/test_consistency.py"]
STEP_TERMS = (STEPS[0], [*CONSISTENCY, "tests/gan/terms/test_gradient_penalties.py"])
CR = ("gan_vkd/gan/terms/cr.py", CONSISTENCY)
BCR = ("gan_vkd/gan/terms/bcr.py", CONSISTENCY)
MODE_SEEKING = ("gan_vkd/gan/terms/mode_seeking.py", CONSISTENCY)
ZCR = ("gan_vkd/gan/terms/zcr.py", CONSISTENCY)
CHAIN = ("gan_vkd/gan/networks/chain.py", ["tests/gan/terms/test_chain.py"])
CHAIN_TERM = ("gan_vkd/gan/terms/chain.py", CHAIN[1])
SCHEDULE = ("gan_vkd/config/schedule.py", ["tests/config/test_schedule.py"])
SAN = ("gan_vkd/gan/networks/biggan.py", ["tests/gan/terms/test_san.py"])
RELATIVISTIC = ("gan_vkd/gan/losses/relativistic.py", ["tests/gan/losses"])
PENALTIES = ["tests/gan/terms/test_gradient_penalties.py"]
DIGGAN = ("gan_vkd/gan/terms/diggan.py", ["tests/gan/terms/test_diggan.py"])
AUGSELF = ("gan_vkd/gan/terms/augself.py", ["tests/gan/terms/test_augself.py"])
ADA = ("gan_vkd/gan/augment/ada.py", ["tests/gan/augment/test_ada.py"])
WARP = ("gan_vkd/gan/augment/warp.py", ADA[1])
CONTROLLER = ("gan_vkd/gan/augment/controller.py", ["tests/gan/augment/test_controller.py"])
APA = ("gan_vkd/gan/terms/apa.py", ["tests/gan/terms/test_adaptive.py"])
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
LATENTS = ("gan_vkd/gan/latents.py", EXPORT[1])
SEARCH = ("gan_vkd/evaluation/search.py", ["tests/evaluation/test_search.py"])
LEAKS = ("gan_vkd/evaluation/leaks.py", ["tests/evaluation/test_leaks.py"])
TONES = ("gan_vkd/evaluation/tones.py", LEAKS[1])
LEAK_FINDINGS = ("gan_vkd/evaluation/findings.py", LEAKS[1])
PLAYERS = ("gan_vkd/engine/players.py", ["tests/engine/test_players.py"])
PACKING = ("gan_vkd/engine/draws.py", DRAWS[1])
SHARE = ("gan_vkd/gan/share.py", ["tests/gan/test_share.py", "-k", "steps_of_one"])
CLASSIFIER_SHARE = (
    "gan_vkd/classification/share.py",
    ["tests/classification/test_classification_share.py", "-k", "steps_of_one or apart"],
)
SHARED_STEP = ("gan_vkd/classification/task.py", CLASSIFIER_SHARE[1])
ANY_SHARE = ("gan_vkd/engine/share.py", SHARE[1])
ALIKE = (PLAYERS[0], SHARE[1])
SHARED_TASK = (TASK[0], SHARE[1])
BATCH_NORM = (
    "gan_vkd/engine/batch_norm.py",
    ["tests/test_processes.py", "-k", "three_processes"],
)
PROCESSES = ("gan_vkd/processes.py", ["tests/test_processes.py"])
LOOP = ("gan_vkd/engine/loop.py", PROCESSES[1])
LAYERS = ("gan_vkd/gan/networks/layers.py", ["tests/gan/networks"])
PROJECTED = ("gan_vkd/gan/networks/projected.py", ["tests/gan/networks/test_projected.py"])
PYRAMID = ("gan_vkd/distill/pyramid.py", ["tests/distill/test_pyramid.py"])
FROZEN = ("gan_vkd/distill/frozen.py", ["tests/distill/test_frozen.py"])
VISION_AIDED = ("gan_vkd/gan/terms/vision_aided.py", ["tests/gan/terms/test_vision_aided.py"])
KD_DLGAN = ("gan_vkd/gan/terms/kd_dlgan.py", ["tests/gan/terms/test_kd_dlgan.py"])
PROMPTS = ("gan_vkd/distill/prompts.py", ["tests/distill/test_prompts.py"])
METHODS = "gan_vkd/distill/methods"
LOGITS = ["tests/distill/methods/test_logit_methods.py"]
MAPS = ["tests/distill/methods/test_map_methods.py"]
VECTORS = ["tests/distill/methods/test_vector_methods.py"]
CONTRASTIVE = ["tests/distill/methods/test_contrastive.py"]
KD, DKD = (f"{METHODS}/kd.py", LOGITS), (f"{METHODS}/dkd.py", LOGITS)
FITNET, ATTENTION = (f"{METHODS}/fitnet.py", MAPS), (f"{METHODS}/attention.py", MAPS)
NST, SIMILARITY = (f"{METHODS}/nst.py", MAPS), (f"{METHODS}/similarity.py", MAPS)
REVIEW, ICKD, VID = ((f"{METHODS}/{name}.py", MAPS) for name in ("reviewkd", "ickd", "vid"))
CC, PKT, SRD = ((f"{METHODS}/{name}.py", VECTORS) for name in ("correlation", "pkt", "srd"))
RKD, UNIFORM = (f"{METHODS}/rkd.py", VECTORS), (f"{METHODS}/draws.py", VECTORS)
FEATURES = (f"{METHODS}/vkd_features.py", VECTORS)
CRD, WCORD = (f"{METHODS}/crd.py", CONTRASTIVE), (f"{METHODS}/wcord.py", CONTRASTIVE)
STUDENT = ("gan_vkd/classification/task.py", ["tests/classification/test_classification_task.py"])
STUDENT_DRAWS = ("gan_vkd/classification/draws.py", STUDENT[1])
METHOD = ("gan_vkd/distill/methods/method.py", STUDENT[1])
CLASSIFY = ["tests/training/test_classify.py"]
TRAINED = (STUDENT[0], CLASSIFY)
FIGURES = ("gan_vkd/engine/book.py", CLASSIFY)
READ = ("gan_vkd/distill/classifiers.py", CLASSIFY)
TIMM = ("gan_vkd/distill/networks/timm_classifier.py", ["tests/distill/test_classifiers.py"])
OVERLAYS = ("gan_vkd/config/layers.py", ["tests/config/test_describe.py"])
RECIPE = ("gan_vkd/config/core.py", OVERLAYS[1])
RATES = ("gan_vkd/classification/optimiser.py", STUDENT[1])
CROPS = ("gan_vkd/classification/augment.py", ["tests/classification/test_augment.py"])
COUNTED = ("gan_vkd/classification/accuracy.py", STUDENT[1])
RESTORED = ["tests/study/test_restore.py", "tests/study/test_students.py", "-m", "not slow"]
RESTORE = ("gan_vkd/study/restore.py", RESTORED)
WORKPLACE = ("gan_vkd/study/students.py", RESTORED)
PHOTOGRAPHS = ("gan_vkd/study/photographs.py", ["tests/study/test_photographs.py"])


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
    Mutant("hinge gets the logits swapped", STEPS, "discriminator(real_look.logits, fake_look.logits)", "discriminator(fake_look.logits, real_look.logits)"),
    Mutant("labels of real and generated images swapped", STEPS, "torch.cat([real.labels, draws.labels])", "torch.cat([draws.labels, real.labels])"),
    Mutant("generated images are not augmented for D", STEPS, "game.augment(sources[1], draws.fake)]", "sources[1]]"),
    Mutant("real images are not augmented", STEPS, "game.augment(sources[0], draws.real)", "sources[0]"),
    Mutant("real images are augmented by the generated ones' draws", STEPS, "game.augment(sources[0], draws.real)", "game.augment(sources[0], draws.fake)"),
    Mutant("generated images are not augmented for G", STEPS, "game.discriminator(game.augment(fake, draws.fake), draws.labels)", "game.discriminator(fake, draws.labels)"),
    Mutant("D's step trains through G", STEPS, "generate = torch.no_grad()(partial(_images, game.generator))", "generate = partial(_images, game.generator)"),
    Mutant("G's step gives D gradients", STEPS, "        parameter.requires_grad_(False)", "        parameter.requires_grad_(True)"),
    Mutant("D stays frozen after G's step", STEPS, "    finally:\n        for parameter in trained:\n            parameter.requires_grad_(True)", "    finally:\n        pass"),
    Mutant("terms are left out of D's loss", STEPS, "term.discriminator(seen)\n        loss, scalars = loss + added,", "term.discriminator(seen)\n        loss, scalars = loss,"),
    Mutant("the teacher sees augmented images", STEPS, "game.teacher(fake) if", "game.teacher(shown[1]) if"),
    Mutant("h of real and generated images swapped", STEPS, "h_real=real_look.h,\n        h_fake=fake_look.h,", "h_real=fake_look.h,\n        h_fake=real_look.h,"),
    Mutant("the teacher is asked though nobody reads", STEPS, 'game.teacher(fake) if "teacher_fake" in reads else None', "game.teacher(fake)"),
    Mutant("the adversarial loss that terms see has the terms in it", STEPS, "adversarial=adversarial,", "adversarial=2 * adversarial,"),
    # The adversarial loss
    Mutant("hinge without its margin on real images", HINGE, "F.relu(1 - real)", "F.relu(-real)"),
    Mutant("hinge pushes generated images up", HINGE, "F.relu(1 + fake)", "F.relu(1 - fake)"),
    Mutant("G ascends", HINGE, "-fake.mean()", "fake.mean()"),
    # The field's terms
    Mutant("CR's second view is the first", CR, "self.second(shown, draws) if draws else bare", "shown"),
    Mutant("CR mirrors digits", CR, 'if name != "flip" or setting.flip', "if True"),
    Mutant("CR never mirrors", CR, 'if name != "flip" or setting.flip', 'if name != "flip"'),
    Mutant("bCR's views swapped", BCR, "second_real, second_fake = ", "second_fake, second_real = "),
    Mutant("bCR weighs both parts alike", BCR, "self.settings.weight_fake * fake", "self.settings.weight * fake"),
    Mutant("zCR's view is not augmented", ZCR, "View(scene.augment(images, draws.fake), draws.labels)", "View(images, draws.labels)"),
    Mutant("mode seeking draws G's images together", MODE_SEEKING, "self.settings.weight / (ratio + SMALLEST)", "self.settings.weight * (ratio + SMALLEST)"),
    Mutant("mode seeking's other images have other classes", MODE_SEEKING, "made.generate(other, made.draws.labels)", "made.generate(other, made.draws.labels.flip(0))"),
    Mutant("mode seeking forgets the latents' distance", MODE_SEEKING, "ratio = apart / by", "ratio = apart"),
    Mutant("zCR draws G's images together", ZCR, "-self.settings.weight_generator * value", "self.settings.weight_generator * value"),
    Mutant("terms are left out of G's loss", STEP_TERMS, "= contribution\n                loss, scalars = loss + added,", "= contribution\n                loss, scalars = loss,"),
    Mutant("views count in the gradients", STEP_TERMS, "real_look.logits.sum() + fake_look.logits.sum(), by", "logits.sum(), by"),
    Mutant("gradients by augmented images in place of the images", STEP_TERMS, "zip(GRADIENTS, [*sources, *shown]", "zip(GRADIENTS, [*shown, *sources]"),
    Mutant("gradients are constants", STEP_TERMS, "create_graph=True", "create_graph=False, retain_graph=True"),
    Mutant("CHAIN's gradient forgets the batch", CHAIN, "(gradient - times * ctx.slopes[:, None, :, None, None] * y)", "gradient"),
    Mutant("CHAIN's maps are not held to the least scale", CHAIN, "return y * least", "return y"),
    Mutant("CHAIN has one statistic for D's and G's steps", CHAIN, "self.slopes[:2] if kinds == 2 else self.slopes[2:]", "self.slopes[:2] if kinds == 2 else self.slopes[1:2]"),
    Mutant("CHAIN's means of real and generated images together", CHAIN_TERM, "unflatten(0, (2, -1)).mean(1)", "unflatten(0, (1, -1)).mean(1)"),
    Mutant("CHAIN's p goes the wrong way", CHAIN_TERM, "(self.sign - own.target).sign()", "(own.target - self.sign).sign()"),
    Mutant("a cosine goes on after its iterations", SCHEDULE, "min(iteration / self.iterations, 1.0)", "iteration / self.iterations"),
    Mutant("a schedule begins at its end", SCHEDULE, "(1 + math.cos(math.pi * share)) / 2", "(1 - math.cos(math.pi * share)) / 2"),
    Mutant("SAN's logits train the direction", SAN, "direction.detach() * h", "direction * h"),
    Mutant("SAN's direction trains the length", SAN, "length.detach() * (direction", "length * (direction"),
    Mutant("SAN pulls the direction the wrong way", ("gan_vkd/gan/terms/san.py", SAN[1]), "fake.mean() - real.mean()", "real.mean() - fake.mean()"),
    Mutant("SAN's direction trains h", ("gan_vkd/gan/terms/san.py", SAN[1]), "seen.h[:count].detach()", "seen.h[:count]"),
    Mutant("D's relativistic loss is G's", RELATIVISTIC, "F.softplus(fake - real)", "F.softplus(real - fake)"),
    Mutant("R1 without its half", ("gan_vkd/gan/terms/r1.py", PENALTIES), "gamma / 2 * value,", "gamma * value,"),
    Mutant("R2 is R1", ("gan_vkd/gan/terms/r2.py", PENALTIES), 'by = "by_fake"', 'by = "by_real"'),
    Mutant("spectral norm forgets sigma in second derivatives", (LAYERS[0], PENALTIES), "if torch.is_grad_enabled():", "if False:"),
    Mutant("DigGAN in every step", DIGGAN, "step % self.d_steps == 0", "step >= 0"),
    Mutant("DigGAN forgets", DIGGAN, "self.settings.memory * self.remembers", "0 * self.remembers"),
    Mutant("DigGAN remembers what never was", DIGGAN, "self.settings.memory * self.remembers", "self.settings.memory"),
    Mutant("AugSelf tells generated images' numbers as real ones'", AUGSELF, "seen.h_fake - bare_fake, {name: -n for", "seen.h_fake - bare_fake, {name: n for"),
    Mutant("G's AugSelf is upside down", AUGSELF, "as_real - as_fake", "as_fake - as_real"),
    Mutant("ADA turns once", ADA, "(1 - p).clamp(min=0).sqrt()", "(1 - p).clamp(min=0)"),
    Mutant("ADA's shifts have fractions", ADA, "* reach).round(), 0.0)", "* reach), 0.0)"),
    Mutant("ADA's hue turns back", ADA, "hue.sin() * around", "-hue.sin() * around"),
    Mutant("ADA's brightness follows contrast", ADA, "flipped @ contrasted @ lightened", "flipped @ lightened @ contrasted"),
    Mutant("ADA's gates are open where they should be closed", ADA, "gate[name] < chance", "gate[name] >= chance"),
    Mutant("edges are not reflected", WARP, "return place if place < side else 2 * (side - 1) - place", "return min(place, side - 1)"),
    Mutant("the warp is half a pixel off", WARP, "2 * shift - 0.5", "2 * shift"),
    Mutant("the warp's gradient is no gradient", WARP, "return _Sampled.apply(gradient, grid), None, None", "return _Sampled.apply(gradient, -grid), None, None"),
    Mutant("p goes down where D overfits", CONTROLLER, "(r - own.target).sign()", "(own.target - r).sign()"),
    Mutant("p moves by steps in place of images", CONTROLLER, "own.interval * self.batch_size / own.images", "own.interval / own.images"),
    Mutant("p goes below 0", CONTROLLER, "self.p.clamp_(min=0.0)", "self.p"),
    Mutant("old signs stay", CONTROLLER, "self.signs.zero_()", "self.signs"),
    Mutant("APA keeps the real images", APA, "torch.where(replaced[:, None, None, None], pseudo, real.images)", "torch.where(replaced[:, None, None, None], real.images, pseudo)"),
    Mutant("APA's teacher looks at the real images", APA, "torch.where(of_all[:, None], scene.teacher(pseudo), teacher)", "teacher"),
    # The task
    Mutant("beta1 is .9", TASK, "BETA1 = 0.0", "BETA1 = 0.9"),
    Mutant("beta2 is .99", TASK, "value_at(self.recipe.training.beta2, iteration))", "0.99)"),
    Mutant("G at D's rate", TASK, "self._step(self.recipe.training.g_lr, iteration)", "self._step(self.recipe.training.d_lr, iteration)"),
    Mutant("D at G's rate", TASK, "self._step(self.recipe.training.d_lr, iteration)", "self._step(self.recipe.training.g_lr, iteration)"),
    Mutant("the projection is not trained", TASK, '{"discriminator": self.discriminator, "terms": self.terms}', '{"discriminator": self.discriminator}'),
    Mutant("no average", TASK, "decay_at(settings, iteration) if self._averaging(iteration) else 0.0", "0.0"),
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
    Mutant("the AUC counts ties as wins", PROBES, "0.5 * (first == second)", "1.0 * (first == second)"),
    Mutant("the AUC has its sides swapped", PROBES, 'auc(logits["train"], logits["held_out"])', 'auc(logits["held_out"], logits["train"])'),
    Mutant("the networks do not depend on the seed", TASK, 'seed_for(training.seed, "networks")', 'seed_for(0, "networks")'),
    Mutant("spread of real over generated images", TASK, "spread(fake) / spread(shown)", "spread(shown) / spread(fake)"),
    Mutant("an old export is handed out after loading", TASK, "state, self._exported = self.mark.taken(state), None", "state = self.mark.taken(state)"),
    # The players
    Mutant("gradients pile up", PLAYERS, "self.optimiser.zero_grad()", "pass"),
    Mutant("restored moments in another memory layout", PLAYERS, "torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)", "tensor.contiguous()"),
    Mutant("moments are not saved", PLAYERS, 'for name, tensor in moments.items()}', 'for name, tensor in moments.items() if name == "step"}'),
    # The draws
    Mutant("all steps share their latents", DRAWS, 'drawn["latents"][turn]', 'drawn["latents"][0]'),
    Mutant("labels are uniform over the classes", DRAWS, '"labels": self.pool[shown]', '"labels": shown % 2'),
    Mutant("balanced training generates classes as the data have them", DRAWS, "self.pool = self.labels.unique()", "self.pool = self.labels"),
    Mutant("balanced training shows images as the data have them", DRAWS, "if self.members is None:\n            return", "if True:\n            return"),
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
    Mutant("every round of classes has the same order", BATCHES, 'generator(seed, "round", number)', 'generator(seed, "round")'),
    Mutant("a class's images have the same order in every epoch", BATCHES, 'generator(seed, "order of", label, epoch)', 'generator(seed, "order of", label)'),
    Mutant("every epoch has the same order", BATCHES, 'generator(seed, "order", epoch)', 'generator(seed, "order")'),
    # The average
    Mutant("the average takes the live weights' share", AVERAGE, "list(model.parameters()), 1 - decay", "list(model.parameters()), decay"),
    Mutant("the average trains", AVERAGE, ".requires_grad_(False)", ".requires_grad_(True)"),
    # The networks
    Mutant("spectral norm stands still", LAYERS, "if self.training:\n                    self.u.copy_(u)", "if False:\n                    self.u.copy_(u)"),
    Mutant("spectral norm by the Frobenius norm", LAYERS, "u, sigma = _unit(matrix.mv(v))", "u, sigma = _unit(matrix.mv(v))[0], matrix.norm()"),
    Mutant("the gradient forgets that the norm moves", LAYERS, "(gradient - across) / sigma", "gradient / sigma"),
    Mutant("the class's gain is ignored", LAYERS, "gain = 1 + _embedded(self.gain, labels)", "gain = 1 + 0 * _embedded(self.gain, labels)"),
    # Several processes
    Mutant("gradients stay each process's own", ALIKE, "processes.average_(self._gradients())", "pass"),
    Mutant("gradients are not scaled for the mean", ANY_SHARE, "return processes.size() * own.flatten(0, 1), None", "return own.flatten(0, 1), None"),
    Mutant("the gradient of another's share", ANY_SHARE, "[:, ctx.share.own]", "[:, : ctx.share.own.stop - ctx.share.own.start]"),
    Mutant("every process draws the first images", ANY_SHARE, "numbers[:, self.own]", "numbers[:, : self.own.stop - self.own.start]"),
    Mutant("batch norm over a process's own images", SHARE, "norm.shared = len(self.sizes) > 1", "norm.shared = False"),
    Mutant("the teacher's features of generated images are one's own", SHARE, "lambda images: self.together(see(images))", "lambda images: torch.cat([see(images)] * processes.size())[: sum(self.sizes)]"),
    Mutant("a student's batch norms over a process's own images", CLASSIFIER_SHARE, "            share_batch_norms(network)", "            pass"),
    Mutant("maps are a process's own", ("gan_vkd/distill/outputs.py", CLASSIFIER_SHARE[1]), "return tuple(map(change, field)) if isinstance(field, tuple) else field", "return field"),
    Mutant("each process mixes its own images", SHARED_STEP, "images = images[self.share.own]\n", "images = self.augmentation.mix(images[self.share.own], inputs)\n"),
    Mutant("spread over a process's own images", SHARED_TASK, "(self.share.together(images) for images in (seen.fake, seen.real))", "(seen.fake, seen.real)"),
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
    Mutant("numbers are checked where the log has them alone", (LOOP[0], ["tests/engine/test_health.py"]), "processes.on_first(book.check, done, terms)", "pass"),
    # The projected discriminator
    Mutant("real and generated images share batch norm's statistics", ("gan_vkd/engine/batch_norm.py", PROJECTED[1]), "x.split(self.batch_size)", "x.split(2 * self.batch_size)"),
    Mutant("scales are mixed from the finest to the coarsest", PROJECTED, "for i in reversed(range(len(maps))):", "for i in range(len(maps)):"),
    Mutant("coarser scales are left out", PROJECTED, "self.across[i](maps[i]) + coarser", "self.across[i](maps[i])"),
    Mutant("all seeds mix alike", PROJECTED, 'seed_for(seed, "mixing")', 'seed_for(0, "mixing")'),
    Mutant("the heads are not normalised", PROJECTED, 'parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))', "layer"),
    Mutant("the class is ignored", PROJECTED, "self.of_class(self.embedding(labels))", "self.of_class(0 * self.embedding(labels))"),
    Mutant("logits are no function of h", PROJECTED, "part - mean + through_h[:, :, None]", "part"),
    Mutant("gradient penalties through batch norm", ("gan_vkd/gan/cast.py", PROJECTED[1]), 'judge = "" if discriminator.alone', 'judge = "" if True'),
    Mutant("the frozen network trains", FROZEN, "[m.eval().requires_grad_(False) for m in modules]", "[m.eval() for m in modules]"),
    Mutant("batch norm of the frozen network follows the images", PYRAMID, "        self.eval().requires_grad_(False)\n", ""),
    Mutant("other frozen parts are taken", FROZEN, "if not torch.equal(state.cpu(), self.digest):", "if False:"),
    Mutant("the frozen parts stay where they are", FROZEN, "            module._apply(convert, recurse)\n", "            pass\n"),
    # Vision-aided heads
    Mutant("vision-aided: G pleases nobody", VISION_AIDED, "value = -sum(logits.mean()", "value = sum(logits.mean()"),
    Mutant("vision-aided: no margin", VISION_AIDED, "F.relu(1 + fake).mean() for _, fake", "F.relu(fake).mean() for _, fake"),
    Mutant("vision-aided: weight ignored", VISION_AIDED, "self.settings.weight * (real + fake)", "(real + fake)"),
    Mutant("vision-aided: real images by the generated ones' draws", VISION_AIDED, 'numbers[f"{side} {name}"] for', 'numbers[f"fake {name}"] for'),
    Mutant("vision-aided: no blur", VISION_AIDED, "self.blur, padding=1", "torch.ones_like(self.blur) / 16, padding=1"),
    Mutant("vision-aided: from the start", VISION_AIDED, "iteration >= self.settings.start", "iteration >= 0"),
    Mutant("vision-aided: the class is ignored", VISION_AIDED, "(self.embedding(labels) * h).sum(dim=1)", "0 * h.sum(dim=1)"),
    # KD-DLGAN
    Mutant("kd-dlgan: real and generated features are never swapped", KD_DLGAN, 'agkd + swapped *', 'agkd + 0 * swapped *'),
    Mutant("kd-dlgan: they are always swapped", KD_DLGAN, '["q"][0] <= self.settings.probability', '["q"][0] <= 2'),
    Mutant("kd-dlgan: the released form's distances are squared", KD_DLGAN, "(ours - theirs).norm(dim=1).mean()", "(ours - theirs).square().sum(dim=1).mean()"),
    Mutant("kd-dlgan: the released form averages similarities", KD_DLGAN, "missed.square().sum()", "missed.square().mean()"),
    Mutant("kd-dlgan: similarities are not normalised", KD_DLGAN, "F.normalize(features @ self.texts.T, dim=1)", "features @ self.texts.T"),
    Mutant("kd-dlgan: AGKD's weight is CGKD's", KD_DLGAN, "self.agkd * agkd + self.cgkd * cgkd", "self.cgkd * agkd + self.cgkd * cgkd"),
    Mutant("prototypes are not centred", PROMPTS, "means - centre, 0", "means, 0"),
    # The export
    Mutant("spectral norm is not folded", EXPORT, "raw / sigma", "raw"),
    Mutant("batch-norm statistics of one batch", EXPORT, "norm.momentum = None", "norm.momentum = 1.0"),
    Mutant("statistics without the classes' proportions", EXPORT, "weights = class_counts.cpu().double()", "weights = (torch.arange(len(class_counts)) == 0).double()"),
    Mutant("statistics are not estimated anew", EXPORT, "    estimate_statistics(network, shares_of(class_counts, card))\n", ""),
    Mutant("samples depend on their place in the batch", LATENTS, 'generator(seed, "latent", int(index))', 'generator(seed, "latent", int(index) % 2)'),
    # Classification: the methods
    Mutant("KD without T squared", KD, "return temperature**2 * F.kl_div", "return F.kl_div"),
    Mutant("KL the other way", KD, "F.kl_div(ours, theirs,", "F.kl_div(theirs, ours,"),
    Mutant("DKD's rest has the target in it", DKD, "rest = scaled.masked_fill(of_target, -torch.inf)", "rest = scaled"),
    Mutant("DKD's weights swapped", DKD, "own.target_weight * target + own.other_weight * other", "own.other_weight * target + own.target_weight * other"),
    Mutant("FitNet's hint without a ReLU", FITNET, ", nn.ReLU())", ", nn.Identity())"),
    Mutant("attention by the mean", ATTENTION, "maps.square().mean(dim=1)", "maps.mean(dim=1)"),
    Mutant("NST's kernel is linear", NST, "(a @ b.mT).square().mean()", "(a @ b.mT).mean()"),
    Mutant("similarities without unit rows", SIMILARITY, "F.normalize(rows @ rows.T, dim=1)", "rows @ rows.T"),
    Mutant("ReviewKD hands nothing on", REVIEW, "x * ours + handed * theirs", "x * ours"),
    Mutant("ReviewKD compares after the ReLU", REVIEW, "deepest_last(teacher.preactivations,", "deepest_last(teacher.maps,"),
    Mutant("ReviewKD's pyramid has one weight", REVIEW, "weight /= 2", "weight /= 1"),
    Mutant("ICKD's rows are not of unit length", ICKD, "F.normalize(channels @ channels.mT, dim=2)", "channels @ channels.mT"),
    Mutant("VID forgets its logarithm", VID, "(variance.log() + squared / variance)", "(squared / variance)"),
    Mutant("VID's first variance", VID, "VARIANCE = 5.0", "VARIANCE = 1.0"),
    Mutant("CC of one image with itself", CC, "difference[:-1] * difference[1:]", "difference[:-1] * difference[:-1]"),
    Mutant("PKT from the student's side", PKT, "return (p_t * ", "return (p_s * "),
    Mutant("SRD by squares", SRD, "difference.pow(4)", "difference.pow(2)"),
    Mutant("RKD's weights of the paper", RKD, "Field(25.0", "Field(1.0"),
    Mutant("V_kD is not averaged over entries", FEATURES, " / self.entries", ""),
    Mutant("V_kD's positions are the pooled features", FEATURES, 'if self.settings.features == "pooled":', "if True:"),
    Mutant("whiten-dataset without statistics", FEATURES, "normalise.load_state_dict(fitted.state_dict())", "pass"),
    Mutant("draws do not depend on the key", UNIFORM, "bits = key + torch", "bits = 0 * key + torch"),
    Mutant("neighbouring draws are alike", UNIFORM, "bits = (bits ^ (bits >> 33 & 0x7FFFFFFF)) * _FIRST\n", "bits = bits * 3\n"),
    Mutant("negatives of the same class", CRD, "self.order) - own)", "self.order) - 0 * own)"),
    Mutant("CRD's constant moves", CRD, "torch.where(mean == 0, similarities.exp().mean(), mean)", "similarities.exp().mean()"),
    Mutant("CRD without its constant", CRD, "- math.log(self.negatives) - mean.log()", "- math.log(self.negatives)"),
    Mutant("CRD's memory stands still", CRD, "memory[indices] = F.normalize(mixed, dim=1)", "pass"),
    Mutant("CRD compares a side with itself", CRD, "self._critic(ours, self.teacher_memory[rows],", "self._critic(ours, self.student_memory[rows],"),
    Mutant("WCoRD pushes its own apart", WCORD, "return apart - (memory", "return apart + (memory"),
    Mutant("Sinkhorn normalises rows alone", WCORD, "        log_plan = log_plan.log_softmax(dim=0)\n", ""),
    # Classification: the task
    Mutant("cross-entropy has another weight", STUDENT, "settings.ce_weight * parts", "parts"),
    Mutant("the method has another weight", STUDENT, "settings.weight * ramp * parts", "ramp * parts"),
    Mutant("the ramp is left out", STUDENT_DRAWS, "min(1.0, epoch / warmup) if warmup else 1.0", "1.0"),
    Mutant("the KL divergence is left out", STUDENT, "loss = loss + settings.kd_weight * parts[\"kl_divergence\"]", "pass"),
    Mutant("what the method brings is not trained", STUDENT, '{"student": student, "method": self.method}', '{"student": student}'),
    Mutant("shares of mixed labels swapped", STUDENT, "torch.lerp(other, own,", "torch.lerp(own, other,"),
    Mutant("drop path draws on", STUDENT, 'torch.manual_seed(seed_for(self.recipe.training.seed, "network", iteration) + own)', "pass"),
    Mutant("drop path draws alike for all shares", SHARED_STEP, '"network", iteration) + own)', '"network", iteration))'),
    Mutant("classes are not balanced", STUDENT_DRAWS, 'recipe.data.balance == "classes"', "False"),
    Mutant("drop path is not noticed", STUDENT_DRAWS, 'getattr(module, "drop_prob", 0)', "0"),
    Mutant("the second head learns nothing", STUDENT, "else found.of_both_heads()", "else found"),
    Mutant("another teacher goes on", FROZEN, "torch.equal(digest, self.digest)", "True"),
    Mutant("a student's checkpoint has no mark of its teacher", STUDENT, "self.mark.put(state)", "state"),
    Mutant("a GAN's checkpoint has no mark of its teacher", TASK, "self.mark.put({name: tensor.detach().cpu() for name, tensor in state.items()})", "{name: tensor.detach().cpu() for name, tensor in state.items()}"),
    Mutant("a term is taken for an unknown policy", RECIPE, "if name in TERMS:", "if False:"),
    Mutant("stages are compared with one map", METHOD, "for side in (\"student\", \"teacher\") if self.by_stages else ():", "for side in ():"),
    Mutant("the last epoch is not measured", TRAINED, "eval_last=True", "eval_last=False"),
    Mutant("the best epoch has no finite figures", FIGURES, "self.health.check_finite(iteration, defined)", "pass"),
    Mutant("a teacher of no numbers", READ, "tensor.isfinite().all()", "True"),
    Mutant("the first stage is taken for the stem", TIMM, 'info[0]["reduction"] > 2', "False"),
    Mutant("terms are added at --resume", OVERLAYS, "both = {**fields, **new[group]}", "both = fields"),
    Mutant("ada without its term", RECIPE, 'terms.get("adaptive") is False', "False"),
    Mutant("lists of --with are cut", OVERLAYS, ",(?![^,]*=)|", ""),
    Mutant("momentum .5", RATES, "MOMENTUM = 0.9", "MOMENTUM = 0.5"),
    Mutant("the rate stays", RATES, 'group["lr"].copy_(rate)', "pass"),
    Mutant("the rate falls an epoch late", RATES, "epoch >= milestone", "epoch > milestone"),
    Mutant("gains and biases decay", RATES, '"weight_decay": 0.0}', '"weight_decay": settings.weight_decay}'),
    Mutant("accuracy in training mode", COUNTED, "    classifier.eval()\n", ""),
    Mutant("what a crop lets in is grey", CROPS, 'shift(images + 1, drawn["offsets"]) - 1', 'shift(images, drawn["offsets"])'),
    Mutant("crops are mirrored boxes", CROPS, "(high + low - 1).flip(1)  #", "(high + low - 1)  #"),
    Mutant("CutMix tells the share it pasted", CROPS, "kept = 1 - (high - low).prod()", "kept = (high - low).prod()"),
    Mutant("mixup's shares are uniform", CROPS, "_gamma(alpha, generator), _gamma(alpha, generator)", "_gamma(1.0, generator), _gamma(1.0, generator)"),
    Mutant("the limit is a point too near", SEARCH, "near.kthvalue(count, dim=1)", "near.kthvalue(max(1, count - 1), dim=1)"),
    Mutant("a group's least bound is its greatest", SEARCH, "least = groups.amin(dim=1)", "least = groups.amax(dim=1)"),
    Mutant("known points are found twice", SEARCH, "bounds.scatter_(1, first, torch.inf)", "bounds"),
    Mutant("points without distances are the nearest", SEARCH, "value=torch.inf)", "value=0.0)"),
    Mutant("a hole's sides need not meet", LEAKS, "flat[:, rows, columns] & vertical[..., columns] & horizontal[:, rows]", "flat[:, rows, columns] & vertical[..., columns]"),
    Mutant("a hole's edge is looked for a row too far", LEAKS, "below = down[:, :last], down[:, side - 1 :]", "below = down[:, :last], down[:, side - 1 :].roll(1, 1)"),
    Mutant("a patch may be flat in one channel", LEAKS, "flat = (spread <= FLAT).all(dim=1)", "flat = (spread <= FLAT).any(dim=1)"),
    Mutant("borders on two sides alone", LEAKS, "x.transpose(-1, -2), x.transpose(-1, -2).flip(-2)", "x, x.flip(-2)"),
    Mutant("a border may be half of the image", LEAKS, "range(1, x.shape[-1] // 4 + 1)", "range(1, x.shape[-1] // 2 + 1)"),
    Mutant("an edge in every channel", LEAKS, "> EDGE).any(dim=1)", "> EDGE).all(dim=1)"),
    Mutant("colours are learned from half of the changes", TONES, "np.repeat([0, 1], len(rows[0]))", "np.resize([0, 1], 2 * len(rows[0]))"),
    Mutant("a judged image's limit is its own side's", TONES, 'both = np.concatenate([scores["judged"], scores["real"]])', 'both = scores["real"]'),
    Mutant("a leak is said without the share that real images have", LEAK_FINDINGS, "if _share_of(found[name], count, 1.0) >= LEAST_LEAK", 'if found[name]["judged"] / count["judged"] >= LEAST_LEAK'),
    # Studies
    Mutant("a page loses results in silence", RESTORE, "    if gone:\n", "    if False:\n"),
    Mutant("a judgement may be lost", RESTORE, "*found.get(\"judged_on\", ()), ", ""),
    Mutant("what is there is restored over", RESTORE, "        if not file.is_file()\n", ""),
    Mutant("another machine's judgement of a generator of its own", RESTORE, "if note is None or _has_other(work, unit, number, note):", "if note is None:"),
    Mutant("a generator of its own counts by its notes alone", RESTORE, "return work.generator(unit, number).is_file()", "return False"),
    Mutant("a student of its own gets the page's result", RESTORE, "if run is None or _has(work, unit):", "if run is None:"),
    Mutant("other settings are restored", RESTORE, "if group := other_settings(note[\"settings\"], work.recipe(unit, number)):", "if group := None:"),
    Mutant("other settings of students are restored", RESTORE, "if run[\"settings\"] != settings_of(work.recipe(unit)):", "if False:"),
    Mutant("another count of samples is restored", RESTORE, "page[\"num\"] != study.num or ", ""),
    Mutant("another share of the data is restored", RESTORE, " or not study.datasets.items() <= page[\"datasets\"].items()", ""),
    Mutant("held-out figures are not restored", RESTORE, '{"metrics": metrics} if metrics and unit.arm == work.study.baseline else None', "None"),
    Mutant("a teacher without its network is called trained", WORKPLACE, "self.result(student).is_file()\n            for", "True\n            for"),
    Mutant("a teacher is trained for nobody", WORKPLACE, "return there and all(", "return False and all("),
    Mutant("photographs need the baseline", PHOTOGRAPHS, "next(iter(study.arms))", "study.baseline"),
]  # fmt: skip


def copy_project(place: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".venv", ".git", "runs", "samples")
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
        if SHARED.is_dir():  # without its photographs their tests are skipped, and notice nothing
            (Path(folder) / SHARED.name).symlink_to(SHARED)
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
    names = options.names or [""]
    chosen = [m for m in MUTANTS if any(name in m.name for name in names)]
    if not chosen:
        parser.error(f"no fault's name has {' or '.join(names)} in it")
    for mutant in MUTANTS:
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
