"""Networks of `cases` that take images as torchvision's do, and networks that were read again."""

import jax
import numpy as np

from cnn_jax.interop.export import exported
from tests.interop.export.cases import Case
from tests.interop.export.cases import network as made

IMAGENET = {
    "mean": np.float32([123.675, 116.28, 103.53]),
    "std": np.float32([58.395, 57.12, 57.375]),
}


def network(family, side=64, order=None, classes=3, **options):
    """`Exported` of a family with options; `order`: of the channels, as in Caffe."""
    channels = None if order is None else np.int32(order)
    case = Case(family, (side, side, 3), options, classes)
    return made(case, channels=channels, **IMAGENET)[0]


def again(found, network):
    """`Exported` of what a reader made of an exported file."""
    fields = ("name", "preprocessing", "view", "image_shape", "class_names", "recipe")
    about = {field: getattr(network, field) for field in fields}
    return exported.create(found.model, found.variables, **about)


def logits(network, images):
    """Our network's, of images that are preprocessed."""
    return np.asarray(jax.jit(network.model.apply)(network.variables, images))
