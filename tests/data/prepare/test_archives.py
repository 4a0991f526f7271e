"""The archives as they are published become TFDS data sets that have the same."""

import pickle
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from cnn_jax.data import idx, tfds_source
from cnn_jax.data.prepare import archives
from cnn_jax.errors import UserError
from tests.conftest import DENSE, launch_here
from tests.data.prepare import archive_files
from tests.data.prepare.preparing import assert_equal, load, pictures, prepare_all, run

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def real_cifar(shared_data, part=slice(None)):
    """Images and labels of each split of the real CIFAR-10, `part` of each class."""
    splits = {}
    for split in ("train", "test"):
        mosaics = [shared_data / "cifar10" / split / f"{name}.webp" for name in CIFAR]
        tiles = []
        for mosaic in mosaics:
            pixels = np.asarray(Image.open(mosaic).convert("RGB"))
            rows, columns = pixels.shape[0] // 32, pixels.shape[1] // 32
            grid = pixels.reshape(rows, 32, columns, 32, 3).swapaxes(1, 2)
            tiles.append(grid.reshape(-1, 32, 32, 3)[part])
        labels = np.repeat(np.arange(10), [len(tile) for tile in tiles])
        # Published batches are shuffled; a fixed order that mixes the classes does.
        order = np.random.default_rng(0).permutation(len(labels))
        splits[split] = np.concatenate(tiles)[order], labels[order].astype(np.int32)
    return splits


