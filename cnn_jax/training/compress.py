"""The config group `compression`: training that makes a trained network smaller.

    stage   "prune" or "share"
    start   the run, or the file of `launch.py compress`, whose weights are trained on
    ...     what the functions `prune` and `share` below take

A config without this group trains from the network's initial values.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax.traverse_util import unflatten_dict

from cnn_jax import config as configs
from cnn_jax.cluster.join import ProcessGroup
from cnn_jax.compression import prune as pruning
from cnn_jax.compression import share as sharing
from cnn_jax.errors import UserError, unknown
from cnn_jax.optim.schedules import to_steps
from cnn_jax.runs import load_run
from cnn_jax.runs.transfer import like, with_weights
from cnn_jax.training.steps import TrainState


class CompressionStage(NamedTuple):
    """What a stage adds to training."""

    optimizer: optax.GradientTransformation
    load_start: Callable[[TrainState], TrainState]  # puts the trained weights into a first state
    measure: Callable[[Any], dict[str, jax.Array]]  # more metrics, of the parameters


def create(
    *,
    stage: str,
    start: str | None,
    optimizer: optax.GradientTransformation,
    steps_per_epoch: int,
    group: ProcessGroup,
    **options,
) -> CompressionStage:
    """A stage; raises `UserError` for what cannot be."""
    if stage not in STAGES:
        raise unknown("compression.stage", stage, STAGES)
    if start is None:
        raise UserError("which trained network? --config.compression.start=RUN_OR_FILE names it", 2)
    return configs.call(
        STAGES[stage],
        f"compression ({stage})",
        configs.ConfigDict(options),
        optimizer=optimizer,
        start=start,
        steps_per_epoch=steps_per_epoch,
        group=group,
    )


def prune(
    *,
    optimizer: optax.GradientTransformation,
    start: str,
    steps_per_epoch: int,
    group: ProcessGroup,
    rule: str,
    amount: pruning.Amount,
    rounds: int,
    until: str,
) -> CompressionStage:
    """Prunes and retrains, again and again (Han et al. 2015, section 3).

    Args:
      rule, amount: see `pruning.masks`.
      rounds: how many times; the same fraction of the weights that are left goes each time.
      until: when the last round begins, "0 epochs" for one round at the start.
    """
    if rounds < 1:
        raise UserError(f"compression.rounds {rounds} is less than 1", 2)
    last = to_steps(until, steps_per_epoch)
    starts = sorted({round(last * i / max(rounds - 1, 1)) for i in range(rounds)})
    if len(starts) < rounds:
        raise UserError(f"compression.until {until!r} is too early for {rounds} rounds", 2)
    chain = optax.chain(optimizer, pruning.gradually(rule, amount, starts))
    return CompressionStage(
        chain, lambda state: with_weights(state, trained(start, state), group), measure
    )


def share(
    *,
    optimizer: optax.GradientTransformation,
    start: str,
    steps_per_epoch: int,
    group: ProcessGroup,
    bits: int | Mapping[str, int],
    initialization: str,
) -> CompressionStage:
    """Shares values by k-means, and trains these (Han et al. 2016, section 3).

    Args:
      bits: of the codes: for all kernels, or for each by path ("conv1").
      initialization: of k-means, see `sharing.share`.
    """
    del steps_per_epoch
    widest = max(bits.values()) if isinstance(bits, Mapping) else bits

    def load_start(state):
        weights = trained(start, state)
        flat = pruning.flatten(weights["params"])
        layers = [pruning.name(path) for path in flat if pruning.is_kernel(path)]
        lengths = dict(bits) if isinstance(bits, Mapping) else dict.fromkeys(layers, bits)
        for layer in [*lengths, *layers]:
            if layer not in layers:
                raise unknown("layer in compression.bits", layer, layers)
            if layer not in lengths:
                raise UserError(f"compression.bits lacks the layer {layer}", 2)
        codes = dict.fromkeys(flat, np.int32(0))
        for layer in layers:
            path = f"{layer}/kernel"
            flat[path] = sharing.share(flat[path], lengths[layer], initialization).values()
            codes[path] = sharing.codes(flat[path])
        flat, codes = (unflatten_dict(values, sep="/") for values in (flat, codes))
        tied, *others = state.opt_state
        tied = tied.replace(codes=like(tied.codes, codes, group))
        state = with_weights(state, weights | {"params": flat}, group)
        return state.replace(opt_state=(tied, *others))

    return CompressionStage(optax.chain(sharing.tied(widest), optimizer), load_start, measure)


STAGES = {"prune": prune, "share": share}


def trained(start: str, state: TrainState) -> dict[str, Any]:
    """The weights of a run or file; raises `UserError` where they are those of another network."""
    weights = load_run(start).variables()
    if jax.tree.map(np.shape, weights) != jax.tree.map(np.shape, state.variables):
        raise UserError(f"{start} has the weights of another network than config.model describes")
    return weights


def measure(params: Any) -> dict[str, jax.Array]:
    """The metric of training that is about its weights: the fraction that is not 0."""
    return {"density": pruning.total_density(params)}
