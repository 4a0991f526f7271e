"""What the tests of several networks do with them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax import models
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.training import compiler


def filled(model, image_size):
    """Variables of normal kernels, which is quicker than `model.init`, and two images."""
    images = jax.ShapeDtypeStruct((2, image_size, image_size, 3), jnp.float32)
    shapes = eval_shape(model.init, jax.random.key(0), images)
    generator = np.random.default_rng(0)

    def fill(leaf):
        if len(leaf.shape) == 1:
            return np.zeros(leaf.shape, np.float32)
        scale = (2 / np.prod(leaf.shape[:-1])) ** 0.5
        return scale * generator.standard_normal(leaf.shape, np.float32)

    return jax.tree.map(fill, shapes), generator.standard_normal(images.shape, np.float32)


def drawn(model, image_size):
    """Initial kernel and bias of at most 64 outputs of every layer by name.

    The network does not run.
    """
    found = {}

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        if isinstance(context.module, nn.Conv | nn.Dense):
            params = dict(context.module.variables["params"])
            shapes = {kind: (*p.shape[:-1], min(p.shape[-1], 64)) for kind, p in params.items()}
            found["/".join(context.module.path)] = (context.module, shapes)
        return output

    images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    with nn.intercept_methods(note):
        eval_shape(model.init, jax.random.key(0), images)

    def draw(key):
        return {
            name: (
                layer.kernel_init(key, shapes["kernel"], jnp.float32),
                layer.bias_init(key, shapes["bias"], jnp.float32),
            )
            for name, (layer, shapes) in found.items()
        }

    return jax.tree.map(np.asarray, compiler.jit(draw, once=True)(jax.random.key(0)))


def lowered(model, variables, images, train=False):
    """The text of the program of a forward pass, which draws no random numbers."""

    def forward(variables, images):
        return model.apply(variables, images, train=train)

    return jax.jit(forward).lower(variables, images).as_text()


@functools.cache
def shapes_at(name: str, size: int, **options):
    """A network with 10 classes, the shapes of its variables, and of two square images."""
    model = models.create(name, num_classes=10, **options)
    image = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    return model, eval_shape(lambda x: model.init(jax.random.key(0), x), image), image


def forward(model, variables, image, train: bool):
    """Shapes of the logits and of what changed."""
    return eval_shape(
        lambda v, x: model.apply(
            v,
            x,
            train=train,
            mutable=["batch_stats", "aux_logits"],
            rngs={"dropout": jax.random.key(1)},
        ),
        variables,
        image,
    )


def outputs_at(name: str, size: int, **options) -> dict[str, tuple[int, ...]]:
    """Output shape, without the batch, of the modules that stand directly in a network."""
    seen = {}

    def note(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        if context.method_name == "__call__" and len(context.module.path) == 1:
            seen[context.module.path[0]] = output.shape[1:]
        return output

    model = models.create(name, num_classes=10, **options)
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    with nn.intercept_methods(note):
        eval_shape(model.init, jax.random.key(0), image)
    return seen
