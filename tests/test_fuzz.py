"""Properties of what reads files from anywhere, on inputs that nobody thought of."""

import json
import struct
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from malformed import encoded, generator, joined, parts, zipped

from gan_vkd.config.core import Recipe
from gan_vkd.config.layers import dump, read_config, resolve
from gan_vkd.config.registry import TERMS
from gan_vkd.engine.checkpoints import Checkpoints
from gan_vkd.engine.run_dir import RunDir
from gan_vkd.terminal import printable

# One folder for all examples of a test: each writes its input anew.
few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_subnormal=False)
    | st.text(max_size=8)
)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = {name: sorted(fields) for name, fields in Recipe.fields_of_groups().items()}
FIELDS["terms"] = list(TERMS)
recipes = st.fixed_dictionaries(
    {},
    optional={
        group: st.dictionaries(st.sampled_from(fields) | st.text(max_size=8), trees, max_size=3)
        for group, fields in FIELDS.items()
    },
)


def harmed(content: bytes):
    """`content` with a byte changed, cut, doubled or replaced by others."""
    places = st.integers(0, len(content) - 1)
    return st.one_of(
        st.builds(
            lambda p, b: content[:p] + bytes([b]) + content[p + 1 :], places, st.integers(0, 255)
        ),
        st.builds(lambda p: content[:p], places),
        st.builds(lambda p, more: content[:p] + more + content[p:], places, st.binary(max_size=9)),
        st.builds(lambda p, q: content[: min(p, q)] + content[max(p, q) :], places, places),
    )


@pytest.fixture
def one_line(gan_vkd):
    """Runs a command that may succeed, or must end in one printable line and exit code 2."""

    def run(*args: object) -> bool:
        result = gan_vkd(*args)
        if result.exit_code == 0:
            return True
        assert result.exit_code == 2, result.output
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1, result.stderr
        assert errors[0].isprintable()
        return False

    return run


class Read(Exception):
    """Carries a recipe out of the command, which so stops before it loads anything."""


@pytest.fixture
def no_training(monkeypatch):
    """The commands check everything, and then do nothing."""

    def give_back(layers):
        raise Read(resolve(layers))

    monkeypatch.setattr(sys.modules["gan_vkd.cli.train"], "resolve", give_back)


@pytest.fixture
def read_recipe(one_line, no_training):
    """Runs a command up to its recipe; None where it was refused."""

    def run(*args: object) -> Recipe | None:
        try:
            one_line("train", "--preset", "tiny", *args, "--dry-run", "--quiet")
        except Read as read:
            return read.args[0]
        return None

    return run


