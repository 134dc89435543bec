"""Whatever is wrong with an input: one line that names it, exit code 2, no file left behind."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from malformed import KINDS, Case, corpus, lay_out

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


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_one_passes(kind, gan_vkd, digits_run, own_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = KINDS[kind].good
    if good is None:  # the run's own file
        good = (digits_run / KINDS[kind].file.partition("/")[2]).read_bytes()
    result = gan_vkd(*lay_out(Case(kind, "good", good), tmp_path, digits_run))
    assert result.exit_code == 0, result.output
