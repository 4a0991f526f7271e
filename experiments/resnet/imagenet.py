"""He et al. (2016), arXiv:1512.03385, section 3.4 and Tables 2-4: residual networks on ImageNet.

Command    python launch.py train --config=experiments/resnet/imagenet.py:50 \\
               --config.data.path=IMAGENET
           python launch.py sweep --config=experiments/resnet/imagenet.py --table=table_3
           python launch.py eval RUN --protocol=ten_crop
           python launch.py eval RUN RUN ... --ensemble --protocol=multi_scale    # Table 5
           IMAGENET: {train,val}/<synset>/*.JPEG; or --config.data.name=tfds:imagenet2012
Variants   depth 50 (default), 18, 34, 101, 152; shortcuts `B` (default), `A`, `C`; `plain` removes
           them; `steps` drops the rate at fixed epochs, as arXiv:1603.05027; `fb.resnet.torch` is
           the recipe of Facebook's code; `fb.resnet.torch-early` that of its published networks of
           18 to 101 layers: the squares of its aspect ratios (until 2016-02-19), no batch norms in
           the projections of 18 and 34, and those of 50 after the addition; `torchvision` is the
           recipe of torchvision's references
Expected   validation error, top-1 / top-5: 10 crops 22.85 / 6.71, 1 crop (authors' models) 24.7 /
           7.8 for 50; 1 crop, `50,fb.resnet.torch-early` 24.01 / 7.02, `152,fb.resnet.torch` 22.16
           / 6.16, `50,torchvision` 23.87 / 7.138 %; within 0.3 counts as reproduced. Six networks
           of different depth, two of them 152, at several scales: test error, top-5, 3.57 %
Hardware   eight accelerators
Deviations the rate drops when the error of 10,000 held-out training images has not improved by
           0.1 % for five epochs (the paper: "when the error plateaus", by hand). Batch norms see 32
           images, as the authors' repository says, and evaluate with moving averages, where the
           authors average again after training. Only kernels decay, as fb.resnet.torch's README
           understands the paper. He's initialization is by fan-in (the paper does not say which).
           fb.resnet.torch's authors, too, mention averaging the batch norms again, without saying
           for which networks; its early convolutions had biases, which batch norms cancel
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row, Table, errors

from .. import groups, protocols
from . import published

VARIANTS = {
    "depth": ("50", "18", "34", "101", "152"),
    "shortcut": ("B", "A", "C"),
    "network": ("residual", "plain"),
    "recipe": (
        "paper",
        "steps",
        "fb.resnet.torch",
        "fb.resnet.torch-early",
        "torchvision",
        "smoke",
    ),
}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe of section 3.4, or that of fb.resnet.torch."""
    chosen = choose(variant, VARIANTS)
    config = ConfigDict(
        {
            **groups.plain(),
            "seed": 0,
            "model": network(int(chosen["depth"]), chosen["network"], chosen["shortcut"]),
            "data": groups.data(
                "folder", "data/imagenet", storage="stream", validation_size=10_000
            ),
            "view": {
                "train": groups.scale_crop(224, [256, 480]),
                "evaluation": groups.center(224, resize=256),
            },
            "color": groups.color(lighting=0.1),
            "preprocessing": {"mean": "pixel", "std": "none", "whitening": "none"},
            "augmentation": {"crop_padding": 0, "crop_fill": "zero", "flip": True},
            "optimizer": groups.momentum(
                nesterov=False, weight_decay=1e-4, decay="kernels", rate_inside=True
            ),
            "learning_rate": groups.plateau(0.1),
            "training": groups.training("600000 steps", batch_size=256),
            "evaluation": groups.evaluation("validation", "test", batch_size=250),
        }
    )
    if chosen["recipe"] not in ("paper", "smoke"):
        drop_at_steps(config, ["30 epochs", "60 epochs"], "90 epochs")
    if chosen["recipe"].startswith("fb.resnet.torch"):
        follow_fb_resnet_torch(config)
    if chosen["recipe"] == "fb.resnet.torch-early":
        follow_early_fb_resnet_torch(config)
    if chosen["recipe"] == "torchvision":
        follow_torchvision(config)
    if chosen["recipe"] == "smoke":
        groups.smoke_on_noise(config, size=64)
    return config


def network(depth: int, kind: str, shortcut: str) -> groups.Group:
    """A network of Table 1, or its plain twin (section 3.3)."""
    return {
        "name": "resnet",
        "depth": depth,
        "residual": kind == "residual",
        "shortcut": shortcut,
        "stride_in": "1x1",
        "ceil_pool": True,
        "init_fan": "in",
        "bn_group_size": 32,  # 256 images on eight GPUs
    }


def drop_at_steps(config: ConfigDict, drops: list[str], duration: str) -> None:
    """Divides the rate by ten at fixed times, so that no images are held out."""
    config.data.validation_size = 0
    config.evaluation.splits = ["test"]
    config.training.duration = duration
    config.learning_rate = groups.step(0.1, drops, factor=0.1)


