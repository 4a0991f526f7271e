"""Which layers of two networks represent images alike: centered kernel alignment (CKA).

Kornblith et al. (2019), arXiv:1905.00414, section 3, with the linear kernel. Of many images it is
estimated batch by batch, without bias: Nguyen et al. (2021), arXiv:2010.15327, section 3.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cnn_jax.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnn_jax.runs import Run

LEAST = 4  # images of a batch, for the estimate without bias


def cka(
    first: "Run",
    second: "Run",
    images: Sequence[np.ndarray],
    layers: Sequence[str] | str,
    second_layers: Sequence[str] | str | None = None,
    *,
    steps: tuple[int | str, int | str] = ("last", "last"),
    batch_size: int = 256,
) -> pd.DataFrame:
    """The similarity, 0 to 1, of each layer of the first network (rows) and of the second.

    Args:
      images: as `run.predict` takes them, for both networks.
      layers: of the first network, as in `run.features`.
      second_layers: of the second; by default the same.
      steps: of the two checkpoints.
      batch_size: so many images or fewer give the paper's own formula, more are divided into
        batches. The activations of a batch are in memory together, of all layers.
    """
    if len(images) < LEAST:
        raise UserError(f"{len(images)} images: CKA needs {LEAST} or more")
    count = -(-len(images) // max(batch_size, 2 * LEAST))
    total = 0.0
    for places in np.array_split(np.arange(len(images)), count):
        batch = [images[i] for i in places]
        wanted = ((first, layers, steps[0]), (second, second_layers or layers, steps[1]))
        found = [run.features(batch, names, step) for run, names, step in wanted]
        names = [list(own) for own in found]
        rows = np.stack([centered(x, count > 1) for own in found for x in own.values()])
        total = total + rows @ rows.T  # HSIC of all pairs, but for a factor that they share
    sizes = np.sqrt(np.diag(total))
    similar = (total / np.outer(sizes, sizes))[: len(names[0]), len(names[0]) :]
    return pd.DataFrame(similar, index=names[0], columns=names[1])


def centered(features: np.ndarray, unbiased: bool) -> np.ndarray:
    """The centered Gram matrix of activations [n, ...], flat [n * n].

    The products of two of them add up to their HSIC, but for a factor: without bias to that of
    Song et al. (2012), whose matrices Szekely and Rizzo (2014) call U-centered.
    """
    n, x = len(features), features.reshape(len(features), -1)
    x = (x - x.mean(0, dtype=np.float64)).astype(np.float32)  # which changes neither
    gram = (x @ x.T).astype(np.float64)
    if unbiased:
        np.fill_diagonal(gram, 0)
        sums = gram.sum(0)
        gram -= (sums[:, None] + sums) / (n - 2) - sums.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(gram, 0)
    return gram.ravel()


def draw(axes: "Axes", found: pd.DataFrame) -> "Axes":
    """Draws the similarities; the layers go up and to the right."""
    image = axes.imshow(found, cmap="magma", vmin=0, vmax=1, origin="lower", aspect="auto")
    axes.set_xticks(range(found.shape[1]), found.columns, rotation=90, fontsize=6)
    axes.set_yticks(range(found.shape[0]), found.index, fontsize=6)
    axes.figure.colorbar(image, ax=axes, label="CKA")
    return axes
