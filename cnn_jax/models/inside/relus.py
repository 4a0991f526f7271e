"""The ReLUs of a network, which are functions and no modules: found in the traced program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

Array = jax.Array
Rule = Callable[[Array, str], Array]


def with_relus(function: Callable, rule: Rule) -> Callable:
    """`function`, with `rule(x, name)` in the place of every ReLU.

    The name is the path of the layer that x comes from, "conv2/block1/bn1"; "" where that is the
    network itself, as after a pooling.
    """

    def changed(*arguments):
        traced, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = _run(traced.jaxpr, traced.consts, jax.tree.leaves(arguments), rule)
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return changed


def _run(jaxpr: Any, constants: list, operands: list, rule: Rule) -> list[Array]:
    """The results of a program; what it calls under `jit` is a part of it."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *operands], strict=True))
    made_in: dict[Any, str] = {}

    def read(atom):
        return atom.val if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        arguments = [read(atom) for atom in eqn.invars]
        if is_relu(eqn):
            found = [rule(arguments[0], made_in.get(eqn.invars[0], ""))]
        elif eqn.primitive.name == "jit":
            inner = eqn.params["jaxpr"]
            found = _run(inner.jaxpr, inner.consts, arguments, rule)
        else:
            params = eqn.primitive.get_bind_params(eqn.params)
            found = eqn.primitive.bind(*arguments, **params)
            found = found if eqn.primitive.multiple_results else [found]
        known |= zip(eqn.outvars, found, strict=True)
        made_in |= dict.fromkeys(eqn.outvars, layer_of(eqn))
    return [read(atom) for atom in jaxpr.outvars]


def is_relu(eqn: Any) -> bool:
    """Whether a step of a program is `nn.relu`."""
    if eqn.primitive.name != "custom_jvp_call":
        return False
    inner = eqn.params["call_jaxpr"].jaxpr.eqns
    return len(inner) == 1 and inner[0].params.get("name") == "relu"


def layer_of(eqn: Any) -> str:
    """The path of the layer that a step belongs to; methods, which have a dot, are no layers."""
    _, *path = [part for part in str(eqn.source_info.name_stack).split("/") if "." not in part]
    return "/".join(path)


@jax.custom_vjp
def guided_relu(x: Array) -> Array:
    """A ReLU whose gradient passes only where it is positive itself (guided backpropagation).

    Springenberg et al. (2015), arXiv:1412.6806, section 3.4.
    """
    return jnp.maximum(x, 0)


guided_relu.defvjp(
    lambda x: (jnp.maximum(x, 0), x > 0),
    lambda passes, dy: (jnp.where(passes & (dy > 0), dy, 0),),
)
