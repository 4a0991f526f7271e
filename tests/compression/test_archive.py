"""The file of a compressed network gives back what was written, and survives what is damaged."""

import resource

import numpy as np
import pytest

from cnn_jax.compression import archive
from cnn_jax.errors import UserError

ABOUT = {"config": {"model": {"name": "squeezenet"}}, "class_names": ["ä cat", "a dog"]}


def arrays(seed, density=0.3):
    generator = np.random.default_rng(seed)

    def symbols(*shape):
        return generator.integers(-9, 10, shape) * (generator.random(shape) < density)

    weights = generator.standard_normal((3, 3, 5, 4)).astype(np.float32)
    return {
        "params/conv/kernel": archive.Steps(symbols(3, 3, 8, 16), np.float32(0.1)),
        "params/conv/bias": archive.Steps(symbols(16), np.float32(1e-3)),
        "params/shared/kernel": archive.codebook(np.round(weights, 1)),
        "params/shared/bias": generator.standard_normal(4).astype(np.float32),
        "params/dense/kernel": archive.Steps(symbols(16, 10), np.float32(3.0)),
        "params/one/kernel": archive.codebook(np.float32([[-2.5]])),
        "params/empty/kernel": archive.codebook(np.zeros((4, 4), np.float32)),
        "params/none/kernel": archive.codebook(np.zeros((0, 4), np.float32)),
        "batch_stats/norm/mean": generator.standard_normal(7).astype(np.float16),
        "batch_stats/norm/count": np.float32(3),
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_read_gives_what_write_was_given(tmp_path, seed, density):
    before = arrays(seed, density)
    size = archive.write(tmp_path / "a.cnn", before, ABOUT)
    assert size == (tmp_path / "a.cnn").stat().st_size and archive.is_archive(tmp_path / "a.cnn")
    found = archive.read(tmp_path / "a.cnn")
    assert found.about == ABOUT and list(found.arrays) == list(before)
    assert [p.name for p in tmp_path.iterdir()] == ["a.cnn"]
    for name, array in before.items():
        collection, module, leaf = name.split("/")
        values = found.variables[collection][module][leaf]
        coded = isinstance(array, archive.Steps | archive.Codebook)
        expected = array.values() if coded else np.float32(array)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, expected, strict=True)


def test_a_codebook_is_exact_and_knows_its_zero():
    values = np.float32([[0, -1.5], [np.pi, 0]])
    shared = archive.codebook(values)
    np.testing.assert_array_equal(shared.values(), values)
    np.testing.assert_array_equal(shared.symbols, [[0, -1], [1, 0]])


def test_files_of_what_was_read_are_the_same_bytes(tmp_path):
    archive.write(tmp_path / "a", arrays(0), ABOUT)
    found = archive.read(tmp_path / "a")
    archive.write(tmp_path / "b", found.arrays, found.about)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "is no compressed network"),
        (lambda data: b"\x89PNG\r\n\x1a\n" + data[8:], "is no compressed network"),
        (lambda data: data[:7] + b"\x07" + data[8:], "is of version 7; this code reads version 1"),
        (lambda data: data[:10], "cut short"),
        (lambda data: data[:-1], "cut short"),
        (lambda data: data + b"\0", "damaged"),
        (lambda data: data[:99] + bytes([data[99] ^ 1]) + data[100:], "its checksum is wrong"),
    ],
)
def test_a_file_that_is_foreign_or_not_whole_is_refused_by_name(tmp_path, damage, message):
    archive.write(tmp_path / "a.cnn", arrays(0), ABOUT)
    (tmp_path / "a.cnn").write_bytes(damage((tmp_path / "a.cnn").read_bytes()))
    with pytest.raises(UserError, match=rf"a\.cnn.*{message}") as caught:
        archive.read(tmp_path / "a.cnn")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match="cannot read"):
            archive.read(path)
        assert not archive.is_archive(path)


def mutations(data, count):
    """Bodies with bytes changed, taken out, put in or cut off, mostly near the beginning."""
    generator = np.random.default_rng(0)
    for _ in range(count):
        body = bytearray(data[16:])
        for _ in range(int(generator.integers(1, 4))):
            at = int(len(body) * generator.random() ** 3)
            kind = generator.integers(4)
            if kind == 0 and at < len(body):
                body[at] = int(generator.integers(256))
            elif kind == 1:
                del body[at : at + int(generator.integers(1, 9))]
            elif kind == 2:
                body[at:at] = generator.bytes(int(generator.integers(1, 9)))
            else:
                del body[max(at, 1) :]
        yield bytes(body)


def test_hundreds_of_random_mutations_are_errors_of_one_line_in_bounded_memory(tmp_path):
    """Without the checksum's help: it is made right again after each mutation."""
    path = tmp_path / "a.cnn"
    archive.write(path, arrays(0), ABOUT)
    data = path.read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for body in mutations(data, 600):
        path.write_bytes(data[:8] + archive._checksum(body) + body)
        try:
            assert archive.read(path).variables.keys() <= {"params", "batch_stats"}
        except UserError as error:
            assert "a.cnn is damaged: " in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 300
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def header(text):
    import struct
    import zlib

    packed = zlib.compress(text.encode())
    body = struct.pack("<I", len(packed)) + packed + archive._planes([]) + b"\0"
    return archive.MAGIC + archive._checksum(body) + body


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "list indices"),
        ('{"about":{},"arrays":[["a",[-1],"step"]]}', "of shape"),
        ('{"about":{},"arrays":[["a",[1e9],"step"]]}', "of shape"),
        ('{"about":{},"arrays":[["a",[99999999,99],"step"]]}', "more than 268,435,456 values"),
        ('{"about":{},"arrays":[["a",[9],"int7"]]}', "coding 'int7'"),
        ('{"about":{},"arrays":[["a",[9],"codebook",10,0]]}', "codebook of 10 values"),
        ('{"about":{},"arrays":[["a",[9],"float32"]]}', "has 0 float values instead of 9"),
        ('{"about":{},"arrays":[["a",[0],"float32"],["a",[0],"float32"]]}', "twice"),
        (
            '{"about":{},"arrays":[["a",[0],"float32"],["a/b",[0],"float32"]]}',
            "inside another array",
        ),
        ("[" * 100_000, "recursion"),
        ('{"about":{},"arrays":' + " " * 2**25 + "[]}", "header is not complete"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, text, message):
    (tmp_path / "a").write_bytes(header(text))
    with pytest.raises(UserError, match=message):
        archive.read(tmp_path / "a")
