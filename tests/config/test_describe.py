from pathlib import Path

import pytest
import yaml

from gan_vkd.config.core import Recipe
from gan_vkd.config.describe import described
from gan_vkd.config.layers import (
    PRESETS,
    continued,
    discriminator_layer,
    dump,
    file_layer,
    preset_layer,
    resolve,
    set_layer,
    with_layer,
)
from gan_vkd.config.registry import (
    AUGMENTATIONS,
    DISCRIMINATORS,
    DISTILLATIONS,
    LOSSES,
    METHODS,
    TERMS,
)
from gan_vkd.errors import GanVkdError


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_printed_is_the_recipe(preset, gan_vkd, tmp_path):
    flags = [
        "--preset",
        preset,
        "--set",
        "terms.lecam.weight=0.25",
        "--set",
        "data.data_root=/a b",
    ]
    result = gan_vkd("recipe", *flags)
    assert result.exit_code == 0
    path = tmp_path / "recipe.yaml"
    path.write_text(result.stdout)
    sets = set_layer(("terms.lecam.weight=0.25", "data.data_root=/a b"))
    expected = resolve([("preset", preset_layer(preset)), ("set", sets)])
    assert resolve([("file", file_layer(path))]) == expected


def test_every_field_says_what_it_is_its_range_and_its_default():
    lines = described(Recipe()).splitlines()
    fields = [line for line in lines if line.startswith("  ")]
    assert len(fields) > 45
    for line in fields:
        name = line.split(":")[0].strip()
        comment = line.partition(" # ")[2]
        if name != "method":
            assert "default " in comment, line
        assert len(comment.split(";")[0]) > 3, line
    (subset,) = [line for line in fields if line.startswith("  subset:")]
    assert "> 0, <= 1; default 1.0" in subset
    (draw,) = [line for line in fields if line.startswith("  subset_draw:")]
    assert "balanced, uniform" in draw
    (size,) = [line for line in lines if line.startswith("  image_size: null")]
    assert ">= 16, <= 1024" in size


def test_with_adds_a_term_or_sets_the_distillation():
    assert with_layer("lecam") == {"terms": {"lecam": {}}}
    assert with_layer("lecam:weight=0.1,start=5") == {
        "terms": {"lecam": {"weight": 0.1, "start": 5}}
    }
    assert with_layer("cr:augment=flip,translation,weight=3") == {
        "terms": {"cr": {"augment": "flip,translation", "weight": 3}}
    }
    assert with_layer("vkd:projection=linear") == {
        "distill": {"method": "vkd", "projection": "linear"}
    }
    layers = [("preset", preset_layer("lab"))]
    recipe = resolve([*layers, ("a", with_layer("lecam:decay=0.5")), ("b", with_layer("lecam"))])
    assert recipe.terms["lecam"].decay == 0.5
    assert recipe.terms["lecam"].weight == 0.3
    layers += [("b", with_layer("lecam")), ("c", set_layer(("terms.lecam=false",)))]
    assert resolve(layers).terms == {}
    assert list(resolve([*layers, ("d", with_layer("lecam"))]).terms) == ["lecam"]


def test_a_discriminator_by_its_name_and_fields():
    preset = ("preset", preset_layer("lab"))
    assert resolve([preset]).discriminator.kind == "biggan"
    layer = discriminator_layer("projected:channels=8,image_size=96")
    recipe = resolve([preset, ("d", layer), ("d", discriminator_layer("projected"))])
    assert (recipe.discriminator.channels, recipe.discriminator.image_size) == (8, 96)
    back = resolve([preset, ("d", layer), ("d", discriminator_layer("biggan"))])
    assert back.discriminator == resolve([preset]).discriminator
    for text, words in (
        ("projected:chanels=8", "discriminator.chanels: no such field; did you mean"),
        ("projectd", "unknown discriminator 'projectd'; did you mean projected?"),
        ("biggan:channels=8", "discriminator.channels: no field of the discriminator"),
    ):
        with pytest.raises(GanVkdError, match=words):
            resolve([preset, ("d", discriminator_layer(text))])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lecan", ["unknown term 'lecan'", "did you mean lecam?"]),
        ("ada", ["an augmentation: --augment ada"]),
        ("lecam:weight", ["NAME:field=value"]),
        ("lecam:=1", ["NAME:field=value"]),
        ("lecam:weight=[", ["not YAML"]),
    ],
)
def test_a_wrong_with_is_named(text, words):
    with pytest.raises(GanVkdError) as error:
        with_layer(text)
    for word in (f"--with {text}", *words):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        (
            "terms.lecam.weigth=1",
            ["terms.lecam.weigth: no such field; did you mean terms.lecam.weight?"],
        ),
        ("terms.lecam.weight=-1", ["terms.lecam.weight", "greater than or equal to 0"]),
        ("terms.lecan={}", ["terms", "unknown term 'lecan'"]),
        ("terms.lecan=false", ["terms", "unknown term 'lecan'"]),
        ("gan.loss=hing", ["gan.loss", "did you mean hinge?"]),
        ("distill.method=kd", ["distill", "unknown method of distillation 'kd'"]),
        ("distill.ratio=1", ["distill", "exclude each other", "distill.weight=null"]),
        ("data.augment=cutout,cutout", ["data.augment", "twice"]),
        ("data.augment=cutout,lecam", ["data.augment", "--with lecam"]),
    ],
)
def test_wrong_terms_and_methods_are_one_line(assignment, words):
    with pytest.raises(GanVkdError) as error:
        resolve([("preset", preset_layer("lab")), ("--set", set_layer((assignment,)))])
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value), str(error.value)


CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize(
    "path", sorted(CONFIGS.glob("*.yaml")) + sorted(CONFIGS.glob("*/r3*.yaml"))
)
def test_the_files_that_ship_are_recipes(path):
    recipe = resolve([("preset", preset_layer("cifar")), ("file", file_layer(path))])
    training = recipe.training
    if path.name.startswith("cifar"):  # 1,000, 2,000 or 5,000 epochs
        seen = training.iterations * training.d_steps * training.batch_size
        assert seen / (50_000 * recipe.data.subset) in (1_000, 2_000, 5_000)
        assert (recipe.evaluation.num, recipe.evaluation.reference) == (10_000, "test")


def test_files_lie_over_each_other_in_their_order(gan_vkd, tmp_path):
    for name, text in (("a", "gan: {channels: 5, z_dim: 6}"), ("b", "gan: {channels: 7}")):
        (tmp_path / name).write_text(text)
    flags = ["--preset", "tiny", "--config", tmp_path / "a", "--config", tmp_path / "b"]
    lines = gan_vkd("recipe", *flags).stdout.splitlines()
    assert any(line.startswith("  channels: 7 ") for line in lines)
    assert any(line.startswith("  z_dim: 6 ") for line in lines)


def test_adas_term_stays_while_ada_does():
    layers = [("preset", preset_layer("lab")), ("--set", set_layer(("terms.adaptive=false",)))]
    assert resolve(layers).terms == {}
    with pytest.raises(GanVkdError, match=r"terms\.adaptive: .* leave ada out"):
        resolve([*layers, ("--augment", set_layer(("data.augment=ada,flip",)))])


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("terms.cr.weight=10", r"terms\.cr is not in .* and can't be added"),
        ("terms.lecam=false", r"terms\.lecam is .* and can't be left out"),
        ("distill.method=kd-dlgan", r"distill\.method is 'vkd' .* and can't become 'kd-dlgan'"),
        ("training.d_steps=7", r"training\.d_steps is .* and can't become 7"),
    ],
)
def test_a_resumed_run_keeps_its_recipe(assignment, words, tmp_path):
    layers = [("preset", preset_layer("lab")), ("--with", with_layer("lecam"))]
    (tmp_path / "config.yaml").write_text(dump(resolve(layers)))
    assert continued(tmp_path, layers) == resolve(layers)
    with pytest.raises(GanVkdError, match=f"^--resume: {words}"):
        continued(tmp_path, [*layers, ("--set", set_layer((assignment,)))])


def test_terms_that_are_no_mapping_are_one_line():
    with pytest.raises(GanVkdError, match="terms: names of terms"):
        resolve([("file", {"terms": "lecam"})])


def test_the_weight_can_be_let_go():
    sets = set_layer(("distill.weight=null", "distill.ratio=2"))
    recipe = resolve([("preset", preset_layer("lab")), ("--set", sets)])
    assert (recipe.distill.weight, recipe.distill.ratio) == (None, 2)
    assert resolve([("preset", preset_layer("cifar"))]).distill.ratio == 0.5


def test_a_config_of_version_0_1_is_a_recipe():
    old = """
data: {dataset: digits, subset: 1.0, subset_draw: balanced, augment: 'translation,cutout'}
gan: {channels: 8, z_dim: 128, generator_spectral_norm: false}
distill: {projection: orthogonal, normalise: whiten, rank: null, distance: squared,
  shuffled: false, weight: 8.0, generated_every: 1}
"""
    recipe = resolve([("old", yaml.safe_load(old))])
    assert (recipe.distill.weight, recipe.distill.ratio) == (8.0, None)
    assert recipe.gan.loss == "hinge"


def test_methods_lists_everything_there_is_with_its_paper(gan_vkd):
    result = gan_vkd("methods")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    starts = [number for number, text in enumerate(lines) if not text.startswith(" ")]
    for registry in (DISCRIMINATORS, LOSSES, TERMS, DISTILLATIONS, AUGMENTATIONS, METHODS):
        (start,) = [n for n in starts if lines[n].startswith(f"{registry.kind} (")]
        end = min((n for n in starts if n > start), default=len(lines))
        for name in registry:
            (line,) = [text for text in lines[start + 1 : end] if text.split()[:1] == [name]]
            assert f"[{registry[name].paper}]" in line


def test_terms_and_losses_by_flags(gan_vkd, refused, tmp_path):
    run = tmp_path / "run"
    flags = ["--preset", "tiny", "--teacher", "none", "--iterations", 1, "--quiet"]
    more = ["--loss", "hinge", "--with", "lecam:start=0"]
    assert gan_vkd("train", *flags, *more, "--run-dir", run).exit_code == 0
    assert "lecam:" in (run / "config.yaml").read_text()
    line = refused("train", *flags, "--loss", "wgan")
    assert "unknown adversarial loss 'wgan'" in line
    line = refused("train", "--resume", "--run-dir", run, "--with", "lecam:start=7")
    assert "--resume: terms.lecam is" in line
