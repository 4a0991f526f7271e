"""Programs of several steps end where something is due, wherever the run goes on from."""

import dataclasses

import pytest
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax.errors import UserError
from cnn_jax.training import build
from cnn_jax.training.plan import Plan, create_plan, dispatch_size, steps_on

PLAN = Plan(
    train_size=45_000,
    batch_size=128,
    microbatches=1,
    steps_per_epoch=351,
    total_steps=1000,
    checkpoint_every=500,
    steps_per_dispatch=10,
    evaluate_every=351,
    splits=("test",),
    eval_batch_size=500,
)


def plan_of(config):
    others = {"evaluation": config.evaluation, "train_size": 1257}
    return configs.call(create_plan, "training", config.training, **others)


def test_programs_cover_every_step_once():
    steps = [step for first, n in PLAN.dispatches(0) for step in range(first, first + n)]
    assert steps == list(range(1000))


def test_no_program_reaches_past_an_evaluation_or_a_checkpoint():
    ends = {first + count for first, count in PLAN.dispatches(0)}
    assert {351, 500, 702, 1000} <= ends
    assert max(count for _, count in PLAN.dispatches(0)) <= 10


def test_a_run_that_goes_on_uses_the_same_programs():
    whole = list(PLAN.dispatches(0))
    for i, (step, _) in enumerate(whole):
        assert list(PLAN.dispatches(step)) == whole[i:]


def test_the_size_is_a_divisor_of_the_stretch_where_there_is_one():
    assert [dispatch_size(n, 10) for n in (390, 351, 20, 7, 389)] == [10, 9, 10, 7, 10]


def test_a_batch_larger_than_the_data_is_refused(tiny_config):
    config = tiny_config.copy_and_resolve_references()
    config.training.batch_size = 2000
    with pytest.raises(UserError, match="between 1 and 1,257"):
        plan_of(config)


@pytest.mark.parametrize(
    "group,field", [("training", "steps_per_dispatch"), ("evaluation", "batch_size")]
)
def test_a_size_below_one_is_refused(tiny_config, group, field):
    config = tiny_config.copy_and_resolve_references()
    config[group][field] = 0
    with pytest.raises(UserError, match=f"{group}.{field} is 0: it must be at least 1"):
        plan_of(config)


def test_the_last_step_is_always_due():
    assert PLAN.is_due(351, 1000) and not PLAN.is_due(351, 999)
    assert dataclasses.replace(PLAN, total_steps=999).is_due(500, 999)


def auto(tiny_config, *overrides):
    config = tiny_config.copy_and_resolve_references()
    for override in ("training.steps_per_dispatch=auto", *overrides):
        configs.override_field(config, *override.split("="))
    return plan_of(config)


@pytest.mark.parametrize("platform,most", [("cpu", 10), ("gpu", 100), ("tpu", 100)])
def test_how_many_steps_auto_are_depends_on_the_platform(platform, most, tiny_config):
    plan = auto(tiny_config)
    assert plan.on(platform, image_bytes=0).steps_per_dispatch == most
    assert (
        auto(tiny_config, "training.steps_per_dispatch=7").on(platform, 0).steps_per_dispatch == 7
    )


def test_auto_sends_at_most_64_mib_for_a_program():
    small, large = 128 * 32 * 32 * 3, 256 * 224 * 224 * 3
    assert steps_on("auto", "gpu", small) == 100 and steps_on("auto", "gpu", 10 * small) == 17
    assert steps_on("auto", "gpu", large) == steps_on("auto", "cpu", large) == 1


def test_a_run_that_goes_on_on_another_platform_stops_at_the_same_steps():
    plan = dataclasses.replace(PLAN, steps_per_dispatch="auto")
    cpu, gpu = (plan.on(platform, 0) for platform in ("cpu", "gpu"))
    stopped = [first for first, _ in cpu.dispatches(0)][20]  # in mid epoch
    steps = [s for first, n in gpu.dispatches(stopped) for s in range(first, first + n)]
    assert steps == list(range(stopped, 1000))
    assert {351, 500, 702, 1000} <= {first + n for first, n in gpu.dispatches(stopped)}


def test_a_word_that_is_not_auto_is_refused(tiny_config):
    with pytest.raises(UserError, match="training.steps_per_dispatch 'often' is no number or auto"):
        auto(tiny_config, "training.steps_per_dispatch=often")


