"""The papers' protocols, by name: which views of an image are evaluated.

  center       the central crop, after the shorter side (Caffe: both sides) is resized.
  ten_crop     Krizhevsky et al. (2012), 4.1: the four corners and the center, and their mirror
               images; the mean of the softmax.
  crops_12     Szegedy et al. (2016), Table 4, which does not say what they are: taken as one of the
               twelve squares of crops_144, the central one of one side, with its six views and
               their mirror images.
  crops_144    Szegedy et al. (2015), 7: the shorter side to four values; the left, central and
               right (top, central and bottom) square of each; of each square the four corners, the
               center, and all of it resized to the crop; and their mirror images.
  multi_scale  He et al. (2016), 3.4, and Simonyan and Zisserman (2015), 3.2: all of the image, its
               shorter side brought to several values. The network is applied fully convolutionally
               and its map pooled; the mean over the scales. He et al. do not say whether of the
               softmax or of the logits; Simonyan and Zisserman: of the softmax, over mirror images
               too (`flip`).

A protocol is made of parts, each with views of one shape. Mirror images are made on the device.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from cnn_jax import errors
from cnn_jax.data import decode
from cnn_jax.data.stream.views import FILTERS, in_image, resized, shrunk

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the resized image

CROPS_144_SIDES = (256, 288, 320, 352)  # for crops of 224
MULTI_SCALE_SIDES = (224, 256, 384, 480, 640)
STRIDE = 32  # of the ImageNet networks: shorter rows and columns than this change little
AVERAGES = ("softmax", "logits")


class Part(NamedTuple):
    """Views of one shape."""

    side: int | None  # that the shorter side, or both, are resized to; None: not resized
    boxes: Callable[[int, int], list[Box]]  # (width, height) of the resized image -> views
    count: int  # how many boxes there are
    size: int | None  # side of the views; None: the side of the box


@dataclass(frozen=True)
class Protocol:
    """The views of an image, and how their scores are averaged."""

    name: str
    settings: dict[str, Any]  # every one of them, by which a report knows the protocol
    about: str  # for people: sizes, views, averaging
    short: str  # the same, for names of folders
    parts: tuple[Part, ...]
    square: bool  # both sides are resized, not the shorter one alone
    mirrored: bool  # each view counts a second time, as its mirror image
    average: str  # what is averaged over the views: "softmax" or "logits"
    filter: str
    dct_scaling: bool  # of the only view, see `data.stream.views`

    @property
    def views_of_each(self) -> int:
        """How many views of each image there are, mirror images among them."""
        return sum(part.count for part in self.parts) * (1 + self.mirrored)

    def resized(self, part: Part, width: int, height: int) -> tuple[int, int]:
        """Width and height of the resized image that a part's boxes are in."""
        return resized(width, height, part.side, self.square) if part.side else (width, height)

    def shape(self, part: Part, width: int, height: int) -> tuple[int, int]:
        """Height and width of the views of an image of this size."""
        if part.size:
            return part.size, part.size
        left, top, right, bottom = part.boxes(*self.resized(part, width, height))[0]
        return bottom - top, right - left

    def views(self, part: Part, image: Image.Image, mode: str = "RGB") -> np.ndarray:
        """The views of a part, uint8 [V, H, W, C]; raises `BadImage` for too small an image.

        Each view is cut and resized at once, as in `data.stream.views`. `mode`: "RGB", or "L".
        """
        size = self.resized(part, *image.size)
        height, width = self.shape(part, *image.size)
        boxes = part.boxes(*size)
        if min(map(min, boxes)) < 0:
            raise decode.BadImage(
                f"it is {size[0]}x{size[1]}, smaller than the crop; give --resize"
            )
        windows = [in_image(box, size, image.size) for box in boxes]
        if self.dct_scaling:
            windows = [shrunk(image, *windows, width)]
        image = decode.to_rgb(image).convert(mode)
        cut = [image.resize((width, height), FILTERS[self.filter], box=box) for box in windows]
        return np.stack([decode.to_array(view) for view in cut])


