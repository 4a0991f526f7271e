"""Evaluates weights on a whole split by a protocol; every example is counted once."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from cnn_jax.evaluation.predict import Examples, Predictions, predict
from cnn_jax.evaluation.protocols import Protocol
from cnn_jax.evaluation.target import EvalTarget
from cnn_jax.optim import losses
from cnn_jax.training import sharding


def evaluate(
    target: EvalTarget,
    weights: Mapping[str, Any],
    examples: Examples,
    protocol: Protocol,
    batch_size: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, dict], dict[str, Predictions], dict[int, str]]:
    """Evaluates each of the named weights.

    Args:
      weights: variables by name.
      batch_size: how many views of the target's evaluation size a batch has; of larger views
        fewer.
      on_progress: called with the number of views that are done, and of all.

    Returns:
      What `numbers` returns and the predictions, each by the name of the weights; and the reasons
      for which images were skipped, by example.
    """
    model = target.model
    if protocol.name == "multi_scale" and hasattr(model, "fully_convolutional"):
        model = model.clone(fully_convolutional=True)
    predictions, bad = predict(
        model,
        weights,
        target.preprocessing,
        examples,
        protocol,
        pixels=batch_size * target.size**2,
        jit=target.jit(),
        mesh=sharding.data_mesh(jax.local_devices()),
        threads=target.config.data.threads,
        on_progress=on_progress,
    )
    skipped = {"skipped": len(bad)}
    return {kind: numbers(p) | skipped for kind, p in predictions.items()}, predictions, bad


def numbers(predictions: Predictions) -> dict[str, Any]:
    """`examples`, `top1_right`, `top5_right`, `top1_error` and `top5_error` (0-1), and `loss`."""
    logits, labels = predictions.logits, predictions.labels
    rank, count = np.asarray(losses.ranks(logits, labels)), len(labels)
    right = {k: int((rank < k).sum()) for k in (1, 5)}
    return {
        "examples": count,
        "loss": float(cross_entropy(logits, labels).mean()),
        "top1_error": (count - right[1]) / count,
        "top5_error": (count - right[5]) / count,
        "top1_right": right[1],
        "top5_right": right[5],
    }


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The cross entropy of each example, float64 [N], of logits [N, classes] and labels [N]."""
    logits = logits.astype(np.float64)
    peak = logits.max(1, keepdims=True)
    normalizer = np.log(np.exp(logits - peak).sum(1)) + peak[:, 0]
    return normalizer - np.take_along_axis(logits, labels[:, None], 1)[:, 0]