def test_a_batch_larger_than_the_data_is_told_before_statistics_are_computed(
    tiny_config, monkeypatch
):
    monkeypatch.setattr(build, "fit", None)
    with tiny_config.copy_and_resolve_references().unlocked() as config:
        config.training.batch_size = 5000
        with pytest.raises(
            UserError, match=r"batch_size is 5000: with 1,257 training images it must"
        ):
            build.create_parts(config)


SETTINGS = {
    "batch_size": 8,
    "accumulate": 2,
    "duration": "3 epochs",
    "checkpoint_every": "1 epoch",
    "steps_per_dispatch": 5,
    "train_size": 100,
}
EVALUATION = {"batch_size": 50, "every": "6 steps", "splits": ["test", "train"]}


def made(evaluation=EVALUATION, **changes):
    return create_plan(**SETTINGS | changes, evaluation=ConfigDict(evaluation))


def test_a_plan_is_in_steps_of_whole_batches():
    plan = made()
    assert (plan.steps_per_epoch, plan.total_steps, plan.checkpoint_every) == (12, 36, 12)
    assert (plan.evaluate_every, plan.eval_batch_size, plan.splits) == (6, 50, ("test", "train"))
    assert (plan.train_size, plan.batch_size, plan.microbatches) == (100, 8, 2)
    assert plan.steps_per_dispatch == plan.on("gpu", 10**9).steps_per_dispatch == 5


@pytest.mark.parametrize(
    "field,taken,refused",
    [
        ("batch_size", (1, 100), (0, 101, -1)),
        ("accumulate", (1,), (0, -1)),
        ("steps_per_dispatch", (1, "auto"), (0, -1, "all", 1.5)),
        ("duration", ("1 step",), ("0 steps", "0.4 steps")),
        ("checkpoint_every", ("1 step",), ("0 epochs",)),
    ],
)
def test_a_plan_is_taken_up_to_its_bounds(field, taken, refused):
    for value in taken:
        made(**{field: value})
    for value in refused:
        with pytest.raises(UserError, match=f"training.{field}"):
            made(**{field: value})


@pytest.mark.parametrize("field,value", [("batch_size", 0), ("every", "0 steps")])
def test_an_evaluation_has_a_batch_and_a_period(field, value):
    with pytest.raises(UserError, match=f"evaluation.{field} is"):
        made(EVALUATION | {field: value})
    assert made(EVALUATION | {"batch_size": 1, "every": "1 step"}).evaluate_every == 1


def test_auto_is_cut_where_more_than_64_mib_were_sent():
    sizes = {2**26: 1, 2**25: 2, 2**25 + 1: 1, 2**26 // 100: 100, 2**26 // 99: 99, 2**27: 1, 0: 100}
    assert {size: steps_on("auto", "tpu", size) for size in sizes} == sizes
    assert steps_on("auto", "cpu", 2**23) == 8 and steps_on("auto", "cpu", 1) == 10


def test_a_program_is_of_half_the_limit_at_least():
    # A divisor of the stretch between limit / 2 and the limit, else the limit.
    sizes = {(12, 5): 4, (13, 5): 5, (14, 5): 2, (3, 5): 3, (5, 5): 5, (1, 5): 1, (9, 1): 1}
    assert {key: dispatch_size(*key) for key in sizes} == sizes


def test_programs_end_at_evaluations_checkpoints_and_the_end():
    plan = made(checkpoint_every="10 steps", duration="23 steps", steps_per_dispatch=4)
    assert list(plan.dispatches(0)) == [
        (0, 3),
        (3, 3),
        (6, 4),
        (10, 2),
        (12, 3),
        (15, 3),
        (18, 2),
        (20, 3),
    ]
    assert list(plan.dispatches(23)) == []
    assert [step for step in range(1, 24) if plan.is_due(10, step)] == [10, 20, 23]


@pytest.mark.parametrize(
    "unfreeze,cuts",
    [
        (0, [(10, 2), (12, 2), (14, 2), (16, 2), (18, 2)]),
        (10, [(10, 2), (12, 2), (14, 2), (16, 2), (18, 2)]),
        (13, [(10, 3), (13, 4), (17, 3)]),
        (20, [(10, 2), (12, 2), (14, 2), (16, 2), (18, 2)]),
    ],
)
def test_no_program_reaches_past_the_step_at_which_layers_are_trained(unfreeze, cuts):
    plan = made(checkpoint_every="10 steps", duration="20 steps", steps_per_dispatch=4)
    plan = dataclasses.replace(plan, evaluate_every=10, unfreeze=unfreeze)
    assert list(plan.dispatches(10)) == cuts
    assert list(plan.dispatches(cuts[1][0])) == cuts[1:]
