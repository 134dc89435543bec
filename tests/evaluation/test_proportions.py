"""Which classes are drawn, after training on classes as they are and on balanced ones."""

import json

import torch

from gan_vkd import load_generator
from gan_vkd.data.images import ImageSet
from gan_vkd.evaluation.proportions import evaluation_labels
from gan_vkd.gan.exported import ExportedGenerator, estimate_statistics, export_generator
from gan_vkd.gan.networks.biggan import Generator

COUNTS = torch.tensor([90, 10])


def made(balance: str) -> ExportedGenerator:
    network = Generator(num_classes=2, image_size=16, channels=4, z_dim=4)
    return ExportedGenerator(network.eval(), ("a", "b"), COUNTS, {"balance": balance})


def reference(names: tuple[str, ...], counts: list[int]) -> ImageSet:
    labels = torch.arange(len(names)).repeat_interleave(torch.tensor(counts))
    return ImageSet(torch.zeros(len(labels), 3, 16, 16, dtype=torch.uint8), labels, names)


def test_samples_follow_the_proportions_of_training():
    assert made("none").labels(40).bincount().tolist() == [36, 4]
    assert made("classes").labels(40).bincount().tolist() == [20, 20]
    old = ExportedGenerator(made("none").network, ("a", "b"), COUNTS, {})
    assert old.labels(40).bincount().tolist() == [36, 4]


def test_evaluation_draws_a_balanced_generator_in_the_references_proportions():
    others = reference(("b", "a"), [30, 10])
    labels, words = evaluation_labels(made("classes"), others, 40, 0)
    assert (labels.bincount().tolist(), words) == ([10, 30], "the reference's")
    labels, words = evaluation_labels(made("none"), others, 40, 0)
    assert (labels.bincount().tolist(), words) == ([36, 4], "the training data's")
    labels, words = evaluation_labels(made("classes"), reference(("c",), [9]), 40, 0)
    assert (labels.bincount().tolist(), words) == ([20, 20], "equal")


def test_statistics_are_estimated_on_the_classes_of_training():
    network = Generator(num_classes=2, image_size=16, channels=4, z_dim=4)
    with torch.no_grad():
        for norm in network.blocks:  # classes differ
            norm.norm1.bias.weight[1] += 1
    found = export_generator(network, ("a", "b"), COUNTS, {"balance": "classes"})
    equal = export_generator(network, ("a", "b"), torch.tensor([1, 1]), {"balance": "none"})
    skewed = export_generator(network, ("a", "b"), COUNTS, {"balance": "none"})
    means = [made.network.norm.running_mean for made in (found, equal, skewed)]
    assert torch.equal(means[0], means[1])
    assert not torch.allclose(means[0], means[2], rtol=1e-3)
    assert estimate_statistics  # the function that export_generator calls


def test_a_run_with_balanced_classes(gan_vkd, make_folder, tmp_path):
    images = make_folder({"train/a": 40, "train/b": 8, "test/a": 10, "test/b": 10})
    run = tmp_path / "run"
    flags = ["--preset", "tiny", "--teacher", "none", "--run-dir", run]
    flags += ["--set", "training.batch_size=8", "--set", "training.checkpoint_every=2"]
    flags += ["--set", "data.balance=classes"]
    whole = gan_vkd("train", "--dataset", images, *flags, "--iterations", 4)
    assert whole.exit_code == 0, whole.output
    assert "every class is drawn equally often" in whole.stderr
    straight = load_generator(run)
    assert straight.labels(20).bincount().tolist() == [10, 10]
    flags[flags.index(run)] = parts = tmp_path / "parts"
    gan_vkd("train", "--dataset", images, *flags, "--iterations", 2, "--quiet")
    resumed = gan_vkd("train", "--resume", "--run-dir", parts, "--iterations", 4, "--quiet")
    assert resumed.exit_code == 0, resumed.output
    for one, other in zip(
        straight.network.state_dict().values(),
        load_generator(parts).network.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(one, other)
    flags = ["--num", 24, "--nearest-k", 2, "--json", "-", "--quiet"]
    for split, counts in (("train", [20, 4]), ("test", [12, 12])):
        result = gan_vkd("eval", run, "--reference", split, *flags)
        assert result.exit_code == 0, result.output
        written = json.loads(result.stdout)
        assert written["protocol"]["class_proportions"] == "the reference's"
        assert [each["judged"] for each in written["classes"]] == counts
