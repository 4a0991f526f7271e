"""Of the ways to train several seeds as one program the fastest is taken, with its price."""

import jax
import pytest

import cnn_jax
from cnn_jax.accelerators import campaign_price
from cnn_jax.errors import UserError
from tests.conftest import ROOT, TINY

CONFIG = cnn_jax.load_config(str(ROOT / "experiments/quickstart.py"), TINY)  # 60 steps


def times(monkeypatch, **steps):
    """Makes each way start in 10 s and take so many seconds for a step, or none: no memory."""

    def seconds_of(_config, seeds, way):
        assert seeds == 4
        if steps[way] is None:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return 10.0, steps[way]

    monkeypatch.setattr(campaign_price, "seconds_of", seconds_of)


def test_the_faster_way_is_taken_and_its_price_is_that_of_all_steps(monkeypatch):
    times(monkeypatch, vmap=2.0, map=1.0)
    found = campaign_price.measure(CONFIG, seeds=2, at_once=4)
    assert (found["way"], found["milliseconds"]) == ("map", {"vmap": 2000.0, "map": 1000.0})
    evaluated = 3 * 180 + 360  # images of "validation" after each epoch, and of "test" at the end
    assert found["seconds"] == pytest.approx(10 + 60 * 0.5 + evaluated * 0.5 / 3 / 60, abs=0.1)


def test_a_way_without_memory_is_left_out_and_none_is_an_error(monkeypatch):
    times(monkeypatch, vmap=None, map=1.0)
    assert campaign_price.measure(CONFIG, seeds=4, at_once=4)["way"] == "map"
    times(monkeypatch, vmap=None, map=None)
    with pytest.raises(UserError, match="4 seeds as one program: RESOURCE_EXHAUSTED"):
        campaign_price.measure(CONFIG, seeds=4, at_once=4)


def test_where_a_table_has_begun_in_one_way_the_others_are_not_timed(monkeypatch):
    times(monkeypatch, vmap=1.0)
    assert campaign_price.measure(CONFIG, 4, 4, ["vmap"])["milliseconds"] == {"vmap": 1000.0}
