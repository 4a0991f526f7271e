"""What is counted of a step agrees with what compilers told, and what follows from it."""

import pytest

import cnn_jax
from cnn_jax.accelerators import costs, targets
from cnn_jax.errors import UserError
from tests.conftest import ROOT

BFLOAT16 = "model.dtype=bfloat16"


def job_of(target, file, *overrides):
    config = cnn_jax.load_config(str(ROOT / "experiments" / file), overrides)
    return costs.count(config, targets.parse(target))


@pytest.fixture(scope="module")
def resnet50():
    """ResNet-50 with 64 images on each of four H100."""
    return job_of("gpu:h100:4", "resnet/imagenet.py:50", BFLOAT16)


# Bytes of memory and of traffic as XLA's compiler for an H100 told them in November 2026.
@pytest.mark.parametrize(
    ("file", "memory", "traffic"),
    [
        ("resnet/imagenet.py:50", 10.99e9, 94.51e9),
        ("inception_v3/imagenet.py", 61.22e9, 619.3e9),
        ("wide_resnet/cifar.py", 1.82e9, 11.64e9),
        ("resnet/cifar10.py:20", 0.26e9, 0.89e9),
    ],
)
def test_counted_memory_is_that_of_compiled_programs_and_traffic_at_most_theirs(
    file, memory, traffic
):
    job = job_of("gpu:h100:1", file, BFLOAT16)
    found = costs.conclude(job, job.costs)
    assert found["memory_bytes"] == pytest.approx(memory, rel=0.13)
    assert 0.8 * traffic < found["bytes"] < traffic


def test_more_steps_a_program_take_the_memory_of_their_images(resnet50):
    name = "resnet/imagenet.py:50"
    job = job_of("gpu:h100:4", name, BFLOAT16, "training.steps_per_dispatch=auto")
    number = 2**26 // (256 * 224 * 224 * 3)  # as many as are 64 MiB
    more = (number - 1) * 224 * 224 * 3
    assert job.costs.image_memory - resnet50.costs.image_memory == more


def test_the_arithmetic_is_three_times_the_forward_pass_at_two_flop_each(resnet50):
    assert resnet50.costs.flops == 64 * 3 * 2 * resnet50.size.multiply_adds


def test_every_device_adds_up_the_gradient_in_float32(resnet50):
    assert resnet50.costs.all_reduced == 4 * resnet50.size.parameters


def test_sharded_parameters_leave_a_fourth_of_the_state_on_each_device(resnet50):
    sharded = job_of("gpu:h100:4", "resnet/imagenet.py:50", BFLOAT16, "parallel.params=sharded")
    state = 2 * 4 * resnet50.size.parameters  # parameters and momentum
    saved = resnet50.costs.fixed_memory - sharded.costs.fixed_memory
    assert saved == pytest.approx(3 / 4 * state, rel=0.01)


def test_the_largest_batch_fits_and_the_next_does_not(resnet50):
    found, limit = costs.largest_batch(resnet50, resnet50.costs), 0.75 * resnet50.target.chip.memory
    assert resnet50.unit == 32 and found % 32 == 0
    sizes = [resnet50.costs.memory(batch / 4) for batch in (found, found + 32)]
    assert sizes[0] <= limit < sizes[1]


def test_a_state_too_large_for_the_device_leaves_no_batch(resnet50):
    large = resnet50.costs._replace(fixed_memory=1e12)
    found = costs.conclude(resnet50, large)
    assert (found["largest_batch"], found["fits"]) == (0, False)


def test_two_compiled_programs_give_the_memory_of_any_batch(resnet50):
    told = {"flops": None, "bytes": 1e9, "all_reduced": 2e6, "kernels": 10, "cycles": 0}
    programs = [
        {"batch_size": 256, "memory": {"peak": 1e9 + 64 * 5e6}, **told},
        {"batch_size": 128, "memory": {"peak": 1e9 + 32 * 5e6}, **told},
    ]
    found = costs.told(resnet50, programs)
    assert (found.fixed_memory, found.image_memory) == (1e9, 5e6)
    assert found.flops == resnet50.costs.flops  # the compiler for GPUs tells none
    alone = costs.told(resnet50, programs[:1])
    assert alone.fixed_memory == pytest.approx(resnet50.costs.fixed_memory)
    assert alone.memory(64) == pytest.approx(found.memory(64))


@pytest.mark.parametrize("limit", ["flops", "bytes", "all_reduced", "kernels"])
def test_the_slowest_part_limits_the_speed(resnet50, limit):
    names = {"flops": "compute", "bytes": "memory", "all_reduced": "communication"}
    found = costs.conclude(resnet50, resnet50.costs._replace(**{limit: 1e18}))
    assert found["limit"] == names.get(limit, "launches")
    slowest = found["seconds"][found["limit"]]
    assert found["images_per_second"] == pytest.approx(256 / slowest)
    assert found["device_hours"] == pytest.approx(found["days"] * 24 * 4)


def test_the_cycles_of_a_tpu_are_time_where_its_clock_is_known():
    for target, seconds in (("tpu:v5e:1x1", 2.0), ("tpu:v6e:1x1", 0.0)):
        job = job_of(target, "quickstart.py")
        assert costs.bounds(job, job.costs._replace(cycles=3e9))["cycles"] == seconds


def test_the_duration_is_that_of_all_steps_and_evaluations(resnet50):
    found = costs.conclude(resnet50, resnet50.costs)
    training = resnet50.size.steps * 256 / found["images_per_second"] / 86400
    assert training < found["days"] < 1.1 * training


@pytest.mark.parametrize(
    ("target", "overrides", "message"),
    [
        ("gpu:h100:3", [], "does not divide by 3 devices"),
        ("gpu:h100:1", ["training.batch_size=250"], "take a multiple of 32"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(target, overrides, message):
    with pytest.raises(UserError, match=message):
        job_of(target, "resnet/imagenet.py:50", *overrides)