def test_cifar_10_and_fashion_mnist_are_prepared_checked_and_trained_without_tensorflow(
    shared_data, tmp_path, monkeypatch
):
    cifar = real_cifar(shared_data, slice(20))
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive_files.cifar_binary(archive, cifar["train"], cifar["test"], CIFAR)
    fashion = {}
    (tmp_path / "fashion").mkdir()
    for split, prefix in [("train", "train"), ("test", "t10k")]:
        files = [f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz"]
        images, labels = (idx.read(shared_data / "fashion_mnist" / file)[:200] for file in files)
        archive_files.idx(tmp_path / "fashion", prefix, images, labels)
        fashion[split] = images[..., None], labels
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    where, said = f"--data_dir={tmp_path}/tfds", ""
    for name, source in [("cifar10", archive), ("fashion_mnist", tmp_path / "fashion")]:
        for command in ["prepare", name, f"--from={source}"], ["check", name]:
            done = launch_here("data", *command, where)
            assert done.returncode == 0, done.stderr
            said += done.stdout
    config = [f"data.path={tmp_path}/tfds", "data.name=tfds:cifar10", *DENSE[:2]]
    config += ["training.duration=4 steps", "training.steps_per_dispatch=2"]
    config += ["learning_rate.warmup=0 steps", "evaluation.splits=('test',)"]
    fields = [f"--config.{field}" for field in config]
    done = launch_here("train", *fields, f"--workdir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    assert "tensorflow_datasets" in sys.modules and "tensorflow" not in sys.modules
    assert "note: train has 200 images; as published it has 50,000" in said
    assert "complete; every image was decoded" in said
    assert_equal(load("tfds:cifar10", tmp_path / "tfds"), cifar)
    assert_equal(load("tfds:fashion_mnist", tmp_path / "tfds"), fashion)
    assert load("tfds:cifar10", tmp_path / "tfds").class_names == tuple(CIFAR)


@pytest.mark.slow
def test_all_of_cifar_10_is_prepared_with_the_known_mean_and_deviation(
    shared_data, tmp_path, capsys
):
    cifar = real_cifar(shared_data)
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive_files.cifar_binary(archive, cifar["train"], cifar["test"], CIFAR)
    assert run(capsys, "prepare", "cifar10", f"--from={archive}", f"--data_dir={tmp_path}")[0] == 0
    code, out, _ = run(capsys, "check", "cifar10", f"--data_dir={tmp_path}")
    assert code == 0 and "125.307, 122.950, 113.865" in out and "62.993, 62.089, 66.705" in out
    assert out.count("5,000 │ 1,000") == 10 and "note" not in out
    assert_equal(load("tfds:cifar10", tmp_path), cifar)


@pytest.mark.slow
def test_all_of_fashion_mnist_is_prepared_as_its_files_have_it(shared_data, tmp_path):
    prepare_all("fashion_mnist", shared_data / "fashion_mnist", tmp_path)
    direct = load("fashion_mnist", shared_data / "fashion_mnist")
    assert load("tfds:fashion_mnist", tmp_path).facts() == direct.facts()


@pytest.mark.parametrize("name,classes", [("cifar10", 10), ("cifar100", 100)])
@pytest.mark.parametrize("unpacked", [False, True])
def test_the_python_archives_of_cifar_round_trip(name, classes, unpacked, tmp_path):
    splits = {"train": pictures(210, classes=classes), "test": pictures(100, seed=1)}
    names = [f"class{i}" for i in range(classes)]
    archive = tmp_path / f"cifar-{classes}-python.tar.gz"
    archive_files.cifar_python(archive, name, splits["train"], splits["test"], names)
    if unpacked:
        with tarfile.open(archive) as tar:
            tar.extractall(tmp_path, filter="data")
        (tmp_path / "folder").rename(tmp_path / "unpacked")
    prepare_all(name, tmp_path / "unpacked" if unpacked else tmp_path, tmp_path / "tfds")
    dataset = load(f"tfds:{name}", tmp_path / "tfds")
    assert dataset.class_names == tuple(names)
    assert_equal(dataset, splits)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        for file in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]:
            archive_files.add_file(tar, file, pickle.dumps(Evil(), protocol=2))
    with pytest.raises(UserError, match="print, which no CIFAR file does"):
        archives.find("cifar10", tmp_path)


def test_a_missing_batch_of_cifar_is_named(tmp_path):
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
        archive_files.add_file(tar, "test_batch.bin", bytes(3073))
    with pytest.raises(UserError, match=r"has no 'data_batch_1\.bin'; get it again"):
        archives.find("cifar10", tmp_path)


def test_labels_beyond_the_classes_are_refused(tmp_path):
    images, labels = pictures(10)
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive_files.cifar_binary(archive, (images, labels + 1), (images, labels), CIFAR)
    with pytest.raises(UserError, match="cifar10 at .*: train has label 10, but there are 10 cl"):
        archives.find("cifar10", tmp_path)


def test_mnist_round_trips_with_digits_for_classes(tmp_path):
    splits = {"train": pictures(30, (28, 28)), "test": pictures(10, (28, 28), seed=1)}
    for split, prefix in [("train", "train"), ("test", "t10k")]:
        archive_files.idx(tmp_path, prefix, *splits[split])
    prepare_all("mnist", tmp_path, tmp_path / "tfds")
    dataset = load("tfds:mnist", tmp_path / "tfds")
    assert dataset.class_names == tuple("0123456789") and dataset.image_shape == (28, 28, 1)
    assert_equal(dataset, {s: (images[..., None], y) for s, (images, y) in splits.items()})
    assert load("mnist", tmp_path).facts() == dataset.facts()


def test_svhn_round_trips_and_takes_extra_into_train_when_asked(tmp_path):
    splits = {name: pictures(20, seed=i) for i, name in enumerate(["train", "test", "extra"])}
    archive_files.svhn(tmp_path, splits)
    prepare_all("svhn_cropped", tmp_path, tmp_path / "tfds")
    plain = load("tfds:svhn_cropped", tmp_path / "tfds")
    assert set(plain.splits) == {"train", "test"}
    assert_equal(plain, {name: splits[name] for name in ("train", "test")})
    both = [np.concatenate([splits["train"][i], splits["extra"][i]]) for i in range(2)]
    with_extra = load("tfds:svhn_cropped+extra", tmp_path / "tfds")
    assert_equal(with_extra, {"train": both, "test": splits["test"]})


def test_a_damaged_svhn_file_is_named(tmp_path):
    archive_files.svhn(tmp_path, {"train": pictures(20)})
    with pytest.raises(UserError, match=r"has no test_32x32\.mat"):
        archives.find("svhn_cropped", tmp_path)
    (tmp_path / "test_32x32.mat").write_bytes(b"no .mat at all")
    with pytest.raises(UserError, match=r"cannot read .*test_32x32\.mat .*get the file again"):
        archives.find("svhn_cropped", tmp_path)


def test_imagenet_is_read_in_place_with_labels_in_the_order_of_the_synsets(tmp_path):
    files = archive_files.imagenet(tmp_path)
    prepare_all("imagenet2012", tmp_path, tmp_path / "tfds")
    opened = tfds_source.sources("imagenet2012", tmp_path / "tfds")
    assert set(opened) == {"train", "test"}  # the validation images are what papers report on
    for split, stored in [("train", "train"), ("test", "validation")]:
        source, names = opened[split], sorted(files[stored])
        assert source.class_names == ("n01000000", "n02000000", "n03000000")
        assert [source.encoded(i) for i in range(len(source))] == [files[stored][n] for n in names]
    assert opened["train"].labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert opened["test"].labels.tolist() == [1, 2, 2, 0]


def test_a_damaged_header_in_imagenets_tars_does_not_end_them(tmp_path):
    archive_files.imagenet(tmp_path)
    for name in ("ILSVRC2012_img_val.tar", "ILSVRC2012_img_train.tar"):
        file = tmp_path / name
        whole = file.read_bytes()
        with tarfile.open(file) as tar:
            second = tar.getmembers()[1].offset
        file.write_bytes(whole[:second] + b"X" + whole[second + 1 :])
        with pytest.raises(UserError, match="the header after its 1 files is damaged"):
            archives.find("imagenet2012", tmp_path)
        file.write_bytes(whole)


def test_what_macos_leaves_in_imagenets_tars_is_left_out(tmp_path):
    files = archive_files.imagenet(tmp_path)
    for name in ("ILSVRC2012_img_val.tar", "ILSVRC2012_img_train.tar"):
        with tarfile.open(tmp_path / name, "a") as tar:
            archive_files.add_file(tar, "._x.tar", b"no image")
    found = archives.find("imagenet2012", tmp_path).splits
    assert {split: len(own) for split, own in found.items()} == {
        split: len(own) for split, own in files.items()
    }


def test_imagenet_with_labels_of_other_images_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_files, "TRUTH", [1, 2, 3])
    archive_files.imagenet(tmp_path)
    kit = (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").read_bytes()
    monkeypatch.undo()
    archive_files.imagenet(tmp_path)
    (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(kit)
    with pytest.raises(UserError, match="has 4 images and .* 3 labels; they do not belong"):
        archives.find("imagenet2012", tmp_path)


def test_imagenet_without_its_development_kit_says_what_is_missing(tmp_path):
    archive_files.imagenet(tmp_path)
    (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    with pytest.raises(UserError, match=r"has no ILSVRC2012_devkit_t12\.tar\.gz"):
        archives.find("imagenet2012", tmp_path)
