"""Whatever is wrong with an input: one line that names it, exit code 2, no file left behind."""

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from malformed import KINDS, Case, corpus, lay_out, old_payload, payload

from gan_vkd.data.sources import load_dataset
from gan_vkd.evaluation.features import extract, load_extractor
from gan_vkd.progress import QUIET

with TemporaryDirectory() as scratch:
    CORPUS = corpus(Path(scratch))


def everything(*folders: Path) -> dict[Path, int]:
    return {p: p.lstat().st_size for folder in folders for p in folder.rglob("*")}


def test_the_corpus_is_large_and_of_every_kind():
    assert len({(case.kind, case.name) for case in CORPUS}) == len(CORPUS) >= 200
    assert {case.kind for case in CORPUS} == KINDS.keys()


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: f"{case.kind}: {case.name}"[:50])
def test_is_refused(case, refused, digits_run, own_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = lay_out(case, tmp_path, digits_run)
    before = everything(tmp_path)
    line = refused(*command)
    assert case.culprit in line
    assert line.isprintable()
    left = {path for path in everything(tmp_path) if path not in before and path.is_file()}
    assert not left
    assert {p: s for p, s in everything(tmp_path).items() if p in before} == before


@pytest.mark.parametrize("kind", [*(name for name in KINDS if KINDS[name].good), "config"])
def test_a_good_one_passes(kind, gan_vkd, digits_run, own_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = KINDS[kind].good
    if good is None:  # a run's own file, which so is good for all kinds that are part of a run
        good = (digits_run / KINDS[kind].file.partition("/")[2]).read_bytes()
    result = gan_vkd(*lay_out(Case(kind, "good", good), tmp_path, digits_run))
    assert result.exit_code == 0, result.output


PAYLOADS = {
    "a generator": ["sample"],
    "a teacher": ["teacher", "describe", "timm:test_efficientnet", "--teacher-weights"],
    "an evaluator": ["eval", ".", "--reference", "digits", "--quiet", "--extractor-weights"],
}


@pytest.mark.parametrize("write", [payload, old_payload])
@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth"])
@pytest.mark.parametrize("command", PAYLOADS.values(), ids=PAYLOADS)
def test_a_payload_does_not_run(command, suffix, write, refused, tmp_path):
    file = tmp_path / f"the-input.{suffix}"
    write(file)
    assert "the-input" in refused(*command, file)
    assert not (tmp_path / "ran").exists()
    with file.open("rb") as opened, contextlib.suppress(RuntimeError):  # once it has run
        torch.load(opened, weights_only=False)
    assert (tmp_path / "ran").exists()  # it is a real one


@pytest.mark.parametrize("write", [payload, old_payload])
def test_a_payload_in_a_cache_does_not_run(write, gan_vkd, make_folder, own_cache):
    images = make_folder({"a": 3})
    extractor = load_extractor("bundled-1", None, torch.device("cpu"))

    def use() -> torch.Tensor:
        assert gan_vkd("data", "describe", images).exit_code == 0
        pixels = load_dataset(str(images), image_size=32).train.images
        return extract(extractor, pixels, "images", QUIET).features

    before = use()
    entries = list(own_cache.rglob("*.safetensors"))
    assert {entry.parent.name for entry in entries} == {"images", "features"}
    for entry in entries:
        write(entry)
    assert use().equal(before)
    assert not list(own_cache.rglob("ran"))
