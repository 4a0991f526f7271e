"""He et al. (2016), arXiv:1603.05027, Tables 1-4: identity mappings, on CIFAR-10 and CIFAR-100.

Command    python launch.py train --config=experiments/preactivation/cifar.py:164 \\
               --config.data.path=CIFAR
           python launch.py sweep --config=experiments/preactivation/cifar.py --table=table_2
           CIFAR: the folder of cifar-10-binary.tar.gz (for `cifar100`, cifar-100-binary.tar.gz), or
           a folder {train,test}/<class>/*.png
Variants   depth 164 (default), 110, 1001, `110-single` (a shortcut around each layer); `original`
           units; `cifar100`; `released` is the code of resnet-1k-layers, with batches of 64
Expected   test error at the last step, median of five: pre-activation 110 6.37, 164 5.46
           (CIFAR-100 24.33), 1001 4.92 (22.71), batches of 64 4.62; original units 110 6.61, 164
           5.93 (25.16), 1001 7.61 (27.82) %; within 0.3 counts as reproduced
Hardware   an accelerator; ResNet-1001 took the authors about a day on two GPUs
Deviations none known. Batch norms see 64 images (`released`: 32), as on two GPUs. Only kernels
           decay, as fb.resnet.torch's README understands the authors' first paper. He's
           initialization is by fan-in (the paper does not say which; `released`: fan-out)
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from cnn_jax.config import choose
from cnn_jax.sweeps.tables import Row, Table, top1

from .. import groups
from . import published

VARIANTS = {
    "network": ("164", "110", "1001", "110-single"),
    "unit": ("preactivation", "original"),
    "dataset": ("cifar10", "cifar100"),
    "recipe": ("paper", "released", "smoke"),
}
ORDERS = {"preactivation": "full pre-activation", "original": "original"}


def get_config(variant: str = "") -> ConfigDict:
    """The recipe of the appendix, or that of the released code."""
    chosen = choose(variant, VARIANTS)
    depth, _, single = chosen["network"].partition("-")
    config = ConfigDict(
        {
            **groups.plain(),
            "seed": 0,
            "model": {
                "name": "cifar_resnet",
                "depth": int(depth),
                "block": single or ("basic" if depth == "110" else "bottleneck"),
                "order": ORDERS[chosen["unit"]],
                "init_fan": "in",
                "bn_group_size": 64,  # 128 images on two GPUs
            },
            "data": groups.data(chosen["dataset"], f"data/{chosen['dataset']}", storage="device"),
            "view": groups.FULL_IMAGES,
            "color": groups.color(),
            "preprocessing": {"mean": "pixel", "std": "none", "whitening": "none"},
            "augmentation": {"crop_padding": 4, "crop_fill": "zero", "flip": True},
            "optimizer": groups.momentum(
                nesterov=False, weight_decay=1e-4, decay="kernels", rate_inside=True
            ),
            "learning_rate": groups.step(
                0.1,
                ["32000 steps", "48000 steps"],
                factor=0.1,
                warmup="400 steps",
                warmup_shape="constant",
                warmup_rate=0.01,
            ),
            "training": groups.training("64000 steps", batch_size=128, steps_per_dispatch=10),
            "evaluation": groups.evaluation("test", batch_size=500),
        }
    )
    if chosen["recipe"] == "released":
        follow_released_code(config)
    if chosen["recipe"] == "smoke":
        groups.smoke_on_digits(config)
    return config


def follow_released_code(config: ConfigDict) -> None:
    """resnet-1k-layers, which runs inside fb.resnet.torch: Nesterov, batches of 64, 200 epochs."""
    config.model.update(bn_group_size=32, init_fan="out")
    config.preprocessing.update(mean="channel", std="channel")
    config.optimizer.update(nesterov=True, decay="all", rate_inside=False)
    # fb.resnet.torch's train.lua drops the rate at the start of epochs 81 and 122, counted from 1,
    # for any number of epochs.
    config.learning_rate.update(drops=["80 epochs", "121 epochs"], warmup="0 epochs")
    config.training.update(duration="200 epochs", batch_size=64)


def table_1() -> Iterator[Row]:
    """Shortcuts of ResNet-110; the paper prints "fail" where the error is above 20 %."""
    for (case, shortcut, residual, bias), error in published.TABLE_1.items():
        biases = range(0, -6, -1) if bias == "0 to -5" else [bias]
        for gate_bias in biases:
            name = f"{case}, shortcut {shortcut}, F {residual}"
            name += "" if bias is None else f", bias {gate_bias}"
            overrides = shortcut_options(case, shortcut, residual, gate_bias)
            numbers = top1(">20" if error == published.FAIL else error)
            yield Row(name, "110,original", overrides, numbers)


def shortcut_options(
    case: str, shortcut: str, residual: str, bias: str | int | None
) -> dict[str, Any]:
    """The config fields of a row of Table 1."""
    match case:
        case "constant scaling":
            return {
                "model.shortcut_scale": float(shortcut),
                "model.residual_scale": float(residual),
            }
        case "exclusive gating" | "shortcut-only gating":
            return {"model.gating": case.removesuffix(" gating"), "model.gate_bias": float(bias)}
        case "1x1 conv shortcut":
            return {"model.shortcut": "C"}
        case "dropout shortcut":
            return {"model.shortcut_dropout": 0.5}
    return {}


def table_2() -> Iterator[Row]:
    """Orders of batch norm and ReLU in ResNet-110 and ResNet-164."""
    for order, errors in published.TABLE_2.items():
        for depth, error in errors.items():
            yield Row(f"{order}, {depth}", str(depth), {"model.order": order}, top1(error))


def table_3() -> Iterator[Row]:
    """Original and pre-activation units."""
    for (data, network), errors in published.TABLE_3.items():
        words = network.removeprefix("ResNet-").replace(", one-layer skip", "-single")
        words += f",{DATASETS[data]}"
        for column, unit in [("baseline", "original"), ("preactivation", "preactivation")]:
            yield Row(
                f"{data}, {network}, {unit}", f"{words},{unit}", published=top1(errors[column])
            )


def table_4() -> Iterator[Row]:
    """The paper's own networks; the released code trains with batches of 64."""
    for data, rows in [
        ("CIFAR-10", published.TABLE_4_CIFAR10),
        ("CIFAR-100", published.TABLE_4_CIFAR100),
    ]:
        for name, row in rows.items():
            network, _, batch = name.removeprefix("pre-activation ResNet-").partition(", batch ")
            if network in VARIANTS["network"]:
                words = f"{network},{DATASETS[data]}" + (",released" if batch else "")
                yield Row(f"{data}, {name}", words, published=top1(row["error"]))


DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100"}
PAPER = "He et al. (2016), arXiv:1603.05027"
MEDIAN = "test error after 64,000 steps, median of five runs"
TABLES = {
    "table_1": Table(
        f"{PAPER}, Table 1: shortcuts, ResNet-110, CIFAR-10",
        f'{MEDIAN}; ">20": "fail"',
        "median",
        table_1,
        tolerance=0.3,
        runs=5,
    ),
    "table_2": Table(
        f"{PAPER}, Table 2: activations, CIFAR-10", MEDIAN, "median", table_2, tolerance=0.3, runs=5
    ),
    "table_3": Table(
        f"{PAPER}, Table 3: original and pre-activation units",
        MEDIAN,
        "median",
        table_3,
        tolerance=0.3,
        runs=5,
    ),
    "table_4": Table(
        f"{PAPER}, Table 4: the paper's own networks",
        f"{MEDIAN}; batches of 64: after 200 epochs",
        "median",
        table_4,
        tolerance=0.3,
        runs=5,
    ),
}
