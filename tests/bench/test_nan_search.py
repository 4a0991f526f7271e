"""The layer is named in which the first number arises that is not finite."""

import functools
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

from cnn_jax.bench import nan_search
from cnn_jax.errors import UserError
from cnn_jax.models.layers import BatchNorm
from cnn_jax.models.residual_units import Stage
from cnn_jax.optim import by_layer, losses, schedules
from cnn_jax.training import compiler, steps
from tests.conftest import DENSE, launch_here


@jax.custom_vjp
def breaks_gradient(x):
    return x


breaks_gradient.defvjp(lambda x: (x, None), lambda _, dy: (dy * jnp.nan,))


class Breaks(nn.Module):
    """A layer that is made to fail in one way."""

    how: str = ""
    stride: int = 1

    @nn.compact
    def __call__(self, x, train=True):
        x = nn.Dense(4)(x)
        if self.how == "forward":
            x = jnp.log(-1 - x**2)
        return breaks_gradient(x) if self.how == "backward" else x


class Net(nn.Module):
    how: str = ""
    count: int = 1  # of blocks; of nine and more all but the first are one `lax.scan`

    @nn.compact
    def __call__(self, images, train):
        x = nn.Dense(4, name="first")(images.reshape(len(images), -1))
        x = Stage(Breaks, self.count, 1, False, name="stage")(x, train)
        x = Breaks(self.how, name="middle")(x)
        return nn.Dense(3, name="last")(x)


def setup_of(model, rate=0.1, frozen=()):
    """What the search needs of a setup, and a state; of two steps with a batch of four."""
    images = jnp.ones((4, 2, 2, 1))
    learning_rate = schedules.LearningRate(lambda step: rate, None)
    optimizer = optax.sgd(rate)
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=0.0)
    phases = by_layer.phases(
        model, by_layer.leave_out(optimizer, frozenset(frozen)), frozenset(frozen), 0
    )
    step = steps.make_train_step(*phases[0], learning_rate, loss, lambda k, x, i: x)
    data = types.SimpleNamespace(
        batch=lambda taken, color_jitter: steps.Batch(images, taken % 3, taken),
        counts=lambda taken: {},
    )
    train_steps = steps.scan_steps(step, lambda k, x, i: x)
    parts = types.SimpleNamespace(
        model=model,
        phases=phases,
        loss=loss,
        augment=lambda k, x, i: x,
        color_jitter=lambda k, x, i: x,
        jit=compiler.Jit(with_precision=compiler.precision(matmul="default")),
    )
    compiled = compiler.jit(lambda state, examples: train_steps(state, data, examples), once=True)
    seeds = types.SimpleNamespace(
        numbers=(0,), train_steps=lambda state, _, examples: compiled(state, examples)
    )
    examples = jnp.arange(8).reshape(2, 4)
    inputs = types.SimpleNamespace(take=lambda *_: (data, examples))
    plan = types.SimpleNamespace(microbatches=1, unfreeze=0)
    setup = types.SimpleNamespace(parts=parts, seeds=seeds, inputs=inputs, plan=plan)
    setup.programs = lambda step: seeds
    create = functools.partial(steps.create_state, model, phases[0][1], (2, 2, 1), False, 0)
    return setup, compiler.jit(create, once=True)()


def found(setup, state):
    with pytest.raises(UserError) as caught:
        nan_search.searching(setup)(state, 0, 2)
    assert caught.value.exit_code == 3 and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_layer_whose_output_is_nan_is_named():
    told = found(*setup_of(Net("forward")))
    assert told.startswith("step 1 is not finite; it begins in the output of middle, whose param")


def test_a_layer_whose_gradient_is_nan_is_named_and_not_those_before_it():
    told = found(*setup_of(Net("backward")))
    assert "step 1 is not finite; it begins in the gradient of middle/Dense_0/" in told


def test_a_parameter_that_is_infinite_is_named():
    setup, state = setup_of(Net())
    state.params["last"]["kernel"] = state.params["last"]["kernel"].at[0, 0].set(jnp.inf)
    assert "step 1 is not finite; it begins in the parameter last/kernel" in found(setup, state)


def test_a_rate_that_is_too_high_is_seen_in_the_step_and_the_layer_that_overflow():
    told = found(*setup_of(Net(), rate=1e25))
    assert told.startswith("step 2 is not finite; it begins in the output of stage/block1/Dense_0")
    assert "whose parameters reach" in told


def test_a_layer_within_a_repeated_stage_is_named():
    setup, state = setup_of(Net(count=9))
    kernel = state.params["stage"]["blocks"]["Dense_0"]["kernel"]  # of eight blocks
    state.params["stage"]["blocks"]["Dense_0"]["kernel"] = kernel.at[4].set(3e38)
    assert "the output of stage/blocks/Dense_0, time 5" in found(setup, state)


class WithNorm(nn.Module):
    @nn.compact
    def __call__(self, images, train):
        x = nn.Dense(4, name="first")(images.reshape(len(images), -1))
        return nn.Dense(3, name="last")(BatchNorm(name="norm")(x, train=train))


def test_a_frozen_batch_norm_is_searched_with_its_running_statistics():
    setup, state = setup_of(WithNorm(), frozen=["norm"])
    state.batch_stats["norm"]["mean"] = state.batch_stats["norm"]["mean"].at[0].set(jnp.inf)
    assert "it begins in the output of norm" in found(setup, state)


def test_a_gradient_of_frozen_layers_that_nothing_takes_is_not_named():
    before = ["first", "middle/Dense_0", "stage/block1/Dense_0"]
    assert "it begins in the output of last" in found(*setup_of(Net("backward"), 1e38, before))


def test_steps_that_are_finite_are_as_without_a_search():
    setup, state = setup_of(Net())
    after, _ = nan_search.searching(setup)(state, 0, 2)
    expected, _ = setup.seeds.train_steps(state, None, jnp.arange(8).reshape(2, 4))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), after, expected))


def test_several_seeds_are_not_searched():
    setup = types.SimpleNamespace(seeds=types.SimpleNamespace(numbers=(0, 1)))
    with pytest.raises(UserError, match="--debug_nans is for one seed"):
        nan_search.searching(setup)


def test_a_run_ends_with_the_layer_and_code_3(tmp_path):
    stretch = ("training.duration", "training.checkpoint_every", "evaluation.every")
    fields = [*(f"{field}=2 steps" for field in stretch), "training.steps_per_dispatch=1"]
    fields = [*DENSE, *fields, "learning_rate.rate=1e30"]
    command = ["train", *(f"--config.{field}" for field in fields)]
    done = launch_here(*command, f"--workdir={tmp_path / 'run'}", "--debug_nans")
    assert done.returncode == 3
    assert done.stderr.startswith("error: step 2 is not finite; it begins in the output of ")
    assert '"diverged"' in (tmp_path / "run" / "status.json").read_text()
