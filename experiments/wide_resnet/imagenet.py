"""Zagoruyko & Komodakis (2016), arXiv:1605.07146, Tables 7-9: Wide ResNets on ImageNet.

Command    python launch.py train --config=experiments/wide_resnet/imagenet.py:50-2 \\
               --config.data.path=IMAGENET
           python launch.py sweep --config=experiments/wide_resnet/imagenet.py --table=table_7
           IMAGENET: {train,val}/<synset>/*.JPEG; or --config.data.name=tfds:imagenet2012
Variants   depth-width 50-2 (default; bottlenecks of twice the inner width), 18-1, 18-1.5, 18-2,
           18-3, 34-1, 34-1.5, 34-2; `pre-200` is the thin ResNet-200 with pre-activation
Expected   validation error, one crop, top-1 / top-5: 50-2 21.9 / 6.03, 34-2 23.39 / 7.00, 18-2
           25.58 / 8.06 %; within 0.3 counts as reproduced
Hardware   four accelerators or more
Deviations this is the recipe of fb.resnet.torch, with which the paper trains. Projections of
           `pre-200` see the activated input, as its authors have them; those of fb.resnet.torch,
           whose number Table 8 repeats, see the raw one
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row, Table, errors

from .. import groups
from ..resnet import imagenet as resnet
from . import published

VARIANTS = {
    "network": ("50-2", "18-1", "18-1.5", "18-2", "18-3", "34-1", "34-1.5", "34-2", "pre-200"),
    "recipe": ("paper", "smoke"),
}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe of fb.resnet.torch (section 3 of the paper) for wider networks."""
    chosen = choose(variant, VARIANTS)
    depth, width = chosen["network"].split("-")
    if depth == "pre":
        config = resnet.get_config("152,fb.resnet.torch")
        config.model.update(depth=int(width), preactivation=True)
    else:
        config = resnet.get_config(f"{depth},fb.resnet.torch")
        config.model["inner_width" if depth == "50" else "width"] = float(width)
    if chosen["recipe"] == "smoke":
        groups.smoke_on_noise(config, size=64)
    return config


def table_7() -> Iterator[Row]:
    """Networks of basic blocks with several widths."""
    for (depth, width), row in published.TABLE_7.items():
        yield Row(f"WRN-{depth}-{width:g}", f"{depth}-{width:g}", published=errors(row))


def table_8() -> Iterator[Row]:
    """The paper's own row, and the deepest of fb.resnet.torch, which has a table of the others."""
    for name, word in (("WRN-50-2-bottleneck", "50-2"), ("pre-ResNet-200", "pre-200")):
        yield Row(name, word, published=errors(published.TABLE_8[name]))


PAPER = "Zagoruyko & Komodakis (2016), arXiv:1605.07146"
PROTOCOL = "validation error of one center crop of 224, one run"
TABLES = {
    "table_7": Table(
        f"{PAPER}, Table 7: width, ImageNet", PROTOCOL, "mean", table_7, tolerance=0.3
    ),
    "table_8": Table(
        f"{PAPER}, Table 8: bottlenecks, ImageNet", PROTOCOL, "mean", table_8, tolerance=0.3
    ),
}
