"""Small trained networks to export, with random weights and statistics."""

import jax
import numpy as np

from cnn_jax import models
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.interop.export import exported

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def network(name, side=64, classes=3, order=None, recipe=None, **options):
    """`Exported` of a family with options; `order`: of the channels, as in Caffe."""
    known = models.options(name)
    settings = known | {"name": name, "num_classes": classes} | options
    settings |= {"unroll": True} if "unroll" in known else {}
    image = np.zeros((1, side, side, 3), np.float32)
    shapes = jax.eval_shape(models.create(**settings).init, jax.random.key(0), image)
    random = np.random.default_rng(0)

    def drawn(leaf):
        fan = np.prod(leaf.shape[:-1])
        if leaf.ndim > 1:
            return random.standard_normal(leaf.shape, np.float32) * np.sqrt(2 / fan, dtype="f4")
        return random.uniform(0.5, 1.5, leaf.shape).astype(np.float32)

    mean, std = (np.float32(values) for values in IMAGENET)
    channels = None if order is None else np.int32(order)
    return exported.create(
        settings,
        jax.tree.map(drawn, shapes),
        name=name,
        preprocessing=Preprocessing(mean, std, None, channels),
        view={
            "kind": "center",
            "size": side,
            "resize": side * 8 // 7,
            "frame": "full",
            "filters": ["bilinear"],
        },
        image_shape=(side, side, 3),
        class_names=("newt", "owl", "wren")[:classes],
        recipe=recipe,
    )


def again(found, network):
    """`Exported` of what a reader made of an exported file."""
    return exported.create(
        found.model,
        found.variables,
        **{
            field: getattr(network, field)
            for field in ("name", "preprocessing", "view", "image_shape", "class_names", "recipe")
        },
    )


def logits(network, images):
    """Our network's, of images that are preprocessed."""
    return np.asarray(jax.jit(network.model.apply)(network.variables, images))
