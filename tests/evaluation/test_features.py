"""The activations of a split are those of its images, in memory and in files."""

import weakref

import numpy as np
import pytest

import cnn_jax
from cnn_jax import data
from cnn_jax.errors import UserError
from cnn_jax.evaluation import features, target

LAYERS = ["ip1", "ip2/relu"]


@pytest.fixture(scope="module")
def run(dense_run):
    return cnn_jax.load_run(dense_run)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", path=None, image_size=None, validation_size=0, split_seed=0).splits


@pytest.fixture(scope="module")
def found(run):
    return cnn_jax.features(run, LAYERS)


def test_they_are_those_of_the_test_images_in_order(run, found, digits):
    images, labels = digits["test"]
    np.testing.assert_array_equal(found["index"], np.arange(len(labels)))
    np.testing.assert_array_equal(found["labels"], labels)
    for name, expected in run.features(images, LAYERS).items():
        np.testing.assert_allclose(found[name], expected, atol=1e-5)


@pytest.mark.parametrize("out", ["f.npz", "folder"])
def test_files_have_the_same_arrays(run, found, tmp_path, out):
    written = cnn_jax.features(run, LAYERS, out=tmp_path / "new" / out)
    assert set(written) == set(found) == {"index", "labels", *LAYERS}
    for name, array in found.items():
        np.testing.assert_array_equal(written[name], array)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [out]


def test_a_folder_is_mapped_and_not_read(tmp_path):
    features.write([{"a/b": np.ones((2, 3))}], tmp_path / "f")
    assert isinstance(features.opened(tmp_path / "f")["a/b"], np.memmap)


def test_memory_has_room_for_one_batch_when_it_is_written(tmp_path):
    alive = []

    def batches():
        for i in range(12):
            assert not [one for one in alive[:-1] if one() is not None]
            array = np.full((1, 2), i)
            alive.append(weakref.ref(array))
            yield {"a": array}
            del array

    assert features.write(batches(), tmp_path / "f.npz") == {"a": (12, 2)}
    np.testing.assert_array_equal(np.load(tmp_path / "f.npz")["a"][:, 0], np.arange(12))


def test_batches_are_small_where_activations_are_large(run, monkeypatch):
    opened = target.of_run(run, [])
    monkeypatch.setattr(features, "NUMBERS", 300 * 50)  # of ip1 with 300 units
    how = (opened, run.variables(), "ip1", "test", 180, {})
    assert {len(batch["index"]) for batch in features.stream(*how)} == {45}


def test_maps_of_another_size_are_refused(tmp_path):
    batches = [{"conv1": np.zeros((1, 2, 3, 4))}, {"conv1": np.zeros((1, 5, 3, 4))}]
    for use in (features.in_memory, lambda b: features.write(b, tmp_path / "f.npz")):
        with pytest.raises(UserError, match="several sizes, and conv1 maps of 2x3 and 5x3"):
            use(batches)
    assert not list(tmp_path.iterdir())


def test_images_that_cannot_be_read_have_no_row(run, monkeypatch):
    def damaged(i):
        if i in (1, 3):
            raise OSError("damaged")
        return opened(i)

    name, examples = target.of_run(run, []).examples("test")
    opened, bad = examples.open, {}
    examples = examples._replace(open=damaged, on_error="skip")
    monkeypatch.setattr(target.EvalTarget, "examples", lambda self, split: (name, examples))
    how = (target.of_run(run, []), run.variables(), "ip2", "test", 360, bad)
    got = features.in_memory(features.stream(*how))
    assert sorted(bad) == [1, 3]
    assert got["index"][:4].tolist() == [0, 2, 4, 5] and len(got["ip2"]) == len(got["index"]) == 358
    np.testing.assert_array_equal(got["labels"], examples.labels[got["index"]])