@few
@given(recipe=recipes)
def test_a_recipe_is_read_to_settings_that_come_back_or_refused(recipe, read_recipe, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    read = read_recipe("--config", path)
    if read is not None:
        (tmp_path / "config.yaml").write_text(dump(read))
        assert read_config(tmp_path) == read


@few
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_for_a_recipe(content, read_recipe, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    read_recipe("--config", path)


@few
@example(text="data.data_root=~no-such-user/images")
@example(text="0.0=~0")
@given(text=st.text(max_size=40) | st.builds("gan.channels={}".format, st.text(max_size=9)))
def test_any_text_for_a_setting(text, read_recipe):
    read_recipe(f"--set={text}")


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_image_bytes_with_any_harm(suffix, one_line, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "images").mkdir()

    @settings(max_examples=30)
    @given(content=harmed(encoded(suffix)))
    def check(content):
        (tmp_path / "images" / "bad.png").write_bytes(content)
        one_line("data", "describe", tmp_path / "images", "--quiet")

    check()


@few
@given(content=harmed(zipped(("a/bad.png", encoded("PNG")))))
def test_zips_with_any_harm(content, one_line, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "images.zip").write_bytes(content)
    one_line("data", "describe", tmp_path / "images.zip", "--quiet")


@few
@given(
    names=st.lists(
        st.text(
            st.characters(exclude_characters="/\0", exclude_categories=["Cs"]),
            min_size=1,
            max_size=12,
        ),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
def test_folders_of_any_names(names, one_line, tmp_path_factory, monkeypatch):
    root = tmp_path_factory.mktemp("any")
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    for name in names:
        folder = root / "images" / "class" / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:  # such as `..`'s neighbours, or too long for the system
            continue
        (folder / "1.png").write_bytes(encoded("PNG"))
    one_line("data", "describe", root / "images", "--quiet")


@pytest.fixture(scope="module")
def whole_generator(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "generator.safetensors"
    generator(path)
    return path.read_bytes()


@few
@given(data=st.data())
def test_a_generators_header_with_any_harm(data, whole_generator, one_line, tmp_path):
    size = struct.unpack("<Q", whole_generator[:8])[0]
    if data.draw(st.booleans()):
        text = data.draw(harmed(whole_generator[8 : 8 + size]))
        content = joined(text, whole_generator[8 + size :])
    else:
        header, tensors = parts(whole_generator)
        key = data.draw(st.sampled_from(sorted(header["__metadata__"])))
        header["__metadata__"][key] = json.dumps(data.draw(trees))
        content = joined(header, tensors)
    (tmp_path / "g.safetensors").write_bytes(content)
    grid = tmp_path / "grid.png"
    one_line("sample", tmp_path / "g.safetensors", "--columns", 1, "--grid", grid, "--quiet")


@few
@given(data=st.data())
def test_a_manifest_with_any_harm_is_noticed(data, tmp_path_factory):
    import torch

    checkpoints = Checkpoints(tmp_path_factory.mktemp("run") / "checkpoints")
    for iteration in (1, 2):
        checkpoints.save(iteration, {"n": torch.tensor(iteration)})
    manifest = checkpoints.folder / "00000002" / "manifest.json"
    whole = json.loads(manifest.read_bytes())
    manifest.write_bytes(data.draw(harmed(manifest.read_bytes()) | trees.map(as_json)))
    try:
        same = json.loads(manifest.read_bytes()) == whole
    except (ValueError, RecursionError):
        same = False
    iteration, state, damaged = checkpoints.load_newest()
    assert iteration == state["n"].item() == (2 if same else 1)
    assert len(damaged) == (not same)


def as_json(tree) -> bytes:
    return json.dumps(tree).encode()


LOG = "".join(f'{{"iteration": {i}, "g": {i}.5}}\n' for i in range(1, 13)).encode()


@few
@given(place=st.integers(0, len(LOG)), done=st.integers(0, 12))
def test_a_log_cut_at_any_byte_has_no_gap_and_no_double_step(place, done, tmp_path):
    run = RunDir(tmp_path)
    files = run.log_path, run.curve_path
    for file in files:
        file.write_bytes(LOG[:place])
    whole = LOG[:place].count(b"}")
    for file, kept in zip(files, run.rewind(done), strict=True):
        assert [line["iteration"] for line in kept] == [*range(1, min(whole, done) + 1)]
        assert file.read_text() == "".join(json.dumps(line) + "\n" for line in kept)


def parsed(line: bytes) -> bytes | None:
    """As a log has it: blanks between its parts and a byte order mark are no harm."""
    try:
        return json.dumps(json.loads(line.decode("utf-8-sig"))).encode()
    except ValueError:
        return None


@few
@given(content=harmed(LOG) | st.binary(max_size=40))
@example(content=b" " + LOG)
@example(content=b"\xef\xbb\xbf" + LOG)
def test_whatever_happened_to_a_log_its_other_lines_stay(content, tmp_path):
    run = RunDir(tmp_path)
    run.log_path.write_bytes(content)
    whole = set(LOG.splitlines())
    expected = [line for line in map(parsed, content.splitlines()) if line in whole]
    kept, _ = run.rewind(100)
    kept = [json.dumps(line).encode() for line in kept]
    assert [line for line in kept if line in whole] == expected


@given(text=st.text() | st.binary().map(lambda b: b.decode("utf-8", "surrogateescape")))
def test_what_is_printed_is_printable_and_says_what_it_was(text):
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")
    if text.isprintable():
        assert shown == text
