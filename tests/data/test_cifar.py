"""CIFAR's archives as people have them: damaged ones are named, and no pickle runs code."""

import gzip
import pickle
import sys

import numpy as np
import pytest

from cnn_jax.data import cifar
from cnn_jax.errors import UserError
from tests.data.prepare import archive_files
from tests.data.prepare.preparing import pictures
from tests.data.test_data import load

NAMES = [f"class{i}" for i in range(10)]
pytestmark = pytest.mark.filterwarnings("ignore:.*as published")


@pytest.fixture
def binary(tmp_path):
    """The files of the binary version, unpacked."""
    images, labels = pictures(4)
    planes = images.transpose(0, 3, 1, 2).reshape(4, -1)
    records = np.concatenate([labels.astype(np.uint8)[:, None], planes], 1).tobytes()
    for file in cifar.FILES["cifar10"]["train"] + cifar.FILES["cifar10"]["test"]:
        (tmp_path / f"{file}.bin").write_bytes(records)
    (tmp_path / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return tmp_path


@pytest.mark.parametrize(
    "file,change,message",
    [
        ("data_batch_3.bin", lambda b: b"", "data_batch_3 has images of the shape .0, 3072."),
        ("data_batch_3.bin", lambda b: b[:-1], "cannot reshape"),
        ("test_batch.bin", lambda b: b"\x0a" + b[1:], "test has label 10, but there are 10"),
        ("batches.meta.txt", lambda b: b[:-12], "has the names of 9 classes, not of 10"),
        ("batches.meta.txt", lambda b: b"\xff" + b, "can't decode byte 0xff"),
    ],
)
def test_damage_that_shows_is_named(binary, file, change, message):
    (binary / file).write_bytes(change((binary / file).read_bytes()))
    with pytest.raises(UserError, match=message) as caught:
        load("cifar10", binary)
    assert str(binary) in str(caught.value) and "\n" not in str(caught.value)


def test_another_number_of_images_than_published_is_told(binary):
    with pytest.warns(UserWarning, match="test has 4 images; as published it has 10,000"):
        load("cifar10", binary)


@pytest.fixture
def batches(tmp_path):
    """A function that writes the Python version, unpacked, with another `test_batch`."""
    images, labels = pictures(4)
    batch = {b"data": images.transpose(0, 3, 1, 2).reshape(4, -1), b"labels": labels.tolist()}

    def write(test, protocol=2):
        for file in cifar.FILES["cifar10"]["train"]:
            (tmp_path / file).write_bytes(pickle.dumps(batch, protocol))
        meta = {b"label_names": [name.encode() for name in NAMES]}
        (tmp_path / "batches.meta").write_bytes(pickle.dumps(meta, protocol))
        test = test if isinstance(test, bytes) else pickle.dumps({**batch, **test}, protocol)
        (tmp_path / "test_batch").write_bytes(test)
        return tmp_path

    return write


class Named:
    """Pickled as a call of a function by its name."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "test,message",
    [
        ({b"labels": [0, 1, 2]}, "test_batch has images of the shape .4, 3072. and 3 labels"),
        ({b"labels": [0, 1, 2, 10]}, "test has label 10, but there are 10 classes"),
        ({b"labels": [0, 1, 2, -1]}, "test has label -1"),
        ({b"labels": [0, 1, 2, 2.5]}, "labels of test are float64"),
        ({b"data": np.zeros((4, 3072))}, "images of test are float64"),
        ({b"data": np.zeros((4, 3072), object)}, "images of test are object"),
        ({b"data": [[0] * 3072] * 4}, "cannot read"),
        (b"", "cannot read"),
        (pickle.dumps([1]), "cannot read"),
        (pickle.dumps({b"data": 1}), "has no b'labels'"),
        # The place of a value in pickle's memory, of which it makes as much: 32 GB.
        (b"\x80\x02]r\x00\x00\x00\x7f.", "it numbers a value 2130706432"),
        (pickle.dumps(Named(np.empty, 2**50)), "numpy.*, which no CIFAR file does"),
    ],
)
def test_a_pickle_of_something_else_is_named(batches, test, message):
    with pytest.raises(UserError, match=message) as caught:
        load("cifar10", batches(test))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickles_of_newer_protocols_are_read(batches, protocol):
    assert load("cifar10", batches({}, protocol)).splits["test"].labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("module", ["numpy.f2py.__main__", "numpy.core.multiarray", "_codecs"])
def test_a_pickle_imports_nothing(batches, module):
    sys.modules.pop("numpy.f2py.__main__", None)
    with pytest.raises(UserError, match=f"it contains {module}.dtype, which no CIFAR file does"):
        load("cifar10", batches(f"c{module}\ndtype\n.".encode()))
    assert "numpy.f2py.__main__" not in sys.modules


def test_a_pickle_decodes_bytes_as_latin_1_only(batches):
    with pytest.raises(UserError, match="bytes as 'idna', which no CIFAR file does"):
        load("cifar10", batches(b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x04\x00\x00\x00idnatR."))


def test_no_damaged_byte_of_an_archive_is_read_silently(tmp_path):
    images, labels = pictures(10)
    whole = tmp_path / "cifar-10-binary.tar.gz"
    archive_files.cifar_binary(whole, (images, labels), (images, labels), NAMES)
    content, expected = whole.read_bytes(), load("cifar10", whole).facts()
    # Of the last bytes are the checksum and the size, of the first the time and the file's name.
    rng = np.random.default_rng(0)
    for place in [*rng.integers(0, len(content), 60), *range(-8, 0)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        whole.write_bytes(damaged)
        try:
            assert load("cifar10", whole).facts() == expected
        except UserError as error:
            assert "\n" not in str(error)


def test_an_archive_that_was_unpacked_on_the_way_is_read(tmp_path):
    images, labels = pictures(10)
    whole = tmp_path / "cifar-10-binary.tar.gz"
    archive_files.cifar_binary(whole, (images, labels), (images, labels), NAMES)
    whole.write_bytes(gzip.decompress(whole.read_bytes()))
    assert (load("cifar10", whole).splits["test"].labels == labels).all()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_of_several_places_the_binary_archive_is_read_and_the_folder_itself_before_all(
    name, tmp_path
):
    places = [tmp_path / place for version in cifar.PLACES[name] for place in version]
    n = name.removeprefix("cifar")
    unpacked = {"10": "batches-bin batches-py", "100": "binary python"}[n].split()
    archives = [f"cifar-{n}-{version}.tar.gz" for version in ("binary", "python")]
    folders = [f"cifar-{n}-{folder}" for folder in unpacked]
    assert [place.name for place in places[::2]] == archives
    assert [place.name for place in places[1::2]] == folders
    for place in reversed(places):
        place.touch()
        assert cifar.find(name, tmp_path) == place
    assert cifar.find(name, places[2]) == places[2]
    test = {"cifar10": "test_batch", "cifar100": "test"}[name]
    (tmp_path / f"{test}.bin").touch()
    assert cifar.find(name, tmp_path) == tmp_path
    (tmp_path / f"{test}.bin").rename(tmp_path / test)
    assert cifar.find(name, tmp_path) == tmp_path
    for nowhere in (None, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=f"Download {places[0].name}"):
            cifar.find(name, nowhere)
