"""What a channel answers to, and which channels answer to nothing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnn_jax.analysis.explain import pictures
from cnn_jax.errors import UserError
from cnn_jax.models.inside import activations, receptive_field
from cnn_jax.models.inside.receptive_field import seen_at
from cnn_jax.runs import features

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnn_jax.runs import Run


class Patch(NamedTuple):
    """A place in an image where a channel answers strongly."""

    image: int  # its number
    value: float  # the activation
    seen: np.ndarray  # uint8 [h, w, C], what the unit can see of the image


def strongest(
    run: "Run",
    images: Sequence[np.ndarray],
    layer: str,
    channel: int,
    count: int = 9,
    step: int | str = "last",
) -> list[Patch]:
    """The images in which a channel has its largest activations, one place of each.

    Zeiler and Fergus (2014), arXiv:1311.2901, Figure 2.

    Args:
      images: as `run.predict` takes them, of one size.
      layer: one name, see `run.features`.
    """
    views, best, places = run.views(images, "strongest"), [], []
    if not views:
        raise UserError("no images to look at")
    model, _ = activations.each_block(run.model, {})
    known = activations.shapes(model, views[0].shape)
    layer = activations.one(known, layer)
    if not 0 <= channel < known[layer][-1]:
        raise UserError(f"{layer} has the channels 0 to {known[layer][-1] - 1}, not {channel}")
    for batch in features.batches(run, views, layer, step):
        maps = batch[layer].reshape(len(batch[layer]), -1, known[layer][-1])
        best.append(maps[..., channel].max(1))
        places.append(maps[..., channel].argmax(1))
    values, places = np.concatenate(best), np.concatenate(places)
    (reach,) = receptive_field.fields(model, views[0].shape, (layer,)).values()
    columns = len(reach[1].first) if reach[1].axis else 1
    return [
        Patch(int(i), float(values[i]), views[i][seen_at(reach, *divmod(int(places[i]), columns))])
        for i in np.argsort(-values, kind="stable")[:count]
    ]


def draw_strongest(axes: "Axes", patches: Sequence[Patch], columns: int = 3) -> "Axes":
    """Draws what the units see, strongest first, with the activation below."""
    texts = [f"{patch.value:.3g}" for patch in patches]
    return pictures.draw_images(axes, [patch.seen for patch in patches], texts, columns)


def dead(
    run: "Run", images: Sequence[np.ndarray], step: int | str = "last"
) -> dict[str, np.ndarray]:
    """Which channels are 0 after their ReLU at every place of all images, bool [C] by ReLU.

    Such units get no gradient, either (Lu et al. 2019, arXiv:1903.06733). A ReLU is named as in
    `run.features`, "conv1/relu".
    """
    alive: dict[str, np.ndarray] = {}
    for batch in features.batches(run, run.views(images, "dead"), f"*{activations.RELU}", step):
        for name, maps in batch.items():
            own = (maps > 0).reshape(-1, maps.shape[-1]).any(0)
            alive[name] = alive.get(name, False) | own
    return {name: ~own for name, own in alive.items()}


def draw_dead(axes: "Axes", found: Mapping[str, np.ndarray]) -> "Axes":
    """Draws the fraction of dead channels of each ReLU as bars."""
    names = [name.removesuffix(activations.RELU) for name in found]
    fractions = [100 * own.mean() for own in found.values()]
    axes.barh(names, fractions, color="tab:red")
    for i, own in enumerate(found.values()):
        axes.text(fractions[i], i, f" {own.sum()} of {len(own)}", va="center", fontsize=6)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=6)
    axes.set(xlabel="dead channels, %", xlim=(0, 115))
    return axes
