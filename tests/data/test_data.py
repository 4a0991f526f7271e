"""The data sets are read as they are, and what is wrong with one is said in a line."""

import gzip
import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from cnn_jax import data
from cnn_jax.errors import UserError


def load(name, path=None, image_size=None, validation_size=0):
    return data.load(
        name,
        path=path and str(path),
        image_size=image_size,
        validation_size=validation_size,
        split_seed=0,
    )


@pytest.fixture
def folder(tmp_path):
    """Three classes, four images each in train and two in test, 6x5 pixels."""
    rng = np.random.default_rng(0)
    for split, count in [("train", 4), ("test", 2)]:
        for label, name in enumerate(["ape", "bee", "cow"]):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 80, (5, 6, 3), np.uint8) + np.uint8(80 * label)
                Image.fromarray(pixels).save(tmp_path / "set" / split / name / f"{i}.png")
    return tmp_path / "set"


def test_digits_are_1797_real_images_in_three_distinct_stratified_splits():
    splits = load("digits").splits
    assert {name: len(split.labels) for name, split in splits.items()} == {
        "train": 1257,
        "validation": 180,
        "test": 360,
    }
    rows = np.concatenate([s.images.reshape(len(s.labels), -1) for s in splits.values()])
    assert rows.max() == 255 and len(np.unique(rows, axis=0)) == 1797
    assert set(np.bincount(splits["test"].labels)) <= {35, 36, 37}


def test_digits_refuse_a_path_and_an_image_size():
    with pytest.raises(UserError, match="take no data.path"):
        load("digits", "somewhere")
    with pytest.raises(UserError, match="data.image_size 16 with digits"):
        load("digits", image_size=16)


def test_digits_refuse_a_second_validation_split():
    with pytest.raises(UserError, match="has a validation split of its own"):
        load("digits", validation_size=100)


