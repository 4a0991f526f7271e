"""Learning rates are the papers', at and around every drop, as a compiled step computes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnn_jax
from cnn_jax import config as configs
from cnn_jax.errors import UserError
from cnn_jax.optim import schedules
from tests.conftest import ROOT

IMAGENET = 1_281_167


def schedule(**changes):
    settings = {
        "warmup": "0 steps",
        "warmup_shape": "constant",
        "warmup_rate": 0.01,
        "duration": "64000 steps",
        "steps_per_epoch": 390,
    }
    return schedules.create(**settings | changes)


def assert_rates(rate, golden):
    """`golden` is {step: rate}."""
    values = jax.jit(jax.vmap(rate))(jnp.array(list(golden)))
    np.testing.assert_allclose(values, list(golden.values()), rtol=1e-5)


def of_experiment(name, steps_per_epoch):
    """The schedule that the config of an experiment gives."""
    config = cnn_jax.load_config(str(ROOT / "experiments" / name))
    return configs.call(
        schedules.create,
        "learning_rate",
        config.learning_rate,
        duration=config.training.duration,
        steps_per_epoch=steps_per_epoch,
    )


def test_cifar_resnet_drops_at_32k_and_48k_steps():
    golden = {0: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 0.001, 63_999: 0.001}
    assert_rates(of_experiment("resnet/cifar10.py:20", 390), golden)


def test_cifar_resnet_of_110_layers_warms_up_for_400_steps():
    golden = {0: 0.01, 399: 0.01, 400: 0.1, 31_999: 0.1, 32_000: 0.01}
    assert_rates(of_experiment("resnet/cifar10.py:110", 390), golden)


def test_wide_resnet_drops_to_a_fifth_after_60_120_and_160_epochs():
    rate = of_experiment("wide_resnet/cifar.py:28-10", 390)
    golden = {0: 0.1, 60 * 390 - 1: 0.1, 60 * 390: 0.02, 120 * 390 - 1: 0.02}
    golden |= {120 * 390: 0.004, 160 * 390 - 1: 0.004, 160 * 390: 0.0008, 200 * 390 - 1: 0.0008}
    assert_rates(rate, golden)


def test_stochastic_depth_drops_after_half_and_three_quarters():
    drops = ["250 epochs", "375 epochs"]
    rate = schedule(schedule="step", rate=0.1, drops=drops, factor=0.1, duration="500 epochs")
    half, three_quarters, end = (int(500 * 390 * part) for part in (0.5, 0.75, 1))
    golden = {0: 0.1, half - 1: 0.1, half: 0.01, three_quarters - 1: 0.01}
    assert_rates(rate, golden | {three_quarters: 0.001, end - 1: 0.001})


def test_inception_falls_by_6_percent_every_two_epochs():
    epoch = IMAGENET // (50 * 32)
    rate = schedule(
        schedule="exponential",
        rate=0.045,
        factor=0.94,
        every="2 epochs",
        staircase=True,
        duration="100 epochs",
        steps_per_epoch=epoch,
    )
    before = {2 * epoch * k - 1: 0.045 * 0.94 ** (k - 1) for k in range(1, 51)}
    assert_rates(rate, before | {2 * epoch * k: 0.045 * 0.94**k for k in range(50)})


def test_a_stair_whose_quotient_falls_short_when_compiled_is_still_in_time():
    rate = schedule(schedule="exponential", rate=1.0, factor=0.5, every="41 steps", staircase=True)
    assert_rates(rate, {40: 1.0, 41: 0.5, 42: 0.5, 81: 0.5, 82: 0.25, 83: 0.25})


def test_an_exponential_without_stairs_falls_evenly():
    rate = schedule(
        schedule="exponential", rate=1.0, factor=0.25, every="100 steps", staircase=False
    )
    assert_rates(rate, {0: 1.0, 50: 0.5, 100: 0.25, 101: 0.25**1.01, 200: 0.0625})


SQUEEZENET = {"schedule": "polynomial", "rate": 0.04, "final_rate": 0.0, "duration": "170000 steps"}


def test_squeezenet_falls_along_a_line_to_zero():
    golden = {0: 0.04, 1: 0.04 * 169_999 / 170_000, 85_000: 0.02, 169_999: 0.04 / 170_000}
    assert_rates(schedule(**SQUEEZENET, power=1.0), golden | {170_000: 0.0, 180_000: 0.0})


def test_a_polynomial_of_another_power_ends_at_its_final_rate_and_is_never_nan():
    rate = schedule(schedule="polynomial", rate=0.1, final_rate=0.02, power=0.5, duration="7 steps")
    assert_rates(rate, {n: 0.02 + 0.08 * max(1 - n / 7, 0) ** 0.5 for n in range(10)})


def test_a_constant_rate_stays():
    assert_rates(schedule(schedule="constant", rate=0.3), {0: 0.3, 63_999: 0.3})


def test_cosine_is_half_a_cosine():
    rate = schedule(schedule="cosine", rate=0.2, final_rate=0.002, duration="400 steps")
    golden = {n: 0.002 + 0.099 * (1 + np.cos(np.pi * n / 400)) for n in (0, 1, 100, 200, 399, 400)}
    assert_rates(rate, golden)


@pytest.mark.parametrize("shape,strategy", [("linear", "linear"), ("cosine", "cos")])
def test_one_cycle_is_pytorchs(shape, strategy):
    torch = pytest.importorskip("torch")
    total, top = 50, 15
    rate = schedule(
        schedule="one_cycle",
        rate=0.4,
        start_rate=0.02,
        final_rate=0.001,
        rise=top / total,
        shape=shape,
        duration=f"{total} steps",
    )
    optimizer = torch.optim.SGD([torch.zeros(1)], 0.1)
    other = torch.optim.lr_scheduler.OneCycleLR(  # its peak and end are one step early
        optimizer,
        max_lr=0.4,
        total_steps=total + 1,
        pct_start=(top + 1) / (total + 1),
        anneal_strategy=strategy,
        div_factor=20.0,
        final_div_factor=20.0,
        cycle_momentum=False,
    )
    golden = {}
    for step in range(total):
        golden[step] = other.get_last_lr()[0]
        optimizer.step()
        other.step()
    assert golden[0] == pytest.approx(0.02) and golden[top] == pytest.approx(0.4)
    assert_rates(rate, golden | {total: 0.001, total + 5: 0.001})


OPTIONS = {
    "constant": {},
    "step": {"drops": ["20 steps"], "factor": 0.1},
    "exponential": {"factor": 0.5, "every": "20 steps", "staircase": True},
    "polynomial": {"final_rate": 0.0, "power": 1.0},
    "cosine": {"final_rate": 0.0},
    "one_cycle": {"start_rate": 0.1, "final_rate": 0.0, "rise": 0.3, "shape": "linear"},
    "plateau": {"factor": 0.1, "patience": 2, "threshold": 0.0, "min_rate": 0.0},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_schedule_runs_on_underneath_a_warmup(name):
    settings = {"schedule": name, "rate": 0.4, "duration": "100 steps", **OPTIONS[name]}
    plain = schedule(**settings)
    constant = schedule(**settings, warmup="10 steps")
    linear = schedule(**settings, warmup="10 steps", warmup_shape="linear")
    after = {n: float(plain(n)) for n in range(10, 100)}
    assert_rates(constant, {n: 0.01 for n in range(10)} | after)
    rising = {n: 0.01 + n / 10 * (float(plain(n)) - 0.01) for n in range(10)}
    assert_rates(linear, rising | after)


def test_a_field_of_another_schedule_is_refused_with_the_right_ones():
    with pytest.raises(UserError, match="unknown field .*'drops'.*rate, final_rate"):
        schedule(schedule="cosine", rate=0.1, final_rate=0.0, drops=[])


@pytest.mark.parametrize(
    "name,change,message",
    [
        ("constant", {"rate": 0.0}, "rate 0.0 is not a positive number"),
        ("step", {"factor": -0.1}, "factor -0.1 is not a positive number"),
        ("exponential", {"every": "0 epochs"}, "every is '0 epochs', which is no step at all"),
        ("polynomial", {"final_rate": -1.0}, "final_rate -1.0 is not zero or a positive number"),
        ("one_cycle", {"rise": 0.0}, "rise is 0.0, so step 0 of 100: the rate must rise and fall"),
        ("one_cycle", {"start_rate": 0.0}, "start_rate 0.0 is not a positive number"),
        ("one_cycle", {"shape": "linaer"}, "learning_rate.shape 'linaer' .did you mean 'linear'"),
        ("plateau", {"factor": 1.0}, "factor 1.0 is not between 0 and 1"),
        ("plateau", {"patience": 0}, "patience 0 is not a positive number"),
        ("plateau", {"min_rate": 0.5}, r"min_rate 0.5 is not in \[0, rate = 0.4\]"),
        ("cosnie", {}, "learning_rate.schedule 'cosnie' .did you mean 'cosine'"),
    ],
)
def test_a_number_or_name_that_cannot_be_is_refused(name, change, message):
    settings = {"schedule": name, "rate": 0.4, "duration": "100 steps", **OPTIONS.get(name, {})}
    with pytest.raises(UserError, match=message):
        schedule(**settings | change)


@pytest.mark.parametrize(
    "duration,steps",
    [("64000 steps", 64_000), ("64_000 steps", 64_000), ("1 epoch", 390), ("0.5 epochs", 195)],
)
def test_a_duration_is_steps_or_epochs(duration, steps):
    assert schedules.to_steps(duration, 390) == steps


@pytest.mark.parametrize("duration", ["10", "ten epochs", "5 hours", ""])
def test_a_duration_without_a_number_and_a_unit_is_refused(duration):
    with pytest.raises(UserError, match="write '64000 steps' or '10 epochs'"):
        schedules.to_steps(duration, 390)
