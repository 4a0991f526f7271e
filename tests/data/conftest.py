"""A small folder of images."""

import numpy as np
import pytest
from PIL import Image


def make_birds(root):
    """An image folder of PNG files of several sizes: 2 classes, 10 and 2 images of each."""
    rng = np.random.default_rng(0)
    for split, count in [("train", 10), ("test", 2)]:
        for name in ("owl", "wren"):
            (root / "birds" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (20 + i, 24, 3), np.uint8)
                Image.fromarray(pixels).save(root / "birds" / split / name / f"{i}.png")
    return root / "birds"


@pytest.fixture
def birds(tmp_path):
    """See `make_birds`."""
    return make_birds(tmp_path)