def test_a_folder_gives_its_pixels_and_its_classes_in_alphabetical_order(folder):
    dataset = load("folder", folder)
    assert dataset.class_names == ("ape", "bee", "cow")
    assert dataset.splits["train"].images.shape == (12, 5, 6, 3)
    for split in dataset.splits.values():
        assert (split.images.reshape(len(split.labels), -1).min(1) // 80 == split.labels).all()


def test_a_folder_is_decoded_once_and_again_when_it_has_changed(folder, monkeypatch):
    first = load("folder", folder).splits["train"].images
    monkeypatch.setattr("cnn_jax.data.folder.decode", None)
    assert (load("folder", folder).splits["train"].images == first).all()
    monkeypatch.undo()
    Image.new("RGB", (6, 5), "white").save(folder / "train" / "ape" / "0.png")
    assert (load("folder", folder).splits["train"].images[0] == 255).all()


def test_a_damaged_cache_is_read_anew(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("CNN_JAX_CACHE", str(tmp_path / "cache"))
    first = load("folder", folder).splits["train"].images
    (file,) = (tmp_path / "cache" / "folders").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert (load("folder", folder).splits["train"].images == first).all()


def test_image_size_brings_a_folder_of_many_sizes_to_one(folder):
    Image.new("RGB", (40, 20)).save(folder / "train" / "ape" / "0.png")
    with pytest.raises(UserError, match="40x20: bring all .*data.image_size"):
        load("folder", folder)
    assert load("folder", folder, image_size=4).image_shape == (4, 4, 3)


def test_a_folder_of_gray_images_has_one_channel(folder):
    for file in folder.rglob("*.png"):
        Image.open(file).convert("L").save(file)
    assert load("folder", folder).image_shape == (5, 6, 1)


def test_a_truncated_png_is_named(folder):
    file = folder / "test" / "bee" / "1.png"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(UserError, match=f"cannot decode the image {file}"):
        load("folder", folder)


def test_an_image_of_32_bits_is_named(folder):
    file = folder / "train" / "ape" / "0.png"
    Image.fromarray(np.full((5, 6), 0.5, np.float32)).save(file, "TIFF")
    with pytest.raises(UserError, match=f"cannot decode the image {file} .*of 32 bits"):
        load("folder", folder)


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="no class folders in .*train"):
        load("folder", tmp_path)


@pytest.mark.parametrize(
    "name,how",
    [("folder", "laid out as"), ("fashion_mnist", "github.com"), ("cifar10", "cs.toronto.edu")],
)
def test_a_missing_path_says_how_to_get_the_data(name, how, tmp_path):
    for path in (None, tmp_path / "nowhere"):
        with pytest.raises(
            UserError, match=f"(?s){how}.*--config.data.path|--config.data.path.*{how}"
        ):
            load(name, path)


def test_an_unknown_data_set_is_refused_with_the_right_ones():
    with pytest.raises(UserError, match="did you mean 'cifar10'.*digits.*folder"):
        load("cifar-10")


def test_holding_out_moves_as_many_of_each_class(folder):
    dataset = load("folder", folder, validation_size=3)
    assert sorted(dataset.splits["validation"].labels) == [0, 1, 2]
    rows = [dataset.splits[s].images.reshape(-1, 90) for s in ("train", "validation")]
    assert len(np.unique(np.concatenate(rows), axis=0)) == 12


def test_holding_out_everything_is_refused(folder):
    with pytest.raises(UserError, match="between 3 and 9"):
        load("folder", folder, validation_size=12)


@pytest.mark.parametrize("name,classes", [("cifar10", 10), ("cifar100", 100)])
def test_a_cifar_archive_gives_images_row_by_row_and_fine_labels(name, classes, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 32, 32, 3), np.uint8)
    labels = [0, 3, 9, 1]
    coarse = [7] if name == "cifar100" else []
    record = b"".join(
        bytes([*coarse, label]) + image.transpose(2, 0, 1).tobytes()
        for label, image in zip(labels, images, strict=True)
    )
    names = [f"class{i}" for i in range(classes)]
    files = {
        "cifar10": {f"data_batch_{i}.bin": record for i in range(1, 6)}
        | {"test_batch.bin": record, "batches.meta.txt": "\n".join(names).encode()},
        "cifar100": {"train.bin": record, "test.bin": record}
        | {"fine_label_names.txt": "\n".join(names).encode()},
    }[name]
    with tarfile.open(tmp_path / f"cifar-{classes}-binary.tar.gz", "w:gz") as tar:
        for file, content in files.items():
            info = tarfile.TarInfo(f"folder/{file}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    dataset = load(name, tmp_path)
    assert len(dataset.class_names) == classes
    assert (dataset.splits["test"].images == images).all()
    assert dataset.splits["test"].labels.tolist() == labels


def test_a_damaged_cifar_archive_is_named(tmp_path):
    file = tmp_path / "cifar-10-binary.tar.gz"
    file.write_bytes(gzip.compress(b"nothing")[:-4])
    with pytest.raises(UserError, match=f"cannot read {file}"):
        load("cifar10", tmp_path)


def test_fashion_mnist_is_read_from_its_four_files(shared_data):
    dataset = load("fashion_mnist", shared_data / "fashion_mnist", validation_size=5000)
    sizes = {name: len(split.labels) for name, split in dataset.splits.items()}
    assert sizes == {"train": 55_000, "validation": 5_000, "test": 10_000}
    assert (np.bincount(dataset.splits["validation"].labels) == 500).all()
    assert dataset.image_shape == (28, 28, 1)


@pytest.fixture
def mnist(tmp_path):
    """Four IDX files, not packed, of ten images each."""
    for prefix in ("train", "t10k"):
        for kind, shape in [("images-idx3", (10, 28, 28)), ("labels-idx1", (10,))]:
            header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
            values = bytes(range(10)) * (np.prod(shape) // 10)
            (tmp_path / f"{prefix}-{kind}-ubyte").write_bytes(header + values)
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*as published")
def test_image_size_brings_mnist_to_another(mnist):
    assert load("mnist", mnist, image_size=8).image_shape == (8, 8, 1)


@pytest.mark.filterwarnings("ignore:.*as published")
@pytest.mark.parametrize(
    "file,at,new,message",
    [
        ("labels-idx1-ubyte", 8, b"\x0a", "train has label 10, but there are 10 classes"),
        ("labels-idx1-ubyte", 0, b"", "cannot read .*labels"),
        ("labels-idx1-ubyte", 3, b"\x02", "cannot read .*labels"),
        ("labels-idx1-ubyte", 2, b"\x0d", "it is no IDX file of bytes"),
        ("labels-idx1-ubyte", 4, b"\xff\xff\xff\xff", "it has 10 values in place of .4294967295"),
        ("images-idx3-ubyte", 4, b"\x7f\0\0\0", "it has 7,840 values in place of .2130706432"),
        ("images-idx3-ubyte", 3, b"\xff", "cannot read .*images"),
        ("images-idx3-ubyte", 7, b"\x05\0\0\0\x38", "train has 5 images and 10 labels"),
    ],
)
def test_damage_of_an_idx_file_that_shows_is_named(mnist, file, at, new, message):
    load("mnist", mnist)
    damaged = mnist / f"train-{file}"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:at] + new + content[at + len(new) :] if new else b"")
    with pytest.raises(UserError, match=message) as caught:
        load("mnist", mnist)
    assert "\n" not in str(caught.value)


def test_a_truncated_idx_file_is_named(tmp_path):
    header = bytes([0, 0, 8, 3]) + np.array([2, 28, 28], ">i4").tobytes()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + bytes(100)))
    with pytest.raises(UserError, match="cannot read .*train-images-idx3-ubyte.gz"):
        load("fashion_mnist", tmp_path)


def test_data_sets_have_as_many_images_as_were_published():
    small = {"train": 50_000, "test": 10_000}
    assert {
        "cifar10": small,
        "cifar100": small,
        "fashion_mnist": {"train": 60_000, "test": 10_000},
        "imagenet2012": {"train": 1_281_167, "validation": 50_000},
        "mnist": {"train": 60_000, "test": 10_000},
        "svhn_cropped": {"train": 73_257, "test": 26_032, "extra": 531_131},
    } == data.COUNTS
