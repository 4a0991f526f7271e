"""The filters of the first convolution, as Figure 3 of Krizhevsky et al. (2012) shows them."""

import math
from typing import TYPE_CHECKING

import numpy as np

from cnn_jax.analysis.explain import pictures
from cnn_jax.errors import UserError
from cnn_jax.runs import features

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnn_jax.runs import Run


def filters(run: "Run", step: int | str = "last") -> np.ndarray:
    """The kernels as images, float [filters, height, width, channels] from 0 to 1.

    All together are brought to that range, as the authors' cuda-convnet drew them: gray is near
    zero, and a filter that is pale is small. Colors are RGB, whatever order the network takes.
    """
    layers = features.arrays(run, step).values()
    first = next((own["kernel"] for own in layers if "kernel" in own), None)
    if first is None or first.ndim != 4 or first.shape[2] not in (1, 3):
        raise UserError(f"{run.path} has no first convolution of images in gray or RGB")
    images = np.asarray(first, np.float32).transpose(3, 0, 1, 2)
    if run.preprocessing.channels is not None:
        images = images[..., np.argsort(run.preprocessing.channels)]
    return (images - images.min()) / (np.ptp(images) or 1)


def draw(axes: "Axes", found: np.ndarray, columns: int | None = None) -> "Axes":
    """Draws the filters side by side."""
    columns = columns or math.ceil(math.sqrt(2 * len(found)))
    axes.imshow(pictures.mosaic(np.uint8(255 * found), columns), interpolation="nearest")
    axes.set_axis_off()
    return axes
