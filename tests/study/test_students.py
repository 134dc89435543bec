"""A study of classifiers on a tenth of the digits: a teacher, two arms, two seeds."""

import json
import math
import shlex
import shutil
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
import torch
import yaml

from gan_vkd.errors import GanVkdError
from gan_vkd.progress import QUIET
from gan_vkd.study import stages
from gan_vkd.study.fit import train_fit
from gan_vkd.study.fits_page import Fits, write_fits_page
from gan_vkd.study.restore import restore_results
from gan_vkd.study.students import StudentWorkplace, read_students, settings_of
from gan_vkd.tensors import read_tensors

STUDIES = Path(__file__).resolve().parents[2] / "configs" / "studies" / "classification"
NAMES = sorted(path.stem for path in STUDIES.glob("*.yaml"))
TEACHER, PAIR = "teacher-t", "t_s"
UNITS = [TEACHER, *(f"{PAIR}/{arm}/{seed}" for seed in (0, 1) for arm in ("kd", "vkd-whiten"))]


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_studies_that_ship_are_whole(name, quick):
    study = read_students(STUDIES / f"{name}.yaml", quick)
    assert study.claims
    work = StudentWorkplace(study, Path("out"))
    for unit in study.units():
        recipe = work.recipe(unit)
        taught = unit.arm not in (None, "none")
        assert recipe.teacher.spec.startswith("file:") == taught
        assert recipe.training.seed == unit.seed
    if not quick:
        assert len(study.seeds) >= 3
        assert {unit.seed for unit in study.units()} == set(study.seeds)


def test_table_1_has_the_benchmarks_recipe():
    study = read_students(STUDIES / "table1.yaml")
    (unit,) = [u for u in study.units() if str(u) == "wrn-40-2_shufflenetv1/kd/2"]
    recipe = StudentWorkplace(study, Path("out"), Path("/data")).recipe(unit)
    assert recipe.student.name == "shufflenetv1"
    assert recipe.teacher.spec.endswith("out/table1/teacher-wrn-40-2/network.safetensors")
    assert (recipe.training.epochs, recipe.training.batch_size, recipe.data.subset) == (240, 64, 1)
    assert (recipe.data.dataset, recipe.data.data_root) == ("cifar100", "/data")
    kept = read_students(STUDIES / "table1.yaml", only={"pairs": ["resnet50_vgg8"], "seeds": [1]})
    assert list(kept.teachers) == ["resnet50"]
    assert kept.published[0].arms["kd"] == [73.81]
    assert [u.seed for u in kept.in_turn()[0]] == [0]  # the teacher of all seeds
    assert {u.seed for u in kept.in_turn()[1]} == {1}


def test_what_is_no_study(tmp_path):
    fields = yaml.safe_load((STUDIES / "fig4.yaml").read_text())
    for change, word in (
        ({"baseline": "x"}, "no arm is called 'x'"),
        ({"pairs": {"p": {"teacher": "x", "student": {}}}}, "no teacher is called 'x'"),
        ({"published": [{"source": "a", "arms": {"none": [1, 2]}}]}, "one figure a pair"),
        ({"common": {"training": {"epochs": 0}}}, "epochs"),
    ):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(fields | change))
        with pytest.raises(GanVkdError, match=word):
            read_students(tmp_path / "mine.yaml")


@pytest.fixture(scope="module")
def fit():
    """Trains a unit in this process."""
    training = [partial(train_fit, deadline=math.inf, keep_run=False)]
    return lambda work, name: stages.run_here(work, name, training, torch.device("cpu"), QUIET)


@pytest.fixture(scope="module")
def done(fit, tmp_path_factory):
    """The teacher and the first student are trained; the other units are that student's copies.

    Top-1 of the last epoch: 10, 30, 20, 50 % in the order of the students.
    """
    out = tmp_path_factory.mktemp("students")
    fields = yaml.safe_load((STUDIES / "small-cnn.yaml").read_text())
    fields["teachers"] = {"t": {"student": {"name": "mobilenetv2"}}}
    fields["pairs"] = {"t_s": {"teacher": "t", "student": {"student": {"name": "mobilenetv2"}}}}
    (out / "mine.yaml").write_text(yaml.safe_dump(fields))
    study = read_students(out / "mine.yaml", True, {"arms": ["kd", "vkd-whiten"]})
    work = StudentWorkplace(study, out)
    assert [str(unit) for unit in study.units()] == UNITS
    for name in UNITS[:2]:
        assert fit(work, name) == 0
    for unit, top1 in zip(study.units()[1:], (0.1, 0.3, 0.2, 0.5), strict=True):
        if str(unit) != UNITS[1]:
            shutil.copytree(out / "mine" / UNITS[1], work.folder(unit))
        found = json.loads(work.result(unit).read_text())
        found["result"]["last"]["top1"] = top1
        found["settings"] = settings_of(work.recipe(unit))
        work.result(unit).write_text(json.dumps(found))
    return work


def test_a_unit_leaves_its_network_accuracy_and_curve(done, fit):
    folder = done.out / "mine" / TEACHER
    assert sorted(path.name for path in folder.iterdir()) == ["fit.json", "network.safetensors"]
    found = json.loads((folder / "fit.json").read_text())
    assert [at for at, _ in found["curve"]] == [6, 12]  # two epochs of 90 images
    assert found["curve"][-1][1] == found["result"]["last"]["top1"]
    assert read_tensors(folder / "network.safetensors")[0]
    before = (folder / "fit.json").stat().st_mtime_ns
    assert fit(done, TEACHER) == 0
    assert (folder / "fit.json").stat().st_mtime_ns == before


