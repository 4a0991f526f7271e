"""Updates are those of the papers' frameworks, written out or in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.optim import optimizers
from cnn_jax.optim.schedules import LearningRate

MOMENTUM = {"name": "momentum", "momentum": 0.9, "nesterov": False, "rate_inside": False}
RMSPROP = {"name": "rmsprop", "momentum": 0.9, "square_decay": 0.9, "epsilon": 1.0}

# The fields that tell layers from each other, as most recipes have them.
ALIKE = {"freeze": (), "freeze_until": None, "rate_by_layer": (), "layer_decay": 1.0}
ALIKE["layers"] = None  # which are not asked for


def create(rates=(0.1,), **changes):
    """An optimizer whose rate is the next of `rates` at each step, and then the last."""
    settings = {"weight_decay": 0.0, "decay": "all", "clip_norm": None, "clips_decay": False}
    settings |= {"bias_rate": 1.0, **ALIKE}
    rates = jnp.array(rates)
    rate = LearningRate(lambda count: rates[jnp.minimum(count, len(rates) - 1)], plateau=None)
    return optimizers.create(**settings | changes, learning_rate=rate)


def trajectory(optimizer, params, gradients):
    """The parameters after each step, where `gradients` holds a gradient for each."""

    def step(carry, gradient):
        params, state = carry
        updates, state = optimizer.update(gradient, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), params

    carry = (params, optimizer.init(params))
    return jax.jit(lambda carry, xs: jax.lax.scan(step, carry, xs)[1])(carry, gradients)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("rate_inside", [False, True])
@pytest.mark.parametrize("decay", ["all", "kernels"])
def test_momentum_is_the_update_rule_written_out(nesterov, rate_inside, decay):
    rates = [0.1, 0.1, 0.01]
    changes = {"nesterov": nesterov, "rate_inside": rate_inside, "decay": decay}
    optimizer = create(rates, **MOMENTUM | changes, weight_decay=0.5)
    params = {"conv": {"kernel": jnp.array([1.0, -2.0])}, "bn": {"scale": jnp.array([3.0])}}
    expected = {"kernel": np.array([1.0, -2.0]), "scale": np.array([3.0])}
    velocity = {"kernel": 0.0, "scale": 0.0}
    state = optimizer.init(params)
    for rate in rates:
        gradients = jax.tree.map(jnp.cos, params)
        updates, state = optimizer.update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        for name, value in expected.items():
            decays = decay == "all" or name == "kernel"
            g = np.cos(value) + (0.5 * value if decays else 0)
            g = rate * g if rate_inside else g
            velocity[name] = 0.9 * velocity[name] + g
            step = g + 0.9 * velocity[name] if nesterov else velocity[name]
            expected[name] = value - (step if rate_inside else rate * step)
    np.testing.assert_allclose(params["conv"]["kernel"], expected["kernel"], rtol=1e-5)
    np.testing.assert_allclose(params["bn"]["scale"], expected["scale"], rtol=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_with_decay_is_pytorchs(nesterov):
    torch = pytest.importorskip("torch")
    steps, rates = 30, [0.1] * 10 + [0.02] * 10 + [0.004] * 10
    rng = np.random.default_rng(0)
    start = rng.normal(size=(3, 4)).astype(np.float32)
    gradients = rng.normal(size=(steps, 3, 4)).astype(np.float32)
    optimizer = create(rates, **MOMENTUM | {"nesterov": nesterov}, weight_decay=0.05)
    ours = trajectory(optimizer, {"kernel": start}, {"kernel": gradients})["kernel"]

    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    sgd = torch.optim.SGD([theirs], 0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.05)
    for rate, gradient, now in zip(rates, gradients, ours, strict=True):
        sgd.param_groups[0]["lr"] = rate
        theirs.grad = torch.from_numpy(gradient)
        sgd.step()
        np.testing.assert_allclose(now, theirs.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("epsilon,rate", [(1.0, 0.045), (1e-3, 0.01)])
def test_rmsprop_is_tensorflows_over_many_steps(epsilon, rate):
    steps, weight_decay = 300, 4e-5
    rng = np.random.default_rng(0)
    scales = np.geomspace(1e-3, 10, 8)  # small gradients show where epsilon stands
    start = rng.normal(size=8).astype(np.float32)
    gradients = (scales * rng.normal(size=(steps, 8))).astype(np.float32)
    rates = rate * 0.94 ** (np.arange(steps) // 20)
    optimizer = create(rates, **RMSPROP | {"epsilon": epsilon}, weight_decay=weight_decay)
    ours = trajectory(optimizer, {"kernel": start}, {"kernel": gradients})["kernel"]

    # tf.raw_ops.ApplyRMSProp, with tf.compat.v1.train.RMSPropOptimizer's initial values.
    variable, mean_square, mom = start.astype(np.float64), np.ones(8), np.zeros(8)
    for now, gradient, lr in zip(ours, gradients.astype(np.float64), rates, strict=True):
        gradient = gradient + weight_decay * variable
        mean_square += (gradient**2 - mean_square) * (1 - 0.9)
        mom = 0.9 * mom + lr * gradient / np.sqrt(mean_square + epsilon)
        variable = variable - mom
        np.testing.assert_allclose(now, variable, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", [MOMENTUM, RMSPROP])
def test_clipping_bounds_the_norm_of_all_gradients_together_before_the_decay(rule):
    params = {"a": {"kernel": jnp.array([1.0, 2.0])}, "b": {"kernel": jnp.array([3.0])}}
    long = {"a": {"kernel": jnp.array([[6.0, 0.0]])}, "b": {"kernel": jnp.array([[-8.0]])}}
    short = jax.tree.map(lambda g: g / 5, long)  # of norm 2
    clipped = trajectory(create(**rule, clip_norm=2.0, weight_decay=0.5), params, long)
    free = trajectory(create(**rule, weight_decay=0.5), params, short)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), clipped, free)
    below = trajectory(create(**rule, clip_norm=2.1, weight_decay=0.5), params, short)
    jax.tree.map(np.testing.assert_array_equal, below, free)


@pytest.mark.parametrize("decay", ["all", "kernels"])
def test_tensorflow_clips_the_gradient_of_the_loss_and_its_decay_together(decay):
    params = {"a": {"kernel": jnp.array([1.0, 2.0])}, "b": {"scale": jnp.array([3.0])}}
    gradient = jax.tree.map(lambda p: 5 * p, params)
    both = {name: leaf * 5.5 for name, leaf in {"a": params["a"]["kernel"]}.items()}
    both["b"] = params["b"]["scale"] * (5.5 if decay == "all" else 5)
    norm = np.sqrt(sum((array**2).sum() for array in both.values()))
    settings = {"weight_decay": 0.5, "decay": decay, "clip_norm": 2.0, "clips_decay": True}
    optimizer = create([1.0], **MOMENTUM | settings)
    update, _ = optimizer.update(gradient, optimizer.init(params), params)
    np.testing.assert_allclose(update["a"]["kernel"], -both["a"] * 2 / norm, rtol=1e-6)
    np.testing.assert_allclose(update["b"]["scale"], -both["b"] * 2 / norm, rtol=1e-6)


@pytest.mark.parametrize("rate_inside", [False, True])
def test_caffes_biases_learn_twice_as_fast_and_do_not_decay(rate_inside):
    rng = np.random.default_rng(0)
    values = {"kernel": rng.normal(size=2), "bias": rng.normal(size=2)}
    params = {"conv": jax.tree.map(jnp.float32, values), "bn": {"bias": jnp.ones(2)}}
    gradients = jax.tree.map(lambda p: rng.normal(size=(5, *p.shape)).astype(np.float32), params)
    rates = [0.1, 0.1, 0.01, 0.01, 0.01]
    rule = MOMENTUM | {"rate_inside": rate_inside, "decay": "kernels", "weight_decay": 0.5}
    ours = trajectory(create(rates, **rule, bias_rate=2.0), params, gradients)
    once = trajectory(create(rates, **rule), params, gradients)
    np.testing.assert_array_equal(ours["conv"]["kernel"], once["conv"]["kernel"])
    np.testing.assert_array_equal(ours["bn"]["bias"], once["bn"]["bias"])

    bias, velocity = values["bias"], 0.0
    for now, gradient, rate in zip(
        ours["conv"]["bias"], gradients["conv"]["bias"], rates, strict=True
    ):
        velocity = 0.9 * velocity + (2 * rate * gradient if rate_inside else gradient)
        bias = bias - (velocity if rate_inside else 2 * rate * velocity)
        np.testing.assert_allclose(now, bias, rtol=1e-4)


def test_kernels_and_biases_of_a_network_are_all_but_its_batch_norm():
    model = models.create(name="squeezenet", num_classes=10, **models.options("squeezenet"))
    key = jax.random.key(0)
    images = jnp.zeros((1, 64, 64, 3))
    params = jax.eval_shape(lambda: model.init(key, images, train=False))["params"]
    count = {f: sum(jax.tree.leaves(f(params))) for f in (optimizers.kernels, optimizers.biases)}
    assert count == {optimizers.kernels: 26, optimizers.biases: 26}
    assert len(jax.tree.leaves(params)) == 52


@pytest.mark.parametrize(
    "change,message",
    [
        ({"name": "rmsporp"}, "optimizer.name 'rmsporp' .did you mean 'rmsprop'"),
        ({"name": "rmsprop"}, "unknown field of config.optimizer .rmsprop. 'nesterov'"),
        ({"decay": "kernel"}, "optimizer.decay 'kernel' .did you mean 'kernels'"),
        ({"momentum": 1.0}, r"optimizer.momentum 1.0 is not in \[0, 1\)"),
        ({"clip_norm": 0.0}, "optimizer.clip_norm 0.0 is neither positive nor None"),
        ({"bias_rate": -1.0}, "optimizer.bias_rate -1.0 is not zero or a positive number"),
        ({"weight_decay": -1.0}, "optimizer.weight_decay -1.0 is not zero or a positive number"),
    ],
)
def test_a_number_or_name_that_cannot_be_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        create(**MOMENTUM | change)