def create(
    name: str,
    *,
    square: bool = False,
    flip: bool = False,
    average: str = "softmax",
    filter: str = "bilinear",
    dct_scaling: bool = False,
    **sizes,
) -> Protocol:
    """A protocol by its name.

    Args:
      square: resizes both sides, as Caffe's tools do, instead of the shorter one.
      flip: adds the mirror image of every view, where the protocol lacks it.
      average: what is averaged over the views, "softmax" or "logits" (fb.resnet.torch averages the
        logits of ten crops).
      filter: for resizing, one of `views.FILTERS`.
      dct_scaling: of `center`, decodes large JPEGs at a fraction of their size, see `views`.
      sizes: those of `center` and the other functions below.

    Raises:
      UserError: an unknown name or option, or impossible sizes.
    """
    check_options(name, average, filter, square, sizes)
    make, always_mirrored = PROTOCOLS[name]
    what, parts = make(**sizes)
    mirrored = flip or always_mirrored
    sides = ", ".join(str(part.side) for part in parts if part.side)
    frame = f"{'both sides' if square else 'shorter side'} to {sides} ({filter})"
    about = [f"{frame}, {what}" if sides else what]
    if mirrored:
        about.append("with mirror images")
    if mirrored or name != "center":
        about.append(f"mean of the {average}")
    short = [name, *(size_text(option, value) for option, value in sizes.items() if value)]
    short += ["square"] * square + ["mirrored"] * mirrored + [filter]
    short += [average] * (average != "softmax") + ["dct"] * dct_scaling
    texts = (", ".join(about), "-".join(short))
    options = {"square": square, "flip": mirrored, "average": average, "filter": filter}
    settings = {"name": name, **sizes, **options} | ({"dct_scaling": True} if dct_scaling else {})
    how = (square, mirrored, average, filter, dct_scaling)
    return Protocol(name, settings, *texts, tuple(parts), *how)


def check_options(
    name: str, average: str, filter: str, square: bool, sizes: Mapping[str, Any]
) -> None:
    """Raises `UserError` for an unknown name or option of a protocol."""
    known = [("protocol", name, PROTOCOLS), ("average", average, AVERAGES)]
    for option, value, choices in [*known, ("filter", filter, FILTERS)]:
        if value not in choices:
            raise errors.unknown(option, value, choices)
    takes = inspect.signature(PROTOCOLS[name][0]).parameters
    for size in sizes:
        if size not in takes:
            raise errors.unknown(f"size of the protocol {name}", size, takes)
    if name == "crops_144" and square:
        raise errors.UserError("crops_144 cuts squares out of the image: it is not made square", 2)


def size_text(option: str, value: int | tuple[int, ...]) -> str:
    """A size as a part of a folder's name: "sides256-288"."""
    return option + "-".join(map(str, value if isinstance(value, tuple) else (value,)))


def center(crop: int | None, resize: int | None) -> tuple[str, list[Part]]:
    """The central `crop` (None: all) of the image, resized to `resize` (None: not resized)."""
    if crop is None:
        return "all of the image", [Part(resize, lambda w, h: [(0, 0, w, h)], 1, None)]
    check_fits(crop, resize)
    what = f"central crop {crop}x{crop}"
    return what, [Part(resize, lambda w, h: [middle(w, h, crop)], 1, crop)]


def ten_crop(crop: int, resize: int | None) -> tuple[str, list[Part]]:
    """The corners and the center of the image, resized to `resize` (None: not resized)."""
    check_fits(crop, resize)
    what = f"four corners and center {crop}x{crop}"
    return what, [Part(resize, lambda w, h: five(w, h, crop), 5, crop)]


def crops_12(crop: int, resize: int | None) -> tuple[str, list[Part]]:
    """The views of the central square of the image, resized to `resize` (None: not resized)."""
    check_fits(crop, resize)

    def boxes(width, height):
        return six(middle(width, height, min(width, height)), crop)

    what = f"central square, of it four corners, center and all of it, {crop}x{crop}"
    return what, [Part(resize, boxes, 6, crop)]


