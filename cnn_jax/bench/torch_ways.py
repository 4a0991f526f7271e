"""PyTorch's programs, to be timed: the same network, batch and kind of step, channels last."""

from collections.abc import Callable

import jax
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cnn_jax.bench.measure import Way
from cnn_jax.errors import UserError, first_line

# Whether it is compiled, and the precision of autocast.
KINDS = {
    "torch-eager": (False, None),
    "torch-compile": (True, None),
    "torch-bf16": (False, torch.bfloat16),
    "torch-compile-bf16": (True, torch.bfloat16),
}


def device() -> torch.device:
    """PyTorch's device of the kind that JAX uses; raises `UserError` where it has none."""
    backend = jax.default_backend()
    if backend == "cpu":
        return torch.device("cpu")
    if backend == "gpu" and torch.cuda.is_available():
        if jax.device_count() > 1:
            raise UserError("PyTorch is measured on one GPU: set CUDA_VISIBLE_DEVICES=0")
        return torch.device("cuda")
    raise UserError(
        f"JAX computes on {backend}, which PyTorch {torch.__version__} does not support: install "
        "one that does, or compare on the CPU with JAX_PLATFORMS=cpu"
    )


def ways(
    kinds: list[str],
    create: Callable[[], nn.Module],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    train: bool,
    auxiliary_weight: float,
    count: int,
) -> tuple[dict[str, Way], dict[str, str]]:
    """A way for each of `kinds`; and for those that fail here the reason.

    Args:
      kinds: of `KINDS`.
      create: makes a new network.
      images: float32 [B, H, W, C].
      labels: int [B].
      train: whether a step trains (forward, cross entropy, backward, SGD with momentum) or is a
        forward pass.
      auxiliary_weight: of the losses of auxiliary heads.
      count: steps of each start.
    """
    place = device()
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(place)
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.from_numpy(labels.astype(np.int64)).to(place)
    made, skipped = {}, {}
    for kind in kinds:
        compiled, precision = KINDS[kind]
        network = create().to(place, memory_format=torch.channels_last).train(train)
        call = torch.compile(network) if compiled else network
        cast = torch.autocast(place.type, precision, enabled=precision is not None)
        step = _train_step(network, call, cast, x, y, auxiliary_weight)
        step = step if train else _forward(call, cast, x)
        try:
            _repeated(step, 1)()  # compiles
        except Exception as error:  # compilers fail in many ways
            if not compiled:
                raise
            skipped[kind] = (
                f"torch.compile failed; it needs a working C++ compiler ({first_line(error)})"
            )
            continue
        made[kind] = Way(_repeated(step, count), _wait(place), count * len(images))
    return made, skipped


def _train_step(network, call, cast, x, y, auxiliary_weight):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step():
        optimizer.zero_grad()
        with cast:
            output = call(x)
            # Networks with auxiliary heads give (logits, head, ...), in a named tuple.
            logits, *heads = output if isinstance(output, tuple) else (output,)
            loss = functional.cross_entropy(logits, y)
            for head in heads:
                loss = loss + auxiliary_weight * functional.cross_entropy(head, y)
        loss.backward()
        optimizer.step()

    return step


def _forward(call, cast, x):
    def forward():
        with torch.inference_mode(), cast:
            call(x)

    return forward


def _repeated(step, count):
    def start():
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True  # the fastest algorithms
        try:
            for _ in range(count):
                step()
        finally:
            torch.backends.cudnn.benchmark = before

    return start


def _wait(place):
    return torch.cuda.synchronize if place.type == "cuda" else lambda: None
