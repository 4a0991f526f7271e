"""The activations of a network by the names of its layers, and the gradients that reach them.

    conv2/block1          the result of a module: a layer, or a block of several
    conv2/block1/bn1/relu the same after the ReLU that follows it
    embedding             the vector before the classifier

`*` in a pattern stands for anything, "!" before it takes layers away.
"""

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax.errors import UserError
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.inside.relus import with_relus
from cnn_jax.models.linear import MapLinear
from cnn_jax.models.residual_units import unrolled

Array = jax.Array

EMBEDDING, RELU = "embedding", "/relu"
WITH_KERNEL = (nn.Conv, nn.Dense, MapLinear)  # of which the last that is called classifies
NEAREST = 5


def each_block(model: nn.Module, variables: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """The network with every block of its stages under its own name, and variables for it."""
    if hasattr(model, "unroll"):
        model = model.clone(unroll=True, remat=False)
    return model, unrolled(variables)


def apply(
    model: nn.Module,
    variables: Mapping[str, Any],
    images: Array,
    wanted: Iterable[str],
    *,
    changes: Mapping[str, Array] | None = None,
    relu: Callable[[Array], Array] = nn.relu,
) -> tuple[Array, dict[str, Array]]:
    """The logits in evaluation, and the activations [B, ...] that are wanted.

    Args:
      model, variables: from `each_block`.
      images: preprocessed, float [B, H, W, C].
      wanted: names; of several calls of a module the last counts.
      changes: what is added to activations, by name: the gradients of these are theirs.
      relu: takes the place of the network's ReLUs.
    """
    wanted, changes = frozenset(wanted), dict(changes or {})

    def by_modules(variables, images, changes):
        return _by_modules(model, variables, images, wanted, changes)

    if relu is nn.relu and not any(name.endswith(RELU) for name in wanted):
        return by_modules(variables, images, changes)
    after_relus = {}

    def note_relu(x, layer):
        name, y = layer + RELU, relu(x)
        y = y + changes[name] if name in changes else y
        if name in wanted:
            after_relus[name] = y
        return y

    logits, found = with_relus(by_modules, note_relu)(variables, images, changes)
    return logits, found | after_relus


def _by_modules(model, variables, images, wanted, changes) -> tuple[Array, dict[str, Array]]:
    """The logits, and what modules give; see `apply`."""
    found, before = {}, {}

    def note(call, arguments, keywords, context):
        module, name = context.module, "/".join(context.module.path)
        if context.method_name != "__call__" or not name:
            return call(*arguments, **keywords)
        if isinstance(module, WITH_KERNEL):
            before[EMBEDDING] = arguments[0]
        y = call(*arguments, **keywords)
        if name in wanted:
            found[name] = y = y + changes[name] if name in changes else y
        return y

    with nn.intercept_methods(note):
        logits = model.apply(variables, images, train=False)
    if EMBEDDING in wanted:
        x = before[EMBEDDING]
        found[EMBEDDING] = x.reshape(len(x), -1, x.shape[-1]).mean(1)
    return logits, found


@functools.lru_cache(maxsize=8)
def shapes(model: nn.Module, image_shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    """The shape of every activation for one image, [H, W, C] or [C], by name; computes shapes only.

    They are in the order in which modules begin, each with its ReLU; the embedding stands before
    the classifier.
    """
    begun: dict[str, tuple[int, ...]] = {}
    relus: dict[str, tuple[int, ...]] = {}
    kernels: dict[str, tuple[int, ...]] = {}  # the input of each layer that has one

    def note(call, arguments, keywords, context):
        module, name = context.module, "/".join(context.module.path)
        if context.method_name != "__call__" or not name or isinstance(module, nn.Dropout):
            return call(*arguments, **keywords)
        begun[name] = ()
        if isinstance(module, WITH_KERNEL):
            kernels[name] = arguments[0].shape[-1:]
        y = call(*arguments, **keywords)
        begun[name] = y.shape[1:]
        return y

    def note_relu(x, layer):
        relus[layer + RELU] = x.shape[1:]
        return nn.relu(x)

    def evaluation(variables, images):
        with nn.intercept_methods(note):
            return model.apply(variables, images, train=False)

    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = eval_shape(model.init, jax.random.key(0), image)
    eval_shape(with_relus(evaluation, note_relu), variables, image)
    classifier, found = list(kernels)[-1], {}
    for name, shape in begun.items():
        found |= {EMBEDDING: kernels[name]} if name == classifier else {}
        found[name] = shape
        found |= {name + RELU: relus.pop(name + RELU)} if name + RELU in relus else {}
    return found | relus


def chosen(known: Iterable[str], patterns: Iterable[str] | str) -> tuple[str, ...]:
    """The names that the patterns, or one, choose, in the order of the network.

    Raises `UserError` for a pattern that names nothing, with the nearest names, or where none is
    left.
    """
    known, found = list(known), set()
    patterns = [patterns] if isinstance(patterns, str) else patterns
    for number, pattern in enumerate(patterns):
        bare = pattern.removeprefix("!")
        own = {name for name in known if fnmatchcase(name, bare)}
        if not own:
            nearest = difflib.get_close_matches(bare, known, n=NEAREST, cutoff=0)
            raise UserError(
                f"the network has no layer {bare!r}; the nearest are {', '.join(nearest)}", 2
            )
        if bare == pattern:
            found |= own
        else:
            found = (found or set(known) if number == 0 else found) - own
    if not found:
        raise UserError("no layer is left to look at", 2)
    return tuple(name for name in known if name in found)


def one(known: Iterable[str], pattern: str) -> str:
    """The only name that a pattern chooses; raises `UserError` where there are several."""
    found = chosen(known, pattern)
    if len(found) > 1:
        raise UserError(f"{pattern!r} names {len(found)} layers, {found[0]} the first: name one", 2)
    return found[0]


def last_map(known: Mapping[str, tuple[int, ...]]) -> str:
    """The last maps [H, W, C] before the classifier, after their ReLU where one follows.

    Args:
      known: from `shapes`.

    Raises `UserError` for a network of linear layers.
    """
    before = list(known)[: list(known).index(EMBEDDING)]
    maps = [name for name in before if len(known[name]) == 3 and not name.endswith(RELU)]
    if not maps:
        raise UserError("the network has no maps: it has linear layers only", 2)
    last = next((name for name in reversed(maps) if "/" not in name), maps[-1])
    return last + RELU if last + RELU in known else last
