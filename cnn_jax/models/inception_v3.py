"""Szegedy et al. (2016), arXiv:1512.00567: Inception-v2 and -v3, for images of 299x299.

The paper's Table 1 and the network that its authors released (tf-slim, inception_v3.py) differ.
Both stand below in the notation of `inception_blocks`, with the names of the released network.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnn_jax import errors
from cnn_jax.models import layers, pooling
from cnn_jax.models.inception_blocks import ConvUnit, Mixed, apply_step, smallest_input

Array = jax.Array


def figure_5(branch_5x5: str, pool_projection: int) -> tuple:
    """A module on the 35x35 grid; `branch_5x5` is "5x5" in the released code, "3x3" in Figure 5."""
    return (
        ("1x1 64",),
        ("1x1 48", f"{branch_5x5} 64"),
        ("1x1 64", "3x3 96", "3x3 96"),
        ("avg 3x3", f"1x1 {pool_projection}"),
    )


def figure_6(c7: int) -> tuple:
    """A module on the 17x17 grid: each 7x7 convolution is factorized into 1x7 and 7x1."""
    return (
        ("1x1 192",),
        (f"1x1 {c7}", f"1x7 {c7}", "7x1 192"),
        (f"1x1 {c7}", f"7x1 {c7}", f"1x7 {c7}", f"7x1 {c7}", "1x7 192"),
        ("avg 3x3", "1x1 192"),
    )


FIGURE_7 = (  # the module on the 8x8 grid, with expanded filter banks
    ("1x1 320",),
    ("1x1 384", ("1x3 384", "3x1 384")),
    ("1x1 448", "3x3 384", ("1x3 384", "3x1 384")),
    ("avg 3x3", "1x1 192"),
)

# Figure 10: parallel convolutions and pool of stride 2, from 35x35 to 17x17 and from there to 8x8.
REDUCTION_17 = (
    ("3x3/2 V 384",),
    ("1x1 64", "3x3 96", "3x3/2 V 96"),
    ("max 3x3/2 V",),
)
REDUCTION_8 = (
    ("1x1 192", "3x3/2 V 320"),
    ("1x1 192", "1x7 192", "7x1 192", "3x3/2 V 192"),
    ("max 3x3/2 V",),
)

RELEASED = {  # output for 299x299x3
    "Conv2d_1a": "3x3/2 V 32",  # 149x149x32
    "Conv2d_2a": "3x3 V 32",  # 147x147x32
    "Conv2d_2b": "3x3 64",  # 147x147x64
    "MaxPool_3a": "max 3x3/2 V",  # 73x73x64
    "Conv2d_3b": "1x1 80",  # 73x73x80
    "Conv2d_4a": "3x3 V 192",  # 71x71x192
    "MaxPool_5a": "max 3x3/2 V",  # 35x35x192
    "Mixed_5b": figure_5("5x5", 32),  # 35x35x256
    "Mixed_5c": figure_5("5x5", 64),  # 35x35x288
    "Mixed_5d": figure_5("5x5", 64),  # 35x35x288
    "Mixed_6a": REDUCTION_17,  # 17x17x768
    "Mixed_6b": figure_6(128),  # 17x17x768
    "Mixed_6c": figure_6(160),  # 17x17x768
    "Mixed_6d": figure_6(160),  # 17x17x768
    "Mixed_6e": figure_6(192),  # 17x17x768
    "Mixed_7a": REDUCTION_8,  # 8x8x1280
    "Mixed_7b": FIGURE_7,  # 8x8x2048
    "Mixed_7c": FIGURE_7,  # 8x8x2048
}

# Table 1 as printed. The paper prints no widths inside the modules: they are those of the released
# network here, with one more 17x17 module like its 6c and 6d. That makes 25.9 million parameters,
# where the abstract says "less than 25 million". The last convolution before the modules is padded
# because the printed sizes need it; the table does not mark that.
TABLE_1 = {
    "Conv2d_1a": "3x3/2 V 32",  # 149x149x32
    "Conv2d_2a": "3x3 V 32",  # 147x147x32
    "Conv2d_2b": "3x3 64",  # 147x147x64
    "MaxPool_3a": "max 3x3/2 V",  # 73x73x64
    "Conv2d_3b": "3x3 V 80",  # 71x71x80
    "Conv2d_4a": "3x3/2 V 192",  # 35x35x192
    "Conv2d_5a": "3x3 288",  # 35x35x288
    "Mixed_5b": figure_5("3x3", 64),  # 35x35x288, three modules as in Figure 5
    "Mixed_5c": figure_5("3x3", 64),
    "Mixed_5d": figure_5("3x3", 64),
    "Mixed_6a": REDUCTION_17,  # 17x17x768
    "Mixed_6b": figure_6(128),  # 17x17x768, five modules as in Figure 6
    "Mixed_6c": figure_6(160),
    "Mixed_6d": figure_6(160),
    "Mixed_6e": figure_6(160),
    "Mixed_6f": figure_6(192),
    "Mixed_7a": REDUCTION_8,  # 8x8x1280
    "Mixed_7b": FIGURE_7,  # 8x8x2048, two modules as in Figure 7
    "Mixed_7c": FIGURE_7,
}

LAYOUTS = {"released": RELEASED, "table_1": TABLE_1}
RECEPTIVE_FIELDS = (79, 151, 299)
AUXILIARY = ("none", "plain", "bn")
KERNEL_INITS = ("truncated_normal", "variance_scaling")


def architecture(layout: str, factorized_stem: bool, receptive_field: int) -> dict:
    """The table of the network with these options: an ordered dict of name -> step or module."""
    table = dict(LAYOUTS[layout])
    if not factorized_stem:
        del table["Conv2d_2a"], table["Conv2d_2b"]
        table["Conv2d_1a"] = "7x7/2 V 64"  # 147x147x64, as after the three 3x3
    if receptive_field < 299:
        table["Conv2d_1a"] = table["Conv2d_1a"].replace("/2", "")
    if receptive_field == 79:
        del table["MaxPool_3a"]
    return table


class AuxiliaryHead(nn.Module):
    """The second classifier, on the last 17x17 module: [B, 17, 17, 768] -> logits [B, classes].

    Its 5x5 convolution covers the whole pooled map, so it is the head's fully connected layer.
    Without `batch_norm` it has a bias instead; the 1x1 always has a batch norm (section 10).
    """

    num_classes: int
    conv: functools.partial
    batch_norm: bool

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = pooling.avg_pool(x, window=5, stride=3, padding=0, count_include_pad=True)
        x = self.conv(128, (1, 1), name="Conv2d_1b_1x1")(x, train)
        norm = self.conv.keywords["norm"] if self.batch_norm else None
        init = nn.initializers.truncated_normal(0.01)
        x = self.conv(768, (5, 5), norm=norm, kernel_init=init, name="Conv2d_2a_5x5")(x, train)
        x = layers.at_least_float32(x.mean((1, 2)))
        init = nn.initializers.truncated_normal(0.001)
        return nn.Dense(self.num_classes, kernel_init=init, name="fc")(x)


class InceptionV3(nn.Module):
    """Inception-v3 and its ancestors: images [B, H, W, C] -> logits [B, classes].

    The rows of Table 3: Inception-v2 is `factorized_stem=False, auxiliary="plain"`; RMSProp and
    label smoothing change the training only; "+ factorized 7x7" is `auxiliary="plain"`;
    "+ BN-auxiliary", Inception-v3, is the default.

    `layout`: "released", the authors' network, or "table_1", the network as printed.
    `factorized_stem`: the network starts with three 3x3 convolutions; False starts with one 7x7 of
    stride 2 to 64 channels (the paper does not print it; this one gives the same 147x147x64).
    `receptive_field`: 299, 151 (first layer of stride 1) or 79 (also without the first max pool);
    images of that size cost nearly the same in all three (Table 2).
    `auxiliary`: "bn", "plain" (without batch norm on its fully connected layer) or "none". In
    training the head sows its logits into the collection "aux_logits", as "auxiliary"; the released
    code weighs their loss by 0.4.
    `bn_scale`: batch norms have a gamma, as in torchvision; the released network has none.
    `bn_epsilon`, `bn_momentum`: constants of the batch norms; torchvision has a momentum of 0.9.
    `bn_group_size`: examples that share batch statistics; None means the whole batch.
    `count_include_pad`: average pools inside modules divide by 9 at the border too, as in
    torchvision; TensorFlow divides by the number of pixels inside the map.
    `dropout`: fraction of the pooled features that is dropped; torchvision has 0.5.
    `kernel_init`: "truncated_normal" of std 0.1 (tensorflow/models) or "variance_scaling"
    (tf-slim). The last layer has std 0.01 with the former; the auxiliary head has 0.01 and 0.001
    with both.
    """

    num_classes: int
    layout: str = "released"
    factorized_stem: bool = True
    receptive_field: int = 299
    auxiliary: str = "bn"
    bn_scale: bool = False
    bn_epsilon: float = 0.001
    bn_momentum: float = 0.9997
    bn_group_size: int | None = None
    count_include_pad: bool = False
    dropout: float = 0.2
    kernel_init: str = "truncated_normal"
    dtype: str = "float32"

    def __post_init__(self):
        super().__post_init__()
        for option, choices in [
            ("layout", LAYOUTS),
            ("receptive_field", RECEPTIVE_FIELDS),
            ("auxiliary", AUXILIARY),
            ("kernel_init", KERNEL_INITS),
        ]:
            if getattr(self, option) not in choices:
                raise errors.unknown(f"{option} of inception_v3", getattr(self, option), choices)
        layers.require_fractions("inception_v3", dropout=self.dropout, bn_momentum=self.bn_momentum)

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        table = architecture(self.layout, self.factorized_stem, self.receptive_field)
        self._check_size(images, table, train)
        kernel_init, logits_init = self._initializers()
        norm = functools.partial(
            layers.BatchNorm,
            self.bn_group_size,
            self.bn_momentum,
            self.bn_epsilon,
            use_scale=self.bn_scale,
            dtype=self.dtype,
        )
        conv = functools.partial(ConvUnit, norm=norm, kernel_init=kernel_init, dtype=self.dtype)
        x = images
        for name, content in table.items():
            if name == "Mixed_7a":
                self._auxiliary(x, train, conv)
            if isinstance(content, str):
                x = apply_step(content, x, train, conv, self.count_include_pad, name)
            else:
                x = Mixed(content, conv, self.count_include_pad, name=name)(x, train)
        x = layers.at_least_float32(x.mean((1, 2)))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes, kernel_init=logits_init, name="fc")(x)

    def _initializers(self):
        if self.kernel_init == "truncated_normal":
            return nn.initializers.truncated_normal(0.1), nn.initializers.truncated_normal(0.01)
        init = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
        return init, init

    def _auxiliary(self, x: Array, train: bool, conv: functools.partial) -> None:
        if self.auxiliary == "none" or not (train or self.is_initializing()):
            return
        if not train:  # `init` creates the parameters; their shapes do not depend on the images
            x = jnp.zeros((1, 17, 17, x.shape[-1]), x.dtype)
        head = AuxiliaryHead(self.num_classes, conv, self.auxiliary == "bn", name="AuxLogits")
        logits = head(x, train)
        if train:
            self.sow("aux_logits", "auxiliary", logits)

    def _check_size(self, images: Array, table: dict, train: bool) -> None:
        size = min(images.shape[1:3])
        shape = "x".join(map(str, images.shape[1:3]))
        smallest = smallest_input(table)
        if size < smallest:
            raise errors.UserError(
                f"inception_v3: images of {shape} are too small, "
                f"the smallest are {smallest}x{smallest}"
            )
        body = {k: content for k, content in table.items() if not k.startswith("Mixed_7")}
        smallest = smallest_input(body, 17)
        if train and self.auxiliary != "none" and size < smallest:
            raise errors.UserError(
                f"inception_v3: images of {shape} are too small for the auxiliary head: training "
                f'needs {smallest}x{smallest}. Choose auxiliary="none" or a smaller '
                "receptive_field"
            )