def crops_144(crop: int, sides: tuple[int, ...]) -> tuple[str, list[Part]]:
    """Views of `crop` pixels at each of the four `sides`."""
    if len(sides) != 4:
        raise errors.UserError(f"crops_144 has four sides, not {len(sides)}", 2)
    check_fits(crop, min(sides), "sides")

    def boxes(width, height):
        side, views = min(width, height), []
        for offset in (0, (max(width, height) - side) // 2, max(width, height) - side):
            x, y = (offset, 0) if width >= height else (0, offset)
            views += six((x, y, x + side, y + side), crop)
        return views

    what = f"3 squares, of each four corners, center and all of it, {crop}x{crop}"
    return what, [Part(side, boxes, 18, crop) for side in sides]


def multi_scale(sides: tuple[int, ...], multiple: int) -> tuple[str, list[Part]]:
    """All of the image, its shorter side resized to each of `sides`.

    Height and width are cut to multiples of `multiple`, at the borders. With 1, which cuts nothing,
    nearly every image of a folder has another shape, for which the network is compiled.
    """
    if not sides or min(sides) < max(1, multiple) or multiple < 1:
        raise errors.UserError(
            f"multi_scale with sides {sides} and multiple {multiple}: there is at least one side, "
            "none is less than the multiple, which is 1 or more"
        )

    def whole(width, height):
        wide, high = (side // multiple * multiple for side in (width, height))
        left, top = (width - wide) // 2, (height - high) // 2
        return [(left, top, left + wide, top + high)]

    cut = f" (cut to multiples of {multiple})" if multiple > 1 else ""
    return f"all of the image{cut}", [Part(side, whole, 1, None) for side in sides]


# (function, whether it has mirror images) by name
PROTOCOLS = {
    "center": (center, False),
    "ten_crop": (ten_crop, True),
    "crops_12": (crops_12, True),
    "crops_144": (crops_144, True),
    "multi_scale": (multi_scale, False),
}


def default_sizes(name: str, size: int, resize: int | None) -> dict:
    """The sizes of a protocol for a network that was trained at `size` pixels.

    Args:
      resize: side that images are resized to before the crop; None: they have `size` pixels, as in
        CIFAR. Ten crops and more need larger images: these are resized in ImageNet's ratio, 256 to
        224.
    """
    if name not in PROTOCOLS:
        raise errors.unknown("protocol", name, PROTOCOLS)
    if name == "center":
        return {"crop": size if resize else None, "resize": resize}
    if name in ("ten_crop", "crops_12"):
        larger = resize if resize and resize > size else round(size * 256 / 224)
        return {"crop": size, "resize": larger}
    if name == "crops_144":
        return {"crop": size, "sides": tuple(round(size * s / 224) for s in CROPS_144_SIDES)}
    if resize is None:
        return {"sides": tuple(round(size * s / 224) for s in MULTI_SCALE_SIDES), "multiple": 1}
    return {"sides": MULTI_SCALE_SIDES, "multiple": STRIDE}


def middle(width: int, height: int, size: int) -> Box:
    """The central square with sides of `size`."""
    left, top = (width - size) // 2, (height - size) // 2
    return left, top, left + size, top + size


def five(width: int, height: int, size: int) -> list[Box]:
    """The squares with sides of `size` in the corners and in the center."""
    corners = [(x, y) for y in (0, height - size) for x in (0, width - size)]
    return [(x, y, x + size, y + size) for x, y in corners] + [middle(width, height, size)]


def six(square: Box, size: int) -> list[Box]:
    """Of a square: the five squares with sides of `size`, and all of it."""
    left, top, right, _ = square
    inside = five(right - left, right - left, size)
    return [*((left + a, top + b, left + c, top + d) for a, b, c, d in inside), square]


def check_fits(crop: int, side: int | None, option: str = "resize") -> None:
    """Raises `UserError` where `crop` is larger than images of `side`, which `option` sets."""
    if crop < 1 or (side is not None and side < crop):
        raise errors.UserError(
            f"a crop of {crop} pixels out of images of {side}: give a smaller --crop or larger "
            f"--{option}",
            2,
        )
