"""The config group `init`: training that starts from the weights of a trained network.

    weights  a run, a file, torchvision:NAME or hub:OWNER/NAME, see `runs.pretrained`; None: none
    layers   patterns of layers' names, see `optim.by_layer`; the others keep initial values

VGG's deeper networks start so from layers of a trained A (arXiv:1409.1556, section 3.1).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from cnn_jax.cluster.join import ProcessGroup
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.errors import UserError
from cnn_jax.optim.by_layer import Layers
from cnn_jax.runs import pretrained, transfer
from cnn_jax.training.steps import TrainState


class Start(NamedTuple):
    """What the group gives."""

    load: Callable[[TrainState], TrainState]  # puts the weights into a first state
    notes: Callable[[], list[str]]  # what is taken, and in what that is not what it was


def create(
    *,
    weights: str | None,
    layers: Sequence[str],
    model: ConfigDict,
    preprocessing: Preprocessing,
    network: Callable[[], Layers],
    group: ProcessGroup,
) -> Start:
    """The start of a config with other values than None and ("*",).

    The weights are read where they are asked for first: a run that goes on needs them no more.

    Raises `UserError` where no weights are named; `load`, where they do not fit.
    """
    if weights is None:
        raise UserError("which trained network? --config.init.weights=RUN_OR_FILE names it", 2)

    @functools.cache
    def taken() -> tuple[dict[str, Any], list[str]]:
        variables, run = pretrained.weights(weights)
        try:
            found = transfer.transfer(variables, layers, network(), weights)
        except UserError as error:
            raise UserError(f"{error}{pretrained.which_network(run, model)}") from None
        notes = found.lines(weights) + pretrained.deviations(run, model, preprocessing)
        return found.variables, notes

    return Start(lambda state: transfer.with_weights(state, taken()[0], group), lambda: taken()[1])
