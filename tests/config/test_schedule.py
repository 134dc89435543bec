import warnings
from math import cos, pi

import pytest

from gan_vkd.config.layers import dump, read_yaml, resolve, set_layer, with_layer
from gan_vkd.config.schedule import Cosine, value_at
from gan_vkd.errors import GanVkdError


def test_half_a_cosine_then_the_last_value():
    rate = Cosine(first=2e-4, last=5e-5, iterations=400)
    by_hand = {0: 2e-4, 100: 1.25e-4 + 0.75e-4 * cos(pi / 4), 200: 1.25e-4, 400: 5e-5, 9_999: 5e-5}
    assert {n: rate.at(n) for n in by_hand} == pytest.approx(by_hand, rel=1e-12)
    rising = Cosine(first=0.9, last=0.99, iterations=3)
    assert rising.at(1) == pytest.approx(0.9 + 0.09 * 0.25)
    assert value_at(rising, 2) == pytest.approx(0.9 + 0.09 * 0.75)
    assert value_at(0.3, 2) == 0.3


def test_a_recipe_with_schedules_is_written_and_read_back():
    sets = [
        f"training.{name}={{first: 0.1, last: 0.2, iterations: 5}}" for name in ("d_lr", "beta2")
    ]
    layers = [
        ("set", set_layer(tuple(sets))),
        ("with", with_layer("r1:gamma={first: 1, last: 0, iterations: 9}")),
    ]
    recipe = resolve(layers)
    assert recipe.training.d_lr.at(5) == 0.2
    assert recipe.terms["r1"].gamma.at(9) == 0
    assert recipe.training.changes
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = dump(recipe)
    assert resolve([("file", read_yaml(text, "file"))]) == recipe
    assert not resolve([]).training.changes


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("training.d_lr={first: 1}", "training.d_lr: a number, or {first: NUMBER"),
        ("training.d_lr={first: 1, last: 0, iterations: 5}", "training.d_lr: .*greater than 0"),
        ("training.g_lr={first: 11, last: 1, iterations: 5}", "training.g_lr: .*equal to 10"),
        ("training.beta2={first: 0, last: 1, iterations: 5}", "training.beta2: .*less than 1"),
        (
            "training.ema_half_life={first: 0, last: 1, iterations: 0}",
            "ema_half_life: a number, or",
        ),
        ("training.ema_decay={first: 0, last: 0.9, iterations: 5}", "ema_decay: .*valid number"),
        ("terms.r1.gamma={first: -1, last: 0, iterations: 5}", "terms.r1.gamma: .*equal to 0"),
    ],
)
def test_both_ends_are_within_the_fields_bounds(assignment, words):
    with pytest.raises(GanVkdError, match=words):
        resolve([("set", set_layer((assignment,)))])
