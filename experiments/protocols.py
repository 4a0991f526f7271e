"""How the papers measured what a config's own evaluation does not: the protocols of tables, whole.

Each has every setting by which `launch.py eval` knows a protocol, but for the filter of resizing,
which no paper prints.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Protocols = Mapping[str, Mapping[str, Any]]


def ten_crop(crop: int, resize: int, average: str = "softmax") -> Protocols:
    """Corners and center, and their mirror images, of images whose shorter side is `resize`."""
    sizes = {"crop": crop, "resize": resize, "square": False}
    return {"ten_crop": {"name": "ten_crop", **sizes, "flip": True, "average": average}}


def crops_12(crop: int, resize: int) -> Protocols:
    """The six views of the central square, and their mirror images (Szegedy et al. 2016)."""
    sizes = {"crop": crop, "resize": resize, "square": False}
    return {"crops_12": {"name": "crops_12", **sizes, "flip": True, "average": "softmax"}}


def crops_144(crop: int, sides: Sequence[int]) -> Protocols:
    """36 views at each of four sides, and their mirror images (Szegedy et al. 2015, section 7)."""
    sizes = {"crop": crop, "sides": list(sides), "square": False}
    return {"crops_144": {"name": "crops_144", **sizes, "flip": True, "average": "softmax"}}


def multi_scale(*sides: int, flip: bool) -> Protocols:
    """All of the image at several sides; its borders are cut to multiples of the stride."""
    sizes = {"sides": list(sides), "multiple": 32, "square": False}
    return {"multi_scale": {"name": "multi_scale", **sizes, "flip": flip, "average": "softmax"}}
