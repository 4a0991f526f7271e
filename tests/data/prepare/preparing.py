"""Prepares data sets and reads them, for the tests."""

import numpy as np

import launch
from cnn_jax import data
from cnn_jax.data.prepare import archives, tfds_writer


def load(name, path, image_size=None, validation_size=0):
    return data.load(
        name, path=str(path), image_size=image_size, validation_size=validation_size, split_seed=0
    )


def silent(*_):
    pass


def prepare_all(name, source, data_dir, **options):
    options = {"on_error": "raise", "report": silent} | options
    return tfds_writer.prepare(name, archives.find(name, source), data_dir, **options)


def run(capsys, *arguments):
    code = launch.main(["data", *map(str, arguments)])
    output = capsys.readouterr()
    return code, output.out, output.err


def pictures(count, shape=(32, 32, 3), classes=10, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), np.uint8), np.arange(count) % classes


def assert_equal(prepared, images_and_labels):
    for split, (images, labels) in images_and_labels.items():
        assert (prepared.splits[split].images == images).all()
        assert (prepared.splits[split].labels == labels).all()
