"""Losses and errors, one value per example."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from cnn_jax.errors import UserError

Array = jax.Array


def create(*, label_smoothing: float, auxiliary_weight: float) -> Callable[..., Array]:
    """`loss(logits, labels, auxiliary)`: cross entropy [B] of logits [B, classes] and labels [B].

    Args:
      label_smoothing: the fraction of the target that goes to all classes alike (arXiv:1512.00567,
        section 7).
      auxiliary_weight: of the cross entropies of auxiliary heads, whose logits are the list
        `auxiliary` (GoogLeNet 0.3, Inception-v3 0.4); without effect on networks without them.
    """
    if not 0 <= label_smoothing <= 1:
        raise UserError(f"loss.label_smoothing {label_smoothing} is not in [0, 1]")

    def cross_entropy(logits: Array, labels: Array) -> Array:
        targets = jax.nn.one_hot(labels, logits.shape[-1])
        return optax.softmax_cross_entropy(logits, optax.smooth_labels(targets, label_smoothing))

    def loss(logits: Array, labels: Array, auxiliary: Sequence[Array] = ()) -> Array:
        heads = sum(cross_entropy(head, labels) for head in auxiliary)
        return cross_entropy(logits, labels) + auxiliary_weight * heads

    return loss


def ranks(logits: Array, labels: Array) -> Array:
    """How many classes come before the right one, int32 [B]; of two equal logits the first wins."""
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    earlier = jnp.arange(logits.shape[-1]) < labels[:, None]
    # What is not a number counts as above: a network that diverged is not right.
    return ((logits > own) | ((logits == own) & earlier) | jnp.isnan(logits)).sum(-1)


def errors(logits: Array, labels: Array) -> dict[str, Array]:
    """Top-1 and top-5 errors, 0 or 1 for each example [B]."""
    rank = ranks(logits, labels)
    return {"top1_error": (rank >= 1) * 1.0, "top5_error": (rank >= 5) * 1.0}
