import os
import time

import pytest

from gan_vkd import cache
from gan_vkd.cache import mark_used, prune
from gan_vkd.data.folder import load_folder
from gan_vkd.progress import QUIET


@pytest.fixture
def entries(tmp_path):
    """Five entries of 100 bytes, last used 100, 4, 3, 2 and 1 days ago."""
    made = []
    for days in (100, 4, 3, 2, 1):
        path = tmp_path / f"{days}.safetensors"
        path.write_bytes(bytes(100))
        os.utime(path, (time.time() - 86_400 * days,) * 2)
        made.append(path)
    return made


def left(entries) -> list[bool]:
    return [path.exists() for path in entries]


def test_what_was_not_used_for_long_goes(entries, tmp_path):
    prune(tmp_path, keep=entries[-1])
    assert left(entries) == [False, True, True, True, True]


def test_beyond_the_bound_the_longest_unused_goes(entries, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MOST_BYTES", 300)
    mark_used(entries[1])
    prune(tmp_path, keep=entries[-1])
    assert left(entries) == [False, True, False, True, True]


def test_the_entry_just_made_stays_whatever_its_size(entries, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MOST_BYTES", 10)
    prune(tmp_path, keep=entries[2])
    assert left(entries) == [False, False, True, False, False]


def test_the_image_cache_is_pruned_and_reading_counts_as_use(make_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    monkeypatch.setattr(cache, "MOST_BYTES", 0)

    def load(name: str):
        load_folder(tmp_path / name, 16, skip_bad=False, reporter=QUIET)
        return list((tmp_path / "own").rglob("*.safetensors"))

    for name in ("one", "two"):
        make_folder({"a": 3}, name=name)
    (first,) = load("one")
    os.utime(first, (0, 0))
    assert load("one") == [first]
    assert first.stat().st_mtime > 0
    (second,) = load("two")
    assert second != first
