"""Every format of weights: what is damaged is told, what has a checksum never changes silently."""

import io
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from cnn_jax.errors import UserError
from cnn_jax.interop import convert, formats, read, torchvision, weights
from cnn_jax.models.cpu.xla import eval_shape

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float32)}


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def written(path):
    if path.suffix == ".npz":
        np.savez(path, **ARRAYS)
    elif path.suffix == ".ours":
        weights.save(path, {"params": ARRAYS}, {"torchvision": "none"})
    else:
        safetensors.numpy.save_file(ARRAYS, path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".ours"])
def test_no_flipped_bit_of_a_file_with_a_checksum_changes_an_array_silently(suffix, tmp_path):
    path = written(tmp_path / f"a{suffix}")
    content, expected = path.read_bytes(), formats.by_name(path)
    refused = 0
    for bit in range(0, 8 * len(content), 13):
        path.write_bytes(flipped(content, bit))
        try:
            found = formats.by_name(path)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
            continue
        values = [array.tobytes() for array in expected.values()]
        assert [array.tobytes() for array in found.values()] == values
    assert refused > 20


@pytest.mark.parametrize("suffix", [".npz", ".ours", ".safetensors"])
def test_a_file_that_is_cut_short_is_refused(suffix, tmp_path):
    path = written(tmp_path / f"a{suffix}")
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match="damaged or cut short|not a file of weights"):
            formats.by_name(path)


def npz(path, header):
    """An archive with one array, whose header is this text; its checksum is right."""
    member = io.BytesIO()
    member.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", member.getvalue())
    return path


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }\n",  # 4 TiB
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n",
        "{'descr': '<f4'\n",
        "{'descr': 'x', 'fortran_order': False, 'shape': (1,), }\n",
        "",
    ],
)
def test_a_header_that_cannot_be_is_one_line(header, tmp_path):
    with pytest.raises(UserError, match=r"a\.npz is damaged or cut short") as caught:
        formats.by_name(npz(tmp_path / "a.npz", header))
    assert "\n" not in str(caught.value)


def test_bytes_behind_an_array_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        member = io.BytesIO()
        np.save(member, np.zeros(2))
        archive.writestr("a.npy", member.getvalue() + b"more")
    with pytest.raises(UserError, match="a.npy has bytes left over"):
        formats.by_name(tmp_path / "a.npz")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MOST_BYTES", 100)
    with pytest.raises(UserError, match=r"it unpacks to .* bytes, more than 100"):
        formats.by_name(written(tmp_path / "a.npz"))


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_halves_of_safetensors_become_float32(dtype, tmp_path):
    safetensors.numpy.save_file({"a": ARRAYS["a"].astype(dtype)}, tmp_path / "a.safetensors")
    found = formats.by_name(tmp_path / "a.safetensors")["a"]
    np.testing.assert_array_equal(found, ARRAYS["a"], strict=True)


@pytest.mark.parametrize("length", [0x80, 0x4B50])
def test_a_header_as_long_as_others_magic_numbers_is_read(length, tmp_path):
    """Its length begins the file, and may begin as a pickle does, or as a zip archive, "PK"."""
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"a": ARRAYS["a"]}, path, {"": ""})
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + size].rstrip() + b" " * length
    path.write_bytes(length.to_bytes(8, "little") + header[:length] + content[8 + size :])
    np.testing.assert_array_equal(formats.by_name(path)["a"], ARRAYS["a"])


def test_a_member_that_hides_in_a_comment_is_missed(tmp_path):
    path = written(tmp_path / "a.npz")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 32] = 64  # the length of the comment
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged or cut short .*it lists 1 members, and says 2"):
        formats.by_name(path)


def test_arrays_without_numbers_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", names=np.array(["cat"]))
    with pytest.raises(UserError, match="names has no numbers, but values of type <U3"):
        formats.by_name(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "content,message",
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS: `git lfs pull`"),
        (b"<!DOCTYPE html>", "it is a page of the web"),
        (b"iota", "it begins with b'iota'"),
        (b"", "it is empty"),
    ],
)
def test_other_files_are_told_by_what_they_are(content, message, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=message):
        formats.by_name(tmp_path / "a.pth")


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"no file nowhere/b\.pth"):
        torchvision.read("nowhere/b.pth")


def state_of(name, classes=3):
    """A state dict of zeros, and its network."""
    model = torchvision.module(name, classes)
    shapes = eval_shape(model.init, jax.random.key(0), np.zeros((1, 224, 224, 3), np.float32))
    zeros = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)
    return torchvision.to_torch(name, zeros), model


@pytest.fixture(scope="module")
def resnet18():
    return state_of("resnet18")


@pytest.mark.parametrize("prefix", ["module.", "model.", "model.module.", "_orig_mod.", "net."])
def test_what_wrappers_put_before_names_is_taken_away(prefix, resnet18):
    state, _ = resnet18
    wrapped = {prefix + name: array for name, array in state.items()}
    assert formats.unwrapped(wrapped).keys() == state.keys()
    others = {"loss.weight": np.zeros(3), "accuracy.confusion": np.zeros((3, 3))}
    assert formats.unwrapped(wrapped | others).keys() == state.keys()


def test_names_that_nothing_wraps_stay(resnet18):
    inception = ["AuxLogits.fc.weight", "fc.weight", "Conv2d_1a_3x3.conv.weight"]
    for names in (resnet18[0], inception, ["features.0.weight"], ["weight"], ["a.fc.weight"] * 0):
        state = dict.fromkeys(names, np.zeros(1))
        assert formats.unwrapped(state).keys() == state.keys()
    twice = dict.fromkeys(["a.fc.weight", "b.fc.weight"], np.zeros(1))
    assert formats.unwrapped(twice).keys() == twice.keys()


def given(path, state):
    np.savez(path, **state)
    return path


def test_weights_of_another_network_are_named_with_the_options_that_fit(resnet18, tmp_path):
    path = given(tmp_path / "a.npz", {k: v for k, v in state_of("resnet34")[0].items()})
    with pytest.raises(
        UserError, match=r"a\.npz is not for .*; they are torchvision's of resnet \(depth=34,"
    ):
        read.variables(path, resnet18[1], (64, 64, 3))
    with pytest.raises(
        UserError, match=r"these are weights of torchvision's resnet \(depth=34, .*not"
    ):
        convert.convert("resnet18", path, tmp_path / "b.safetensors")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_without_a_classifier_say_so(prefix, resnet18, tmp_path):
    state, model = resnet18
    features = {f"{prefix}{k}": v for k, v in state.items() if not k.startswith("fc.")}
    with pytest.raises(UserError, match=r"a\.npz has no classifier"):
        read.variables(given(tmp_path / "a.npz", features), model, (64, 64, 3))


def test_variables_are_float32_whatever_the_file_has(resnet18, tmp_path):
    state, model = resnet18
    path = given(tmp_path / "a.npz", {k: np.float64(v) for k, v in state.items()})
    found = read.variables(path, model, (64, 64, 3))
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float32)}
