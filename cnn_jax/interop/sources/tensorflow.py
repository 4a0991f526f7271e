"""Networks of `keras.applications`, of Keras 2.2 and of TF-slim."""

from cnn_jax import models
from cnn_jax.interop.sources import caffe, names_inception_v3
from cnn_jax.interop.sources.layout import (
    CAFFE_VGG,
    INCEPTION,
    KERAS,
    SLIM,
    Layout,
    in_units,
)
from cnn_jax.models import vgg

# In the order of the layers in Keras, which counts those of a kind in its files.
RESNET_UNIT = {
    **{f"conv{i}": f"conv{{n}}_block{{u}}_{i}_conv" for i in (1, 2)},
    "shortcut": "conv{n}_block{u}_0_conv",
    "conv3": "conv{n}_block{u}_3_conv",
    **{f"bn{i}": f"conv{{n}}_block{{u}}_{i}_bn" for i in (1, 2)},
    "shortcut_bn": "conv{n}_block{u}_0_bn",
    "bn3": "conv{n}_block{u}_3_bn",
}
RESNET = {"stride_in": "1x1"}


def layouts() -> list[Layout]:
    """All tables of this file."""
    images = {None: CAFFE_VGG}
    heads = {"predictions": "fc", "probs": "fc"}
    resnet = {"conv1_conv": "conv1", "conv1_bn": "bn1"} | heads | in_units(RESNET_UNIT)
    # Before keras-applications 1.0.8 ResNet-50 had Caffe's names, and Keras's own epsilon.
    old = (
        {"conv1": "conv1", "bn_conv1": "bn1", "fc1000": "fc"} | heads | in_units(caffe.RESNET_UNIT)
    )
    return [
        Layout("Keras", "resnet", resnet, KERAS, RESNET, images, epsilon=1.001e-5, biased=True),
        Layout("Keras 2.2", "resnet", old, KERAS, RESNET, images, epsilon=1e-3, biased=True),
        *(keras_vgg(depth) for depth in (16, 19)),
        inception("Keras", keras_inception()),
        inception("TF-slim", slim_inception()),
    ]


def keras_vgg(depth: int) -> Layout:
    """Layers as in the paper, a few with other names."""
    names = {
        f"block{group}_conv{i}": f"conv{group}_{i}"
        for group, count in enumerate(vgg.CONVOLUTIONS[depth], 1)
        for i in range(1, count + 1)
    }
    names |= {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}
    return Layout("Keras", "vgg", names, KERAS, {"depth": depth}, {None: CAFFE_VGG})


def inception(source: str, names: dict[str, str]) -> Layout:
    """Batch norms have no scale in both."""
    kinds = KERAS if source == "Keras" else SLIM
    return Layout(source, "inception_v3", names, kinds, images={None: INCEPTION}, epsilon=1e-3)


def convolutions() -> list[str]:
    """Those of the network and its modules in the order in which Keras and Torch make them."""
    ours = models.create("inception_v3", num_classes=1000, auxiliary="none", bn_scale=True)
    names = names_inception_v3.torch_names(ours)
    return [layer.removesuffix("/conv") for layer in names if layer.endswith("/conv")]


def keras_inception() -> dict[str, str]:
    """Keras counts the layers as it makes them, see `readers.keras.renumbered`.

    The table has them in the order of the network, in which Keras's files count them.
    """
    names = {"predictions": "fc"}
    made = {layer: i for i, layer in enumerate(convolutions())}
    for layer in sorted(made, key=lambda layer: place(layer, list(made))):
        names[f"conv2d_{made[layer]}"] = f"{layer}/conv"
        names[f"batch_normalization_{made[layer]}"] = f"{layer}/bn"
    return names


def place(layer: str, made: list[str]) -> tuple[int, int]:
    """A number of the layer's module, and one that falls to the module's end.

    Keras sorts by the number of layers, three a convolution, that follow until the module's end.
    """
    module, _, rest = layer.partition("/")
    branch = [other for other in made if other.startswith(layer.rpartition("/")[0] + "/")]
    steps = [other.rpartition("/")[2].split("_")[1] for other in branch]  # such as "0a"
    first = next(i for i, other in enumerate(made) if other.partition("/")[0] == module)
    if not rest:
        return first, 0
    following = {step for step in steps if step > layer.rpartition("/")[2].split("_")[1]}
    is_forked = len(set(steps)) < len(steps)  # and joined again, by one layer more
    return first, -(3 * len(following) + is_forked)


# Where TF-slim's names are not the rule, which ours follow: slips that its checkpoints keep.
SLIM_NAMES = {
    **{f"Conv2d_{name}": f"Conv2d_{name}_3x3" for name in ("1a", "2a", "2b", "4a")},
    "Conv2d_3b": "Conv2d_3b_1x1",
    "Mixed_5c/Branch_1/Conv2d_0a_1x1": "Mixed_5c/Branch_1/Conv2d_0b_1x1",
    "Mixed_5c/Branch_1/Conv2d_0b_5x5": "Mixed_5c/Branch_1/Conv_1_0c_5x5",
    "Mixed_6a/Branch_0/Conv2d_1a_3x3": "Mixed_6a/Branch_0/Conv2d_1a_1x1",
    "Mixed_6a/Branch_1/Conv2d_1a_3x3": "Mixed_6a/Branch_1/Conv2d_1a_1x1",
    "Mixed_7b/Branch_1/Conv2d_0b_3x1": "Mixed_7b/Branch_1/Conv2d_0b_3x1",
    "Mixed_7c/Branch_1/Conv2d_0b_3x1": "Mixed_7c/Branch_1/Conv2d_0c_3x1",
    "Mixed_7b/Branch_2/Conv2d_0c_3x1": "Mixed_7b/Branch_2/Conv2d_0d_3x1",
    "Mixed_7c/Branch_2/Conv2d_0c_3x1": "Mixed_7c/Branch_2/Conv2d_0d_3x1",
}


def slim_inception() -> dict[str, str]:
    """Names such as "InceptionV3/Mixed_5b/Branch_0/Conv2d_0a_1x1"."""
    names = {}
    units = {layer: SLIM_NAMES.get(layer, layer) for layer in convolutions()}
    units |= {
        f"AuxLogits/{name}": f"AuxLogits/{name}" for name in ("Conv2d_1b_1x1", "Conv2d_2a_5x5")
    }
    for layer, theirs in units.items():
        names |= {
            f"InceptionV3/{theirs}": f"{layer}/conv",
            f"InceptionV3/{theirs}/BatchNorm": f"{layer}/bn",
        }
    heads = {"Logits/Conv2d_1c_1x1": "fc", "AuxLogits/Conv2d_2b_1x1": "AuxLogits/fc"}
    return names | {f"InceptionV3/{theirs}": ours for theirs, ours in heads.items()}