def follow_fb_resnet_torch(config: ConfigDict) -> None:
    """Strides in the 3x3, crops of any aspect, color jitter, Nesterov, decay of all parameters."""
    # 256 images on four GPUs, as its README trains ResNet-50.
    config.model.update(stride_in="3x3", ceil_pool=False, init_fan="out", bn_group_size=64)
    config.view.train = groups.area_aspect(224, 0.08)
    config.view.evaluation.filters = ["bicubic"]
    config.color.update(brightness=0.4, contrast=0.4, saturation=0.4)
    config.preprocessing.update(mean="imagenet", std="imagenet")
    config.optimizer.update(nesterov=True, decay="all", rate_inside=False)


def follow_early_fb_resnet_torch(config: ConfigDict) -> None:
    """What its published networks of 18 to 101 layers have, and its code of today has not."""
    config.view.train = groups.area_aspect(224, 0.08, kind="area_square")
    if config.model.depth == 50:  # pretrained/README.md
        config.model.order = "BN after addition"
    config.model.shortcut_bn = config.model.depth not in (18, 34)  # its issue 49


def follow_torchvision(config: ConfigDict) -> None:
    """references/classification of pytorch/vision: as fb.resnet.torch, but for these."""
    follow_fb_resnet_torch(config)
    config.model.bn_group_size = 32  # on each of eight GPUs
    config.view.train.filters = config.view.evaluation.filters = ["bilinear"]
    config.color = groups.color()
    config.optimizer.nesterov = False


def table_2() -> Iterator[Row]:
    """Plain and residual networks with shortcuts A."""
    for name, error in published.TABLE_2.items():
        words = name.replace("plain-", "plain,").replace("ResNet-", "A,")
        yield Row(name, words, published={"ten_crop/top1_error": error})


def table_3() -> Iterator[Row]:
    """The paper's own rows, evaluated with ten crops."""
    return own_rows(published.TABLE_3, "ten_crop")


def table_4() -> Iterator[Row]:
    """The paper's own rows, evaluated at several scales."""
    return own_rows(published.TABLE_4, "multi_scale")


def own_rows(table: dict[str, dict[str, float]], protocol: str) -> Iterator[Row]:
    """The rows named ResNet or plain; a name like "ResNet-34 A" includes the shortcut."""
    for name, row in table.items():
        kind, _, rest = name.partition("-")
        if kind in ("ResNet", "plain") and rest:
            words = rest.replace(" ", ",") + (",plain" if kind == "plain" else "")
            yield Row(name, words, published=errors(row, protocol))


def fb_resnet_torch() -> Iterator[Row]:
    """Depths 18 to 152 in the README of fb.resnet.torch; its 200 has pre-activation."""
    for depth in ("18", "34", "50", "101", "152"):
        row = published.FB_RESNET_TORCH[int(depth)]
        ten = {"top1": row["top1_ten_crop"], "top5": row["top5_ten_crop"]}
        numbers = errors(row, "test") | errors(ten, "ten_crop")
        code = "fb.resnet.torch" if depth == "152" else "fb.resnet.torch-early"
        yield Row(f"ResNet-{depth}", f"{depth},{code}", published=numbers)


def torchvision() -> Iterator[Row]:
    """The weights IMAGENET1K_V1; of the wider ones it tells no recipe, or a longer one."""
    for depth in (18, 34, 50, 101, 152):
        name = f"resnet{depth}"
        yield Row(name, f"{depth},torchvision", published=errors(published.TORCHVISION[name]))


PAPER = "He et al. (2016), arXiv:1512.03385"
TABLES = {
    "table_2": Table(
        f"{PAPER}, Table 2: plain and residual networks, ImageNet",
        "validation error, ten crops of 224, one run",
        "mean",
        table_2,
        tolerance=0.3,
        protocols=protocols.ten_crop(224, resize=256),
    ),
    "table_3": Table(
        f"{PAPER}, Table 3: shortcuts and depth, ImageNet",
        "validation error, ten crops of 224, one run",
        "mean",
        table_3,
        tolerance=0.3,
        protocols=protocols.ten_crop(224, resize=256),
    ),
    "table_4": Table(
        f"{PAPER}, Table 4: single models, ImageNet",
        "validation error, fully convolutional at the sides 224, 256, 384, 480 and 640, one run",
        "mean",
        table_4,
        tolerance=0.3,
        protocols=protocols.multi_scale(224, 256, 384, 480, 640, flip=False),
    ),
    "fb.resnet.torch": Table(
        "README of facebookarchive/fb.resnet.torch: ResNets on ImageNet",
        "validation error of one center crop of 224, and of ten crops, one run",
        "mean",
        fb_resnet_torch,
        tolerance=0.3,
        protocols=protocols.ten_crop(224, resize=256, average="logits"),
    ),
    "torchvision": Table(
        "torchvision's ResNets, IMAGENET1K_V1",
        "validation error of one center crop of 224, one run",
        "mean",
        torchvision,
        tolerance=0.3,
    ),
}
