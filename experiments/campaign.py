"""An hour or more on one H100: checks, speed beside PyTorch, the papers' CIFAR tables in full.

Command    python launch.py campaign --budget=55m --data=CIFAR
           python launch.py campaign --budget=55m --dry_run

Prices are estimates, not measured: of a check by experience on CPUs, of a training by the bounds of
an H100 as in docs/accelerators.md (494 TFLOP/s in TF32, 3.35 TB/s, 2.5 us to launch a kernel), of
which 60 % are thought to be reached. The bytes of an image are those that XLA's compiler counted
for ResNet-20 and estimated for WRN-28-10 in bfloat16, twice for float32, by the number of
convolutions and their width for the others.

Values: a row of He et al. (2016), single runs in the paper, counts 2; one of Zagoruyko & Komodakis
(2016), medians of five, counts 1 for each run; the headline rows, ResNet-110 and WRN-28-10, twice;
what has no published number half; a check 10 or 3, since what comes after it is worth nothing
otherwise; a benchmark in bfloat16 2, in float32 1.
"""

from typing import NamedTuple

from cnn_jax.accelerators.campaign_tasks import Check, Training

DEVICE = "H100"
MEASURED = False
EFFICIENCY, START = 0.6, 2.5  # START: minutes before the first step, with the measuring of ways
FLOPS, BYTES, LAUNCH = 494e12, 3.35e12, 2.5e-6
BATCH = 128  # of these recipes; SqueezeNet has 64
RESNET_STEPS, WIDE_STEPS = 64_000, 78_000  # the papers': 200 epochs of 390 steps

# What changes no result: long programs, few evaluations and checkpoints.
LONG = (
    *("training.steps_per_dispatch=100", "training.checkpoint_every=10 epochs"),
    *("evaluation.every=10 epochs", "evaluation.batch_size=1000", "data.path=DATA"),
)


class Cost(NamedTuple):
    """Of an image in float32, forward and backward; launches of a step."""

    multiply_adds: float  # forward
    megabytes: float
    launches: int


COSTS = {
    "ResNet-20": Cost(40.6e6, 15.6, 467),
    "ResNet-32": Cost(68.9e6, 25.5, 750),
    "ResNet-44": Cost(97.2e6, 35.3, 1030),
    "ResNet-56": Cost(125.5e6, 45.2, 1310),
    "ResNet-110": Cost(252.9e6, 89.5, 2570),
    "SqueezeNet": Cost(12.8e6, 6, 250),
    "WRN-40-1": Cost(83e6, 30, 950),
    "WRN-16-4": Cost(393e6, 40, 380),
    "WRN-40-4": Cost(1.299e9, 118, 950),
    "WRN-28-10": Cost(5.243e9, 198, 670),
}


def minutes(network: str, steps: int, seeds: int) -> float:
    """Of a training with all its seeds, by the bounds above."""
    cost = COSTS[network]
    image = 6 * cost.multiply_adds / FLOPS + cost.megabytes * 1e6 / BYTES
    step = cost.launches * LAUNCH + seeds * BATCH * image / EFFICIENCY
    return round(START + steps * step / 60, 1)


def named(network: str, seeds: int) -> str:
    """A training for people."""
    return f"{network}, {seeds} seed{'s' if seeds > 1 else ''}"


def resnet(row: str, seeds: int, table: str = "table_6", value: float = 2.0) -> Training:
    """A row of He et al. (2016), Table 6, or Figure 6 for plain networks."""
    price = minutes(row.replace("plain", "ResNet"), RESNET_STEPS, seeds)
    about = ("experiments/resnet/cifar10.py", table, row, seeds, LONG)
    return Training(named(row, seeds), value, price, *about)


def wide(network: str, table: str, seeds: int, value: float) -> Training:
    """A row of Zagoruyko & Komodakis (2016) on CIFAR-10."""
    name = f"WRN-{network}"
    about = ("experiments/wide_resnet/cifar.py", table, f"CIFAR-10 {network}", seeds, LONG)
    return Training(named(name, seeds), value, minutes(name, WIDE_STEPS, seeds), *about)


def bypass(name: str) -> Training:
    """SqueezeNet on CIFAR-10, 100 epochs."""
    steps, seeds = 78_100, 3
    about = ("experiments/squeezenet/cifar10.py", "bypass_long", f"{name} bypass", seeds, LONG)
    price = minutes("SqueezeNet", steps, seeds)
    return Training(named(f"SqueezeNet, {name} bypass", seeds), 0.5, price, *about)


def bench(name: str, price: float, config: str, *more: str) -> list[Check]:
    """The speed of training in both precisions, beside PyTorch where that is installed."""
    ways = {"bfloat16": "torch-bf16,torch-compile-bf16", "float32": "torch-eager,torch-compile"}
    return [
        Check(
            f"{name} {dtype}",
            2.0 if dtype == "bfloat16" else 1.0,
            price,
            (
                *("bench", f"--config=experiments/{config}", f"--config.model.dtype={dtype}"),
                *("--fake", *more, f"--against={against}", "--out=RESULT"),
            ),
        )
        for dtype, against in ways.items()
    ]


IMAGENET = ("--classes=1000", "--steps=10")
TASKS = [
    Check("doctor", 10.0, 1.0, ("doctor", "--config=experiments/resnet/cifar10.py",
                                "--config.data.path=DATA")),
    Check("killed twice", 3.0, 2.0, ("doctor", "--kill-test", "--kills=2")),
    *bench("ResNet-20", 1.5, "resnet/cifar10.py:20", "--steps=100"),
    *bench("WRN-28-10", 2.5, "wide_resnet/cifar.py:28-10", "--steps=10"),
    *bench("ResNet-50", 3.5, "resnet/imagenet.py:50,torchvision", *IMAGENET),
    *bench("SqueezeNet 1.1", 2.5, "squeezenet/imagenet.py:1.1", "--config.training.accumulate=1",
           *IMAGENET),
    *bench("Inception-v3", 4.5, "inception_v3/imagenet.py", "--batch=128", *IMAGENET,
           "--config.model.bn_scale=True", "--config.model.count_include_pad=True"),
    *(bypass(name) for name in ("none", "simple", "complex")),
    resnet("ResNet-20", 3),
    resnet("ResNet-32", 3),
    resnet("ResNet-44", 3),
    resnet("ResNet-56", 3),
    resnet("ResNet-110", 5, value=10.0),
    resnet("plain-20", 1, "figure_6", value=0.5),
    resnet("plain-56", 1, "figure_6", value=0.5),
    wide("40-1", "table_4", 5, value=5.0),
    wide("16-4", "table_6", 5, value=5.0),
    wide("40-4", "table_5", 1, value=1.0),
    wide("40-4", "table_5", 5, value=5.0),
    wide("28-10", "table_5", 1, value=2.0),
    wide("28-10", "table_5", 5, value=10.0),
]  # fmt: skip
