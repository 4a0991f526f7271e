"""A campaign of some minutes on two CPU cores: the same kinds of tasks, on the embedded digits.

Command    python launch.py campaign --tasks=experiments/campaign_digits.py --budget=5m

Prices were measured on two cores of a shared virtual machine.
"""

from cnn_jax.accelerators.campaign_tasks import Check, Training

DEVICE = "cpu"
MEASURED = True
SMALL = (
    *("data.name=digits", "training.duration=90 steps", "training.batch_size=64"),
    *("training.steps_per_dispatch=5", "training.checkpoint_every=10 steps"),
    *("evaluation.every=30 steps", "learning_rate.warmup=0 epochs"),
)


def width(row: str, price: float) -> Training:
    """A small Wide ResNet."""
    about = ("experiments/wide_resnet/cifar.py", "width", row, 2, SMALL)
    return Training(f"{row}, 2 seeds", 1.0, price, *about)


BENCH = ("bench", "--fake", "--config.model.width=1", "--steps=2", "--rounds=2", "--seconds=0.1")
TASKS = [
    Check("speed", 2.0, 0.5, (*BENCH, "--against=torch-eager", "--out=RESULT")),
    width("WRN-10-1", 0.8),
    width("WRN-10-2", 1.2),
]
