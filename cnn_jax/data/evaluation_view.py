"""The evaluation view of a config: what the network sees of an image outside of training.

`eval`, `predict`, `Run.predict` and the calibration of `compress` see it, so that all of them give
one answer for one image. Its pixels are those of the protocol "center".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnn_jax import errors
from cnn_jax.data import decode
from cnn_jax.data.stream import views
from cnn_jax.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image


class EvaluationView(NamedTuple):
    """What is cut out of an image, and from which size."""

    size: tuple[int, int] | None  # height and width of the view; None: those of the image
    channels: int
    resize: int | None  # side that images are resized to before the crop; None: all of the image
    square: bool  # whether both sides are resized, or the shorter one
    filter: str  # for resizing
    dct_scaling: bool  # whether large JPEGs are decoded at a fraction of their size, see `views`

    @property
    def mode(self) -> str:
        """As Pillow names it: "RGB", or "L" for networks of one channel."""
        return "L" if self.channels == 1 else "RGB"

    def read(self, file: Path, orientation: str = "stored") -> tuple[np.ndarray, list[str]]:
        """The view of an image file, and what had to be changed about the image, in words.

        Args:
          orientation: "stored", as the data sets' authors saw images, or "exif": turned as the file
            says, as people see it.

        Raises:
          UserError: the file cannot be read, or decoded.
        """
        try:
            opened = decode.open_image(file.read_bytes())
            image = decode.upright(opened) if orientation == "exif" else opened
            changes = ["turned as its EXIF orientation says"] if image is not opened else []
            view = self.cut(image)
            return view, changes + self.changes(decode.to_rgb(image))
        except OSError as error:
            raise UserError(f"cannot read the image {file} ({error.strerror})") from None
        except decode.BadImage as error:
            raise UserError(f"cannot decode the image {file} ({error})") from None

    def changes(self, image: "Image") -> list[str]:
        """What no image of the data that the network was trained on would need."""
        found, pixels = [], decode.to_array(image)
        if pixels.shape[2] > self.channels and (pixels != pixels[..., :1]).any():
            found.append("its color was dropped, as the network knows gray images only")
        if self.resize is None and self.size not in (None, pixels.shape[:2]):
            height, width = self.size
            found.append(f"it was resized to the {width}x{height} pixels that the network knows")
        return found

    def cut(self, image: "Image") -> np.ndarray:
        """The view of an image of any size, uint8 [H, W, C]. Raises `decode.BadImage`."""
        if self.resize is None:
            view = decode.cover(decode.to_rgb(image).convert(self.mode), self.size)
            return decode.to_array(view)
        size, frame = self.size[0], "squash" if self.square else "full"
        box = views.center(None, *image.size, size=size, resize=self.resize, frame=frame)
        if self.dct_scaling:
            box = views.shrunk(image, box, size)
        image = decode.to_rgb(image).convert(self.mode)
        return decode.to_array(image.resize((size, size), views.FILTERS[self.filter], box=box))

    def cut_array(self, pixels: np.ndarray) -> np.ndarray:
        """The same of uint8 [H, W, C] with the channels of the view."""
        if self.resize is None and self.size in (None, pixels.shape[:2]):
            return pixels
        return self.cut(decode.from_array(pixels))


def create(view: Mapping[str, Any], image_shape: tuple[int, int, int]) -> EvaluationView:
    """The view of the group `view` of a config.

    Args:
      view: empty for networks that were not trained here: all of an image is seen.
      image_shape: height, width and channels of the images that the network was trained on.

    Raises `UserError` for a group that describes no view.
    """
    try:
        own = view["evaluation"] if view else {"kind": "full"}
        if own["kind"] == "full":
            is_of_training = not view or view["train"]["kind"] == "full"
            size = tuple(image_shape[:2]) if is_of_training else None
            return EvaluationView(size, image_shape[2], None, False, "bilinear", False)
        views.create(decoder="pillow", **own)  # raises for what cannot be
        size, square = (own["size"], own["size"]), own["frame"] == "squash"
        how = (own["filters"][0], own["dct_scaling"])
        return EvaluationView(size, 3, own["resize"], square, *how)
    except (KeyError, TypeError) as error:
        raise UserError(f"config.view.evaluation is no view: {errors.first_line(error)}") from None
