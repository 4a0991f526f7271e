"""Sums over a stream become means of the images that could be decoded."""

import types

import numpy as np
import pytest

from cnn_jax.errors import UserError
from cnn_jax.training import streams

SUMS = {"loss": 6.0, "top1_error": 2.0, "top5_error": 1.0}


def means(count, skipped, size):
    source = type(
        "Source", (), {"__len__": lambda self: size, "where": lambda self, i: f"image {i}"}
    )()
    sums = SUMS | {"count": np.float32(count), "skipped": np.int32(skipped)}
    return streams.means(sums, types.SimpleNamespace(source=source))


def test_skipped_images_do_not_count():
    assert means(4, 1, 5) == {"loss": 1.5, "top1_error": 0.5, "top5_error": 0.25, "skipped": 1}


def test_a_split_of_which_nothing_could_be_decoded_is_told():
    with pytest.raises(UserError, match="none of 5 images can be decoded, such as image 0"):
        means(0, 5, 5)


@pytest.mark.parametrize("count,skipped", [(4, 0), (4, 2), (5, 1)])
def test_every_image_was_counted_or_skipped(count, skipped):
    with pytest.raises(AssertionError, match=f"counted {count}.0 and skipped {skipped} of 5"):
        means(count, skipped, 5)
