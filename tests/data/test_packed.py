"""What is packed has checksums, which are compared, and a size, which is limited."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import numpy as np
import pytest

from cnn_jax.data import packed
from cnn_jax.errors import UserError


def tar_of(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"folder/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_is_read_however_it_is_packed(tmp_path, pack):
    (tmp_path / "x.tar.gz").write_bytes(pack(tar_of(a=b"1", b=b"22")))
    assert dict(packed.read_tar(tmp_path / "x.tar.gz")) == {"folder/a": b"1", "folder/b": b"22"}


def test_the_checksum_at_the_end_of_a_packed_tar_is_compared(tmp_path):
    # Stored without compression, where no other part of gzip notices a changed byte.
    content = bytearray(gzip.compress(tar_of(a=b"pixels" * 100), 0))
    content[content.index(b"pixels") + 50] ^= 1
    (tmp_path / "x.tar.gz").write_bytes(content)
    with pytest.raises(gzip.BadGzipFile, match="CRC"):
        dict(packed.read_tar(tmp_path / "x.tar.gz"))


def test_a_packed_file_that_becomes_too_large_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "x.gz"
    file.write_bytes(gzip.compress(bytes(10**6)))
    assert len(packed.read_bytes(file)) == 10**6
    monkeypatch.setenv("CNN_JAX_MAX_UNPACKED", "999999")
    for read in (packed.read_bytes, lambda path: dict(packed.read_tar(path))):
        with pytest.raises(packed.Damaged, match="more than 999,999 bytes; CNN_JAX_MAX_UNPACKED"):
            read(file)


def test_a_sparse_file_in_a_tar_which_may_be_of_any_size_is_left_out(tmp_path):
    info = tarfile.TarInfo("sparse")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    (tmp_path / "x.tar").write_bytes(bytes(header) + tar_of(a=b"1"))
    assert dict(packed.read_tar(tmp_path / "x.tar")) == {"folder/a": b"1"}


def test_arrays_are_read_as_they_were_written(tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.float32([[1], [2]]).T, "c": np.array("x")}
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "x.npz", **arrays)
        found = packed.read_arrays(tmp_path / "x.npz")
        assert list(found) == list(arrays)
        assert all((found[name] == arrays[name]).all() for name in arrays)


def npz(path, header, content, kind=zipfile.ZIP_STORED):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, header)
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr("a.npy", out.getvalue() + content)
    return path


@pytest.mark.parametrize("shape", [(2**40,), (2**40, 2**40), (3,), (5,), (-4,), (2, -2)])
def test_an_array_of_another_size_than_its_header_tells_is_refused(tmp_path, shape):
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with pytest.raises(packed.Damaged, match=r"a\.npy is not of the size that its header tells"):
        packed.read_arrays(npz(tmp_path / "x.npz", header, bytes(16)))


def test_an_array_of_python_objects_is_refused(tmp_path):
    header = {"descr": "|O", "fortran_order": False, "shape": (2,)}
    with pytest.raises(packed.Damaged):
        packed.read_arrays(npz(tmp_path / "x.npz", header, bytes(16)))


def test_a_small_file_of_large_arrays_is_refused_unless_it_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "UNPACKED", 2**16)
    header = {"descr": "|u1", "fortran_order": False, "shape": (2**20,)}
    path = npz(tmp_path / "x.npz", header, bytes(2**20), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20 / packed.RATIO
    with pytest.raises(packed.Damaged, match="CNN_JAX_MAX_UNPACKED=BYTES"):
        packed.read_arrays(path)
    monkeypatch.setenv("CNN_JAX_MAX_UNPACKED", str(2**21))
    assert packed.read_arrays(path)["a"].nbytes == 2**20


def test_no_damaged_byte_of_arrays_is_read_silently(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(20.0), b=np.arange(6))
    whole, rng = (tmp_path / "x.npz").read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(whole)
        content[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        (tmp_path / "y.npz").write_bytes(content)
        try:
            found = packed.read_arrays(tmp_path / "y.npz")
        except packed.Damaged:
            continue
        assert set(found) == {"a", "b"} and (found["a"] == np.arange(20)).all()


@pytest.mark.parametrize("size,is_read", [(0, True), (5, True), (6, False)])
def test_a_file_becomes_as_large_as_is_allowed_and_not_a_byte_larger(
    size, is_read, tmp_path, monkeypatch
):
    monkeypatch.setenv("CNN_JAX_MAX_UNPACKED", "5")
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(size)))
    if is_read:
        assert packed.read_bytes(tmp_path / "a.gz") == bytes(size)
    else:
        with pytest.raises(packed.Damaged, match="more than 5 bytes"):
            packed.read_bytes(tmp_path / "a.gz")


def test_a_file_may_become_a_hundred_times_larger_or_have_64_mebibytes(monkeypatch):
    monkeypatch.delenv("CNN_JAX_MAX_UNPACKED", raising=False)
    sizes = {0: 67_108_864, 671_088: 67_108_864, 671_089: 67_108_900, 10**9: 10**11}
    assert {size: packed.most_bytes(size) for size in sizes} == sizes
    monkeypatch.setenv("CNN_JAX_MAX_UNPACKED", "7")
    assert packed.most_bytes(10**9) == 7
    monkeypatch.setenv("CNN_JAX_MAX_UNPACKED", "7 GB")
    with pytest.raises(UserError, match="CNN_JAX_MAX_UNPACKED is '7 GB': it is a number"):
        packed.most_bytes(0)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_headers_of_both_versions_are_read(version, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as members, members.open("a.npy", "w") as file:
        np.lib.format.write_array(file, np.arange(6).reshape(2, 3), version)
    assert packed.read_arrays(tmp_path / "a.npz")["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
