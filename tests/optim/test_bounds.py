"""Each number of a learning rate or an optimizer is taken up to its bound, and not beyond it."""

import jax.numpy as jnp
import pytest

from cnn_jax.errors import UserError
from cnn_jax.optim import optimizers, plateau, schedules
from cnn_jax.optim.schedules import LearningRate

INF, NAN = float("inf"), float("nan")
SCHEDULES = {
    "constant": {"rate": 0.4},
    "step": {"rate": 0.4, "drops": ["20 steps"], "factor": 0.1},
    "exponential": {"rate": 0.4, "factor": 0.5, "every": "20 steps", "staircase": False},
    "polynomial": {"rate": 0.4, "final_rate": 0.0, "power": 1.0},
    "cosine": {"rate": 0.4, "final_rate": 0.0},
    "one_cycle": {"rate": 0.4, "start_rate": 0.1, "final_rate": 0.0, "rise": 0.3},
    "plateau": {"rate": 0.4, "factor": 0.1, "patience": 2, "threshold": 0.0, "min_rate": 0.0},
}
SCHEDULES["one_cycle"]["shape"] = "linear"
POSITIVE = ((1e-9, 1e9), (0.0, -0.1, INF, NAN))  # what is taken, and what is not
NOT_NEGATIVE = ((0.0, 1e9), (-1e-9, INF, NAN))
FRACTION = ((0.0, 0.999), (-1e-9, 1.0, NAN))
OF_SCHEDULES = [
    *[(name, "rate", *POSITIVE) for name in SCHEDULES],
    ("step", "factor", *POSITIVE),
    ("exponential", "factor", *POSITIVE),
    ("exponential", "every", ("1 step", "0.01 epochs"), ("0 steps", "0.4 steps")),
    ("polynomial", "power", *POSITIVE),
    *[(name, "final_rate", *NOT_NEGATIVE) for name in ("polynomial", "cosine", "one_cycle")],
    ("one_cycle", "start_rate", *POSITIVE),
    ("one_cycle", "rise", (0.01, 0.99), (0.0, 0.004, 0.996, 1.0, -0.1)),
    ("one_cycle", "shape", ("linear", "cosine"), ("cos",)),
    ("plateau", "factor", (1e-9, 0.999), (0.0, 1.0, NAN)),
    ("plateau", "patience", (1,), (0, -1)),
    ("plateau", "threshold", *NOT_NEGATIVE),
    ("plateau", "min_rate", (0.0, 0.4), (-1e-9, 0.41)),
    ("constant", "schedule", (), ("constnat",)),
    ("constant", "warmup_shape", ("constant", "linear"), ("cosine",)),
    ("constant", "warmup", ("0 steps", "1 step", "2 epochs"), ("", "1 hour", "-1 steps")),
]


def learning_rate(name, **changes):
    settings = {"schedule": name, "duration": "100 steps", "steps_per_epoch": 100}
    settings |= {"warmup": "0 steps", "warmup_shape": "constant", "warmup_rate": 0.01}
    return schedules.create(**settings | SCHEDULES[name] | changes)


@pytest.mark.parametrize("name,field,taken,refused", OF_SCHEDULES)
def test_a_learning_rate_is_taken_up_to_its_bounds(name, field, taken, refused):
    for value in taken:
        learning_rate(name, **{field: value})
    for value in refused:
        with pytest.raises(UserError):
            learning_rate(name, **{field: value})


RULES = {
    "momentum": {"momentum": 0.9, "nesterov": False, "rate_inside": False},
    "rmsprop": {"momentum": 0.9, "square_decay": 0.9, "epsilon": 1.0},
}
OF_OPTIMIZERS = [
    *[(name, "momentum", *FRACTION) for name in RULES],
    ("rmsprop", "square_decay", *FRACTION),
    ("rmsprop", "epsilon", *NOT_NEGATIVE),
    ("momentum", "weight_decay", *NOT_NEGATIVE),
    ("momentum", "bias_rate", *NOT_NEGATIVE),
    ("momentum", "clip_norm", (1e-9, None), (0.0, -1.0, NAN)),
    ("momentum", "decay", ("all", "kernels"), ("biases",)),
    ("momentum", "name", (), ("sgd",)),
]


@pytest.mark.parametrize("name,field,taken,refused", OF_OPTIMIZERS)
def test_an_optimizer_is_taken_up_to_its_bounds(name, field, taken, refused):
    settings = {"name": name, "weight_decay": 0.0, "decay": "all", "clip_norm": None}
    settings |= {"clips_decay": False, "bias_rate": 1.0, **RULES[name]}
    settings |= {"freeze": (), "freeze_until": None, "rate_by_layer": (), "layer_decay": 1.0}
    settings |= {"learning_rate": LearningRate(lambda step: 0.1, None), "layers": None}
    for value in taken:
        optimizers.create(**settings | {field: value})
    for value in refused:
        with pytest.raises(UserError):
            optimizers.create(**settings | {field: value})


@pytest.mark.parametrize(
    "text,steps",
    [
        ("0 steps", 0),
        ("1 step", 1),
        ("2.6 steps", 3),
        ("2.4 steps", 2),
        ("0.005 epochs", 2),
        (" 10epochs ", 3900),
        ("1_000.5 epochs", 390_195),
    ],
)
def test_a_duration_is_rounded_to_the_nearest_step(text, steps):
    assert schedules.to_steps(text, 390) == steps


def test_a_plateau_has_the_rule_of_its_fields_and_other_schedules_have_none():
    found = learning_rate("plateau", min_rate=0.1, threshold=0.25)
    assert found.plateau == plateau.Rule(0.1, 2, 0.25, min_scale=0.25)
    assert float(found(7)) == pytest.approx(0.4)
    assert learning_rate("cosine").plateau is None


def test_a_plateau_begins_with_the_full_rate_and_nothing_seen():
    state = plateau.scale_by_plateau(plateau.Rule(0.1, 2, 0.0, 0.0)).init({})
    assert (float(state.scale), float(state.best), int(state.waited)) == (1.0, INF, 0)
    assert float(plateau.scale({"a": jnp.ones(2)})) == 1.0


def test_a_rate_stays_above_its_least_and_counts_anew_after_a_drop():
    state = plateau.scale_by_plateau(plateau.Rule(0.25, 2, 0.0625, 0.125)).init({})
    seen = []
    for error in (0.5, 0.4375, 0.375, 0.375, 0.375, 0.375, 0.375, 0.25):
        state = plateau.observe((state,), error)[0]
        seen.append((float(state.scale), float(state.best), int(state.waited)))
    # 0.4375 is not better than 0.5 by more than 0.0625, and 0.375 is.
    assert seen[:4] == [(1.0, 0.5, 0), (1.0, 0.5, 1), (1.0, 0.375, 0), (1.0, 0.375, 1)]
    assert seen[4:6] == [(0.25, 0.375, 0), (0.25, 0.375, 1)]
    assert seen[6:] == [(0.125, 0.375, 0), (0.125, 0.25, 0)]


def test_a_training_of_no_step_has_the_schedule_of_one():
    rate = learning_rate("polynomial", duration="0 steps")
    assert float(rate(0)) == pytest.approx(0.4) and float(rate(1)) == 0.0
