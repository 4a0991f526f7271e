"""PyTorch's files as people bring them: wrapped, nested, old, whole, damaged; they run no code."""

import argparse
import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from cnn_jax.errors import UserError
from cnn_jax.interop import formats, torch_files

torch = pytest.importorskip("torch")

ARRAYS = {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "fc.bias": np.ones(2, "f4")}
TENSORS = {name: torch.from_numpy(array.copy()) for name, array in ARRAYS.items()}


def saved(path, content, old=False):
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


def same(found, expected=ARRAYS):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    return True


@pytest.fixture(params=[False, True], ids=["zip", "old"])
def save(request, tmp_path):
    return lambda content: saved(tmp_path / "a.pth", content, request.param)


@pytest.mark.parametrize(
    "name", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8"]
)
def test_every_type_of_numbers_is_that_of_torch(name, save):
    tensor = torch.arange(-3, 3).to(getattr(torch, name))
    found = formats.by_name(save({"a": tensor}))["a"]
    np.testing.assert_array_equal(found, np.arange(-3, 3))
    assert found.dtype == {"float16": "f4", "bfloat16": "f4"}.get(name, name)


def test_views_of_one_storage_are_those_of_torch(save):
    whole = torch.arange(24.0).reshape(4, 6)
    views = {"t": whole.t(), "row": whole[2], "part": whole[1:3, ::2], "one": whole[3, 5]}
    views |= {"none": whole[:0], "flag": torch.tensor([True, False])}
    assert same(formats.by_name(save(views)), {k: v.numpy() for k, v in views.items()})


class Config:
    """A class that only a training script knows."""

    def __init__(self):
        self.rate, self.rates = 0.1, [0.1, {1, 2}]


class Settings(dict):
    """Such a class that is a mapping."""


@pytest.mark.parametrize("name", ["state_dict", "model", "net", "model_state_dict", "resnet"])
def test_a_state_dict_beside_all_that_scripts_save_is_found(name, save):
    others = {
        "args": argparse.Namespace(rate=0.1),
        "config": Config(),
        "settings": Settings(a=1),
        "best_acc1": torch.tensor(76.1),
        "epoch": 90,
        "rng": np.random.default_rng(0),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
    }
    assert same(formats.by_name(save({**others, name: TENSORS})))
    assert same(formats.by_name(save({**others, "checkpoint": {name: TENSORS}})))


def test_values_beside_the_tensors_are_left_out(save):
    assert same(formats.by_name(save({**TENSORS, "epoch": 3, "args": argparse.Namespace()})))


def test_parameters_are_tensors(save):
    assert same(formats.by_name(save({k: torch.nn.Parameter(v) for k, v in TENSORS.items()})))
    linear = torch.nn.Linear(3, 2)
    state = {f"fc.{name}": value.detach().numpy() for name, value in linear.state_dict().items()}
    assert same(formats.by_name(save(torch.nn.ModuleDict({"fc": linear}).state_dict())), state)


@pytest.mark.parametrize("inside", [None, "model"])
def test_a_whole_network_says_how_to_save_its_weights(inside, save):
    linear = torch.nn.Linear(3, 2)
    path = save({inside: linear} if inside else linear)
    message = r"whole pickled network \(torch.nn.modules.linear.Linear\).*state_dict\(\), FILE\)"
    with pytest.raises(UserError, match=message):
        formats.by_name(path)


@pytest.mark.parametrize(
    "content,message",
    [
        ({"a": TENSORS, "b": dict(TENSORS)}, r"several state dicts \(a, b\): save the right one"),
        ({"epoch": 3}, "it has no state dict: it does not map names to arrays"),
        ([torch.ones(2)], "it has no state dict"),
    ],
)
def test_what_is_no_state_dict_is_told(content, message, save):
    with pytest.raises(UserError, match=message) as caught:
        formats.by_name(save(content))
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


class Attack:
    """Its pickle writes a file as soon as it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_that_a_file_names_is_run(save, tmp_path):
    path = save({"state_dict": TENSORS, "args": Attack(tmp_path / "mark")})
    assert same(formats.by_name(path)) and not (tmp_path / "mark").exists()
    path.write_bytes(pickle.dumps(Attack(tmp_path / "mark"), 2))
    with pytest.raises(UserError, match="a pickle, but none of PyTorch's"):
        formats.by_name(path)
    assert not (tmp_path / "mark").exists()


def test_each_flipped_bit_of_the_arrays_is_told_of_a_zip_archive(tmp_path):
    """PyTorch itself skips these checksums."""
    path = saved(tmp_path / "a.pth", TENSORS)
    content = path.read_bytes()
    start = content.index(ARRAYS["fc.weight"].tobytes())
    for place in range(start, start + 24):
        path.write_bytes(flipped(content, 8 * place + place % 8))
        with pytest.raises(UserError, match=r"a\.pth is damaged or cut short \(.*CRC-32"):
            formats.by_name(path)


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_one_line(seed, save):
    path, rng = save(TENSORS), np.random.default_rng(seed)
    content = path.read_bytes()
    for _ in range(40):
        path.write_bytes(flipped(content, rng.integers(8 * len(content))))
        if rng.random() < 0.3:
            path.write_bytes(content[: rng.integers(len(content))])
        try:
            formats.by_name(path)
        except UserError as error:
            assert "\n" not in str(error) and "a.pth" in str(error)


def test_a_value_kept_under_a_huge_number_is_refused_before_memory_is_taken():
    memo = b"\x80\x02}r\xff\xff\xff\x7f."  # LONG_BINPUT 2^31 - 1: 16 GB
    with pytest.raises(ValueError, match="value number 2147483647 after"):
        torch_files.checked(io.BytesIO(memo))


@pytest.mark.parametrize("shape", [(2**40, 2**20), (2, 4), (-1, 3)])
def test_a_tensor_beyond_its_storage_is_refused(shape):
    storage = torch_files.Storage("0", np.dtype("f4"), 6)
    tensor = torch_files.Tensor(storage, 0, shape, (0, 1))
    with pytest.raises(ValueError, match="of shape"):
        torch_files.view(tensor, np.zeros(6, "f4"))


def test_a_compressed_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
    with pytest.raises(UserError, match="a/data.pkl is compressed"):
        formats.by_name(tmp_path / "a.pth")
