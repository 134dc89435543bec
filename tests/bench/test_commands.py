"""The commands print whole tables; what they time is not tested."""

import pytest
import torch

from gan_vkd.bench import overhead
from gan_vkd.bench.operations import multiplications_of, operations_of


def rows(output: str) -> list[list[str]]:
    lines = [line for line in output.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_projection(gan_vkd):
    result = gan_vkd(
        "bench", "projection", "--size", "8x16", "--size", "16x8", "--rounds", 2, "--quiet"
    )
    assert result.exit_code == 0
    table = {(row[0], row[1]): row for row in rows(result.stdout)}
    for size in ("8 → 16", "16 → 8"):
        assert table[size, "linear"][3:6] == ["1", "1.00", "-"]
        for name in ("orthogonal", "orthogonal-exp", "svd", "torch householder", "torch cayley"):
            assert float(table[size, name][5]) <= 1e-5
            assert float(table[size, name][3]) > 0


def test_whitening(gan_vkd):
    result = gan_vkd("bench", "whitening", "--size", "10x16", "--rounds", 2, "--quiet")
    assert result.exit_code == 0
    table = {row[1]: row for row in rows(result.stdout)}
    for name in ("whiten", "by svd", "whiten-dataset"):
        assert float(table[name][5]) == pytest.approx(1, abs=0.01)
    assert float(table["layernorm"][5]) > 1.5


@pytest.mark.slow
def test_overhead(gan_vkd, monkeypatch):
    monkeypatch.setattr(overhead, "IMAGENET", 1_000)
    monkeypatch.setattr(overhead, "STUDENT", "deit_tiny_patch16_224")
    result = gan_vkd("bench", "overhead", "--batch", 2, "--rounds", 1, "--quiet", "--device", "cpu")
    assert result.exit_code == 0
    table = {row[0]: row for row in rows(result.stdout)}
    for name in ("linear", "orthogonal", "RKD", "VID", "ICKD", "CRD"):
        assert float(table[name][4]) > 0.5
    assert float(table["orthogonal"][4]) < 1.1
    for name in ("DeiT-S above", "GAN iteration, preset lab"):
        alone, step, share = table[name][1:]
        expected = float(alone) / float(step)
        assert float(share.removesuffix("%")) / 100 == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("size", ["8", "axb", "1x8", "8x16x3"])
def test_a_pair_of_sizes(refused, size):
    assert "write 512x2048" in refused("bench", "projection", "--size", size)


@pytest.mark.slow
def test_metrics(gan_vkd):
    result = gan_vkd("bench", "metrics", "--count", 60, "--dim", 16, "--quiet", "--device", "cpu")
    assert result.exit_code == 0
    table = {row[0]: row for row in rows(result.stdout)}
    for name in ("PRDC 60 prdc", "Fréchet d = 16 scipy"):
        assert float(table[name][2]) > 0


def test_train(gan_vkd, tmp_path):
    trace = tmp_path / "trace.json"
    arguments = ("--preset", "tiny", "--set", "training.d_steps=2", "--set", "gan.channels=4")
    result = gan_vkd(
        *("bench", "train", *arguments, "--batch", 4, "--batch", 8, "--rounds", 1),
        *("--with", "lecam", "--with", "chain", "--profile", trace, "--quiet", "--device", "cpu"),
    )
    assert result.exit_code == 0, result.output
    whole = {(row[0], row[1]): row for row in rows(result.stdout) if len(row) == 11}
    for batch in ("4", "8"):
        plain, taught = whole[batch, "no teacher"], whole[batch, "efficientnet-lite0"]
        assert plain[5] == "1.00"
        ratio = float(taught[2].split()[0]) / float(plain[2].split()[0])
        assert float(taught[5]) == pytest.approx(ratio, rel=0.02)
        assert int(taught[9]) > int(plain[9]) > 100
        assert (plain[10], int(taught[10]) > 0) == ("0", True)  # whitening's, on a CPU
    shares = [row for row in rows(result.stdout) if len(row) == 5 and row[4].endswith("%")]
    total = sum(float(row[4].removesuffix("%")) for row in shares)
    assert total == pytest.approx(4 * 100, abs=1.5)
    assert trace.stat().st_size > 10_000


def test_methods(gan_vkd):
    result = gan_vkd(
        *("bench", "methods", "bcr", "ada", "vkd", "--preset", "tiny", "--batch", 4),
        *("--set", "gan.channels=4", "--rounds", 1, "--quiet", "--device", "cpu"),
    )
    assert result.exit_code == 0, result.output
    table = {row[0]: row for row in rows(result.stdout) if row[3].isdecimal()}
    taught = "--with vkd --teacher efficientnet-lite0"
    assert list(table) == ["-", "--with bcr", "--augment ada", taught]
    plain = table["-"]
    assert plain[2] == "1.00"
    for row in list(table.values())[1:]:
        ratio = float(row[1].split()[0]) / float(plain[1].split()[0])
        assert float(row[2]) == pytest.approx(ratio, rel=0.02)
        assert int(row[3]) > int(plain[3]) > 100


def test_an_unknown_method(refused):
    assert "'lecm': no such method; known: no-augment" in refused("bench", "methods", "lecm")


def test_questions_to_the_device_are_counted():
    values = torch.arange(4.0)
    found = operations_of(lambda: (values + 1, values.sum().item(), values[values > 1]))
    assert found.counts["add"] == 1
    assert found.waits == 2
    assert operations_of(lambda: values[torch.tensor([1, 2])]).waits == 0
    assert multiplications_of(lambda: torch.ones(2, 3) @ torch.ones(3, 5)) == 2 * 2 * 3 * 5