def test_the_page_has_accuracy_differences_and_claims(done, reproduce, tmp_path):
    page = " ".join(write_fits_page(Fits(done), tmp_path / "page.md")[0].read_text().split())
    for row in (
        "| kd | 15.00 ± 7.07 (2) |",
        "| vkd-whiten | 40.00 ± 14.14 (2) |",
        "| vkd-whiten | 25.0 [-38.5, 88.5] (2) |",  # t(1) = 12.7, standard error 5
        "V_kD teaches better than KD",
        "not shown",
    ):
        assert row in page, row
    everything = json.loads((tmp_path / "page" / "page.json").read_text())
    assert everything["missing"] == []
    assert everything["claims"][0]["difference"]["mean"] == pytest.approx(25)
    assert (tmp_path / "page" / "curves-0.png").stat().st_size > 1_000
    done.result(done.study.units()[1]).rename(tmp_path / "away")
    fits = Fits(done)
    assert fits.claimed(PAIR, done.study.claims[0])[1] == "incomplete"
    assert [str(unit) for unit in fits.missing] == [UNITS[1]]
    (tmp_path / "away").rename(done.result(done.study.units()[1]))


def test_the_page_of_a_study_that_is_not_begun_has_no_curves(done, tmp_path):
    nothing = StudentWorkplace(done.study, tmp_path / "out")
    [page, everything] = write_fits_page(Fits(nothing), tmp_path / "page.md")
    assert "Curves" not in page.read_text()
    assert [path.name for path in everything.parent.iterdir()] == ["page.json"]


def test_results_are_restored_from_the_page_but_for_runs_of_its_own(done, tmp_path):
    write_fits_page(Fits(done), tmp_path / "page.md")
    elsewhere = StudentWorkplace(done.study, tmp_path / "out")
    assert restore_results(elsewhere, tmp_path / "page.md") == (len(UNITS), len(UNITS))
    assert Fits(elsewhere).as_json() == Fits(done).as_json()
    own = elsewhere.study.units()[1]
    elsewhere.result(own).rename(elsewhere.network(own))
    assert restore_results(elsewhere, tmp_path / "page.md") == (len(UNITS), 0)
    changed = done.study.model_copy(update={"common": {"training": {"epochs": 3}}})
    with pytest.raises(GanVkdError, match="has other settings than in the study"):
        restore_results(StudentWorkplace(changed, tmp_path / "new"), tmp_path / "page.md")
    assert not (tmp_path / "new").exists()


def test_a_teacher_without_its_network_is_trained_again_for_those_who_wait(done, tmp_path):
    write_fits_page(Fits(done), tmp_path / "page.md")
    elsewhere = StudentWorkplace(done.study, tmp_path / "out")
    restore_results(elsewhere, tmp_path / "page.md")
    teacher, first, *_ = done.study.units()
    assert all(elsewhere.is_trained(unit) for unit in done.study.units())
    elsewhere.result(first).unlink()
    assert not elsewhere.is_trained(teacher)


def test_the_page_says_where_students_had_other_trainings_of_their_teacher(done, fit, tmp_path):
    network = done.network(done.study.units()[0]).read_bytes()
    fits = Fits(done)
    taught = [found["teacher_sha256"] for found in fits.found.values()]
    assert taught == [None, *[sha256(network).hexdigest()] * 4]
    said = f"The students of {PAIR} had 2 trainings of their teacher"
    assert said not in write_fits_page(fits, tmp_path / "page.md")[0].read_text()
    fits.found[done.study.units()[1]]["teacher_sha256"] = "another"
    assert said in write_fits_page(fits, tmp_path / "page.md")[0].read_text()


def test_students_wait_for_their_teacher_and_flags_of_generators_are_refused(reproduce, tmp_path):
    quick = ("small-cnn", "--quick", "--out", tmp_path)
    result = reproduce(*quick, "--unit", "lite0_resnet8/kd/1", "--quiet")
    assert result.exit_code == 2
    assert "teacher-efficientnet-lite0/network.safetensors" in result.output.splitlines()[-1]
    for flags in (["--judge"], ["--checkpoints", "3"]):
        result = reproduce(*quick, *flags)
        assert result.exit_code == 2
        assert f"{flags[0]} belongs to studies of generators" in result.output
    assert "--pairs belongs to studies of classifiers" in reproduce("arms", "--pairs", "a").output
    commands = reproduce(*quick, "--commands", "--arms", "kd").output.splitlines()
    assert [shlex.split(line)[-1] for line in commands] == [
        "teacher-efficientnet-lite0",
        *(f"lite0_resnet8/kd/{seed}" for seed in (0, 1)),
    ]


def test_students_are_not_started_where_their_teachers_failed_or_were_stopped(
    reproduce, tmp_path, monkeypatch
):
    asked, codes = [], [1, 0, 0]

    def side_by_side(work, stages, commands, *_):
        asked.append([str(unit) for unit in commands])
        return codes.pop(0)

    monkeypatch.setattr(stages, "run_side_by_side", side_by_side)
    flags = ("fig4", "--quick", "--arms", "none,orthogonal-bare", "--train", "--out", tmp_path)
    assert reproduce(*flags).exit_code == 1
    assert asked == [["teacher-resnet32x4"]]
    assert reproduce(*flags).exit_code == 0
    assert [len(part) for part in asked] == [1, 1, 4]


def test_other_settings_are_no_part_of_the_study(done, fit):
    result = done.result(done.study.units()[0])
    text = result.read_text()
    found = json.loads(text)
    found["settings"]["training"]["lr"] = 7
    result.write_text(json.dumps(found))
    with pytest.raises(GanVkdError, match="trained with other settings"):
        fit(done, TEACHER)
    result.write_text(text)
