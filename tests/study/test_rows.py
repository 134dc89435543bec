"""Which rows and names a page has."""

from gan_vkd.study.cells import found_table, listed


def test_seeds_of_an_arm_are_listed_together_and_teachers_apart():
    units = ["teacher-a", "teacher-b", "p/kd/0", "p/kd/1", "p/none/2"]
    assert listed(units) == "teacher-a, teacher-b, p/kd/{0,1}, p/none/2"
    assert listed([]) == "none"


def test_a_row_without_figures_is_left_out_and_one_with_some_stays():
    rows = [["a", "-", "-"], ["b", "-", "1.0 (1)"]]
    table = found_table(["arm", "fid", "kid"], rows)
    assert [line.split()[1] for line in table.splitlines()] == ["arm", "---", "b"]
    assert found_table(["arm", "fid", "kid"], rows[:1]) == ""
