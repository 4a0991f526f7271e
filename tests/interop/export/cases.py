"""Networks to export, with weights that keep the values of all layers near 1."""

from typing import Any, NamedTuple

import jax
import numpy as np

from cnn_jax import models
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.interop.export import exported
from cnn_jax.interop.export.exported import Exported

VIEW = {"kind": "full", "resize": None, "frame": "full", "filters": ["bilinear"]}


class Case(NamedTuple):
    """A network and the images that it takes."""

    family: str
    image_shape: tuple[int, int, int]
    options: dict[str, Any]
    num_classes: int = 5

    def __str__(self):
        return " ".join([self.family, *(f"{k}={v}" for k, v in self.options.items())])


PREACTIVATED = {"order": "full pre-activation", "gating": "exclusive", "shortcut": "average"}
QUICK = (
    Case("lenet", (28, 28, 1), {}),
    Case("alexnet", (67, 67, 3), {"fc_width": 8}),
    Case("cifar_resnet", (16, 16, 3), {"depth": 8}),
    Case("cifar_resnet", (17, 17, 3), {"depth": 8} | PREACTIVATED),
    Case("wide_resnet", (8, 8, 1), {"depth": 10, "width": 1}),
    Case("squeezenet", (40, 40, 3), {"bypass": "complex"}),
)
# Those of the docs' table, for images of the papers' sizes, and what else computes otherwise.
WHOLE = (
    Case("lenet", (28, 28, 1), {}, 10),
    Case("cifar_resnet", (32, 32, 3), {"depth": 110}, 10),
    Case("cifar_resnet", (32, 32, 3), {"depth": 164, "order": "full pre-activation"}, 10),
    Case("wide_resnet", (32, 32, 3), {"depth": 28, "width": 10}, 10),
    Case("resnet", (224, 224, 3), {"depth": 50}, 1000),
    Case("resnet", (224, 224, 3), {"depth": 18, "death_rate": 0.5, "shortcut": "A"}, 1000),
    Case("squeezenet", (227, 227, 3), {"bypass": "complex"}, 1000),
    Case("alexnet", (227, 227, 3), {}, 1000),
    Case("alexnet", (263, 263, 3), {"variant": "one_tower", "fully_convolutional": True}, 1000),
    Case("vgg", (224, 224, 3), {"depth": 16}, 1000),
    Case("googlenet", (224, 224, 3), {}, 1000),
    Case("bn_inception", (224, 224, 3), {}, 1000),
    Case("inception_v3", (299, 299, 3), {}, 1000),
)


def network(case: Case, **preprocessing: Any) -> tuple[Exported, np.ndarray]:
    """The network of a case, and three images."""
    rng = np.random.default_rng(0)
    settings = {"name": case.family, "num_classes": case.num_classes} | case.options
    images = rng.integers(0, 256, (3, *case.image_shape)).astype(np.uint8)
    channels = case.image_shape[-1]
    about = {
        "mean": rng.uniform(100, 130, channels).astype(np.float32),
        "std": rng.uniform(50, 70, channels).astype(np.float32),
        "whitening": None,
        "channels": np.arange(channels, dtype=np.int32)[::-1],
    }

    def values(path, leaf):
        kind, normal = path[-1].key, rng.standard_normal(leaf.shape, np.float32)
        if kind == "kernel":
            return normal * np.float32(np.sqrt(2 / np.prod(leaf.shape[:-1])))
        return np.abs(normal) / 2 + np.float32(0.5) if kind in ("scale", "var") else normal / 10

    image = jax.ShapeDtypeStruct(images[:1].shape, np.float32)
    shapes = jax.eval_shape(models.create(**settings).init, jax.random.key(0), image)
    return exported.create(
        settings,
        jax.tree_util.tree_map_with_path(values, shapes),
        name=case.family,
        preprocessing=Preprocessing(**about | preprocessing),
        view=VIEW | {"size": case.image_shape[0], "dct_scaling": False},
        image_shape=case.image_shape,
        class_names=tuple(f"class {i}" for i in range(case.num_classes)),
        recipe=None,
    ), images


def logits(network: Exported, images: np.ndarray) -> np.ndarray:
    """What the network itself gives."""

    @jax.jit
    def apply(variables, images):
        return network.model.apply(variables, network.preprocessing(images), train=False)

    return np.asarray(apply(network.variables, images))
