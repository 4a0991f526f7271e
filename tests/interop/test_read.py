"""Weights of any known file for a config's network; those of another one are told by name."""

from pathlib import Path

import flax.traverse_util
import jax
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.interop import read, torchvision, weights

MODEL = models.create("squeezenet", num_classes=3, version="1.1", weight_init="torchvision")
IMAGE = np.zeros((1, 64, 64, 3), np.float32)


@pytest.fixture(scope="module")
def variables():
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), IMAGE)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: rng.standard_normal(s.shape).astype(np.float32), shapes)


@pytest.fixture(scope="module")
def state(variables):
    return torchvision.to_torch("squeezenet1_1", variables)


def write(path, state):
    if path.suffix == ".npz":
        np.savez(path, **state)
    elif path.suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file(state, path)
    else:
        torch = pytest.importorskip("torch")
        torch.save({key: torch.from_numpy(array.copy()) for key, array in state.items()}, path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_arrays_by_torchvisions_names_become_variables(suffix, state, variables, tmp_path):
    found = read.variables(write(tmp_path / f"a{suffix}", state), MODEL, IMAGE.shape[1:])
    jax.tree.map(np.testing.assert_array_equal, found, variables)


@pytest.mark.parametrize("kind", ["parameters", "bfloat16"])
def test_parameters_and_halves_of_torch_become_float32(kind, state, variables, tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {key: torch.from_numpy(array.copy()) for key, array in state.items()}
    change = torch.nn.Parameter if kind == "parameters" else torch.Tensor.bfloat16
    torch.save({key: change(tensor) for key, tensor in tensors.items()}, tmp_path / "a.pth")
    found = read.variables(tmp_path / "a.pth", MODEL, IMAGE.shape[1:])
    tolerance = 0 if kind == "parameters" else 2**-8
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, tolerance), found, variables)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float32)}


def test_arrays_by_our_paths_are_taken_as_they_are(variables, tmp_path):
    weights.save(tmp_path / "a.safetensors", variables, {})
    np.savez(tmp_path / "a.npz", **flax.traverse_util.flatten_dict(variables, sep="/"))
    for name in ("a.safetensors", "a.npz"):
        found = read.variables(tmp_path / name, MODEL, IMAGE.shape[1:])
        jax.tree.map(np.testing.assert_array_equal, found, variables)


def test_another_number_of_classes_is_told_with_what_to_do(state, variables, tmp_path):
    other = models.create("squeezenet", num_classes=7, version="1.1")
    weights.save(tmp_path / "ours.safetensors", variables, {})
    for path in (write(tmp_path / "a.npz", state), tmp_path / "ours.safetensors"):
        with pytest.raises(UserError, match="has 3 classes and the data 7; .*class_list=FILE"):
            read.variables(path, other, IMAGE.shape[1:])


def test_wrong_keys_and_shapes_are_named(state, variables, tmp_path):
    without = {key: array for key, array in state.items() if key != "features.0.bias"}
    path = write(tmp_path / "a.npz", without)
    with pytest.raises(UserError, match=r"a\.npz: .*squeezenet: it lacks features.0.bias"):
        read.variables(path, MODEL, IMAGE.shape[1:])
    path = write(tmp_path / "a.npz", state | {"extra.weight": np.zeros(1)})
    with pytest.raises(UserError, match=r"a\.npz: .*squeezenet: it has no place for extra.weight"):
        read.variables(path, MODEL, IMAGE.shape[1:])
    path = write(tmp_path / "b.npz", state | {"features.0.bias": np.zeros(5)})
    with pytest.raises(UserError, match=r"it has features.0.bias \[5\], not \[64\]"):
        read.variables(path, MODEL, IMAGE.shape[1:])
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    flat["params/conv1/bias"] = np.zeros(5)
    del flat["params/fire2/squeeze1x1/bias"]
    path = write(tmp_path / "c.npz", flat)
    message = r"conv1/bias: \[5\], not \[64\]; params/fire2/squeeze1x1/bias: missing"
    with pytest.raises(UserError, match=message):
        read.variables(path, MODEL, IMAGE.shape[1:])


def test_layers_that_torchvision_does_not_have_are_named(state, tmp_path):
    path = write(tmp_path / "a.npz", state)
    complex_bypass = models.create("squeezenet", num_classes=3, version="1.1", bypass="complex")
    with pytest.raises(UserError, match="fire2/bypass/bias: missing.*they are torchvision's"):
        read.variables(path, complex_bypass, IMAGE.shape[1:])
    wide = models.create("wide_resnet", num_classes=3, depth=10, width=1)
    with pytest.raises(UserError, match="weights of squeezenet .*not of the WideResNet"):
        read.variables(path, wide, (32, 32, 3))


def test_files_that_are_something_else_are_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"a\.npz is not a file of weights: it begins with"):
        read.variables(tmp_path / "a.npz", MODEL, IMAGE.shape[1:])
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UserError, match=r"one\.npz .*: it holds one array, and no names"):
        read.variables(tmp_path / "one.npz", MODEL, IMAGE.shape[1:])
    both = {"params/conv1": np.zeros(1), "params/conv1/kernel": np.zeros(1)}
    with pytest.raises(UserError, match="has an array params/conv1 and others below it"):
        read.variables(write(tmp_path / "b.npz", both), MODEL, IMAGE.shape[1:])
    with pytest.raises(UserError, match=r"weights are in files .*, not a\.txt"):
        read.variables(Path("a.txt"), MODEL, IMAGE.shape[1:])
