"""Programs of several steps end where something is due, wherever the run goes on from."""

import dataclasses

import pytest

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
