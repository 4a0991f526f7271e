"""The statistics of a stream are computed once, of every image once, and kept."""

import types

import numpy as np
import pytest
from ml_collections import ConfigDict

from cnn_jax.data.stream import sources
from cnn_jax.data.stream.reader import Batch, Images
from cnn_jax.training import streams

NAMES = {"mean": "channel", "std": "none", "whitening": "none"}


def fitted(monkeypatch, tmp_path, size=5, source=None, index=0, **names):
    """The preprocessing of images [2, 2, 3] whose values are 10, and what was read for it."""
    monkeypatch.setenv("CNN_JAX_CACHE", str(tmp_path))
    read = []

    def evaluation(images, batch_size, reading):
        read.append((len(images.source), batch_size, reading))
        pixels = np.full((batch_size, 2, 2, 3), 10, np.uint8)
        return [Batch(pixels, None, None, np.ones(batch_size), None)]

    monkeypatch.setattr(streams.reader, "evaluation", evaluation)
    if source is None:
        source = Named(size)
    dataset = types.SimpleNamespace(
        images=lambda *which: read.append(which) or Images(source, None, (2, 2, 3), "raise"),
        reading=lambda process, processes: (process, processes),
    )
    view = ConfigDict({"kind": "full"})
    return streams.fit(dataset, view, types.SimpleNamespace(index=index), **NAMES | names), read


class Named(list):
    """A source of so many images."""

    def __init__(self, size):
        super().__init__(range(size))

    def fingerprint(self):
        return f"{len(self)} images"


SEEN = ("train", "view.evaluation", {"kind": "full"})


@pytest.mark.parametrize("size,batch_size", [(5, 5), (256, 256), (300, 256)])
def test_statistics_are_computed_by_every_process_of_all_images_and_kept(
    size, batch_size, monkeypatch, tmp_path, capsys
):
    found, read = fitted(monkeypatch, tmp_path, size)
    assert read == [SEEN, (size, batch_size, (0, 1))]
    assert capsys.readouterr().out == f"the mean and std of {size} images are computed, once\n"
    again, read = fitted(monkeypatch, tmp_path, size)
    assert read == [SEEN] and again.mean.tolist() == found.mean.tolist() == [10, 10, 10]
    assert capsys.readouterr().out == ""


def test_one_process_alone_tells_that_statistics_are_computed(monkeypatch, tmp_path, capsys):
    _, read = fitted(monkeypatch, tmp_path, index=1)
    assert len(read) == 2 and capsys.readouterr().out == ""


def test_other_names_and_other_images_have_other_statistics(monkeypatch, tmp_path):
    reads = [
        fitted(monkeypatch, tmp_path, **how)[1]
        for how in ({}, {"size": 6}, {"mean": "pixel"}, {"mean": "none", "std": "scalar"})
    ]
    assert [len(read) for read in reads] == [2, 2, 2, 2]


def test_constants_read_no_image_and_are_for_rgb(monkeypatch, tmp_path):
    found, read = fitted(monkeypatch, tmp_path, mean="imagenet", std="unit")
    assert read == [SEEN] and found.std.tolist() == [255]


def test_noise_is_read_until_it_begins_again(monkeypatch, tmp_path):
    _, read = fitted(monkeypatch, tmp_path, source=sources.fake(9000, 3, 2, True))
    assert read[1][0] == sources.NOISE_SHIFTS
