"""A step of fine-tuning is torchvision's, with a new classifier, frozen layers and their norms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from cnn_jax.cluster.join import Alone
from cnn_jax.interop import torchvision
from cnn_jax.optim import by_layer, losses, optimizers
from cnn_jax.optim.schedules import LearningRate
from cnn_jax.runs import pretrained, transfer
from cnn_jax.training import compiler, steps
from cnn_jax.training.steps import Batch

RATE, DECAY, CLASSES = 0.01, 1e-4, 5
LABELS = [1, 0, 4, 3]
FROZEN = ("conv1", "bn1", "conv2")
OF_TORCH = ("conv1", "bn1", "layer1")


def images():
    return np.random.default_rng(0).standard_normal((4, 40, 40, 3))


def step_of_torch(torch, made):
    """Changes the network by a step of SGD in which its first layers are frozen."""
    made.train()
    for name in OF_TORCH:
        part = getattr(made, name).eval()
        part.requires_grad_(False)
    trained = [parameter for parameter in made.parameters() if parameter.requires_grad]
    sgd = torch.optim.SGD(trained, RATE, momentum=0.9, nesterov=True, weight_decay=DECAY)
    logits = made(torch.from_numpy(images().transpose(0, 3, 1, 2).copy()))
    torch.nn.functional.cross_entropy(logits, torch.tensor(LABELS)).backward()
    sgd.step()


def our_step(model, file):
    """The state before and after a step that starts from a file."""
    layers = by_layer.layers_of(model, (40, 40, 3))
    rate = LearningRate(lambda step: RATE, None)
    rule = {"name": "momentum", "momentum": 0.9, "nesterov": True, "rate_inside": False}
    rule |= {"weight_decay": DECAY, "decay": "all", "clip_norm": None, "clips_decay": False}
    rule |= {"bias_rate": 1.0, "freeze": FROZEN, "freeze_until": None}
    rule |= {"rate_by_layer": (), "layer_decay": 1.0}
    optimizer = optimizers.create(**rule, learning_rate=rate, layers=lambda: layers)
    frozen = layers.chosen(FROZEN, "optimizer.freeze")
    (phase,) = by_layer.phases(model, optimizer, frozen, 0)
    loss = losses.create(label_smoothing=0.0, auxiliary_weight=0.0)
    step = steps.make_train_step(*phase, rate, loss, lambda key, images, index: images)
    create = functools.partial(steps.create_state, model, optimizer, (40, 40, 3), False, 0)
    empty = jax.eval_shape(create)
    state = jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype)), empty)
    fc = state.params["fc"]
    drawn = np.random.default_rng(1).normal(0, 0.02, fc["kernel"].shape)
    fc["kernel"] = jnp.asarray(drawn, jnp.float32)
    found = transfer.transfer(pretrained.weights(str(file))[0], ["*"], layers, "file")
    assert found.new == ("fc",)
    state = transfer.with_weights(state, found.variables, Alone())
    state = jax.tree.map(lambda a: np.float64(a) if a.dtype == jnp.float32 else a, state)
    batch = Batch(jnp.asarray(images()), jnp.asarray(LABELS), jnp.arange(4))
    return state, compiler.jit(step)(state, batch)[0]


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_a_step_of_fine_tuning_gives_the_parameters_of_torch(
    name, network, arrays, torch, tmp_path
):
    """In float64 on both sides: gradients of deep networks in float32 differ by machine."""
    made = network(name)
    np.savez(tmp_path / "trained.npz", **arrays(made))
    model = torchvision.module(name, CLASSES, dtype="float64")
    with jax.enable_x64(True):
        before, after = our_step(model, tmp_path / "trained.npz")
        before, after = jax.device_get((before.variables, after.variables))
    made.fc = torch.nn.Linear(made.fc.in_features, CLASSES)
    start = torchvision.to_torch(name, before)
    made.double().load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in start.items()})
    step_of_torch(torch, made)
    expected = flatten_dict(torchvision.to_flax(name, arrays(made)))
    ours, start = flatten_dict(after), flatten_dict(before)
    for path, array in expected.items():
        np.testing.assert_allclose(ours[path], array, rtol=1e-9, atol=1e-9, err_msg=str(path))
    still = {path for path in ours if ours[path].tobytes() == start[path].tobytes()}
    assert {path[1] for path in still} == set(FROZEN) and still >= {
        path for path in ours if path[1] in FROZEN
    }
