"""Groups of a config: a recipe passes what its paper says, and these functions add the rest.

Each call makes a new group, since configs that share a placeholder share its value.
"""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

Group = dict[str, Any]

FULL_IMAGES = {"train": {"kind": "full"}, "evaluation": {"kind": "full"}}
NO_WARMUP = {"warmup": "0 epochs", "warmup_shape": "linear", "warmup_rate": 0.0}


def plain() -> dict[str, Group]:
    """The groups of techniques that a recipe does not use unless it says so."""
    return {
        "init": init(),
        "loss": {"label_smoothing": 0.0, "auxiliary_weight": 0.0},
        "ema": {"decay": 0.0, "ramp": False},
        "precision": {"matmul": "default"},
        "compiler": {"options": "", "deterministic": False},
        "parallel": {"params": "replicated", "seeds": "auto"},
        "logging": logging(),
    }


def init(weights: str | None = None, layers: Sequence[str] = ("*",)) -> Group:
    """The trained network to start from, by default none, and the layers to take of it."""
    own = placeholder(str) if weights is None else weights
    return {"weights": own, "layers": list(layers)}


def logging(wandb: str | None = None, mlflow: str | None = None) -> Group:
    """The project of Weights & Biases, and the experiment of MLflow, that get the numbers, too."""
    projects = {"wandb": wandb, "mlflow": mlflow}
    return {k: placeholder(str) if name is None else name for k, name in projects.items()}


def data(
    name: str,
    path: str | None,
    *,
    storage: str,
    validation_size: int = 0,
    on_error: str = "raise",
) -> Group:
    """The data set, see `cnn_jax.data.open`; the last seven fields are of streams."""
    return {
        "name": name,
        "path": placeholder(str) if path is None else path,
        "image_size": placeholder(int),
        "validation_size": validation_size,
        "split_seed": 0,
        "storage": storage,
        "class_list": placeholder(str),
        "exclude": placeholder(str),
        "on_error": on_error,
        "decoder": "pillow",
        "threads": 0,
        "workers": 0,
        "prefetch": 2,
    }


def scale_crop(size: int, shorter_side: Sequence[int], **options: Any) -> Group:
    """Crops of `size` pixels from images whose shorter side is drawn from a range."""
    return view("scale_crop", size, shorter_side=list(shorter_side), **options)


def center(size: int, resize: int, **options: Any) -> Group:
    """The central `size` pixels of images whose shorter side is `resize`."""
    return view("center", size, resize=resize, **options)


def view(kind: str, size: int, *, frame: str = "full", dct_scaling: bool = False, **own) -> Group:
    """A view that resizes bilinearly, see `cnn_jax.data.stream.views`."""
    filters = {"filters": ["bilinear"]}
    return {"kind": kind, "size": size, "frame": frame, "dct_scaling": dct_scaling} | filters | own


def area_aspect(
    size: int,
    least_area: float,
    filters: Sequence[str] = ("bicubic",),
    kind: str = "area_aspect",
) -> Group:
    """Scale and aspect ratio augmentation (arXiv:1409.4842, section 6), as in fb.resnet.torch."""
    return {
        "kind": kind,
        "size": size,
        "area": [least_area, 1.0],
        "aspect": [3 / 4, 4 / 3],
        "filters": list(filters),
        "dct_scaling": False,
    }


def color(
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    lighting: float = 0.0,
    clip: bool = False,
    formulas: str = "torch",
) -> Group:
    """The largest changes of the colors, by formulas; the defaults change nothing."""
    return {
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation,
        "hue": hue,
        "lighting": lighting,
        "clip": clip,
        "formulas": formulas,
    }


def momentum(*, nesterov: bool, weight_decay: float, decay: str, rate_inside: bool) -> Group:
    """Stochastic gradient descent with a momentum of 0.9, which all of these papers use."""
    return {
        "name": "momentum",
        "momentum": 0.9,
        "nesterov": nesterov,
        "weight_decay": weight_decay,
        "decay": decay,
        "clip_norm": placeholder(float),
        "clips_decay": False,
        "bias_rate": 1.0,
        "rate_inside": rate_inside,
        **alike(),
    }


def alike() -> Group:
    """The fields of `optimizer` that tell layers from each other, see `cnn_jax.optim.by_layer`."""
    return {
        "freeze": [],
        "freeze_until": placeholder(str),
        "rate_by_layer": [],
        "layer_decay": 1.0,
    }


def step(rate: float, drops: Sequence[str], factor: float, **warmup: str | float) -> Group:
    """Multiplies the rate by `factor` at each of `drops`."""
    rates = {"schedule": "step", "rate": rate, "drops": list(drops), "factor": factor}
    return rates | NO_WARMUP | warmup


def exponential(rate: float, factor: float, every: str) -> Group:
    """Multiplies the rate by `factor` each time the duration `every` has passed."""
    rates = {"schedule": "exponential", "rate": rate, "factor": factor, "every": every}
    return rates | {"staircase": True} | NO_WARMUP


def plateau(rate: float) -> Group:
    """Divides the rate by ten, up to three times, when five epochs have gained less than 0.1 %."""
    return {
        "schedule": "plateau",
        "rate": rate,
        "factor": 0.1,
        "patience": 5,
        "threshold": 0.001,
        "min_rate": rate / 1000,
        **NO_WARMUP,
    }


def polynomial(rate: float, power: float, **warmup: str | float) -> Group:
    """The rate times a power of the remaining fraction of training; power 1.0 is linear."""
    rates = {"schedule": "polynomial", "rate": rate, "final_rate": 0.0, "power": power}
    return rates | NO_WARMUP | warmup


def cosine(rate: float, **warmup: str | float) -> Group:
    """Lowers the rate along half a cosine wave to zero."""
    return {"schedule": "cosine", "rate": rate, "final_rate": 0.0} | NO_WARMUP | warmup


def training(
    duration: str,
    batch_size: int,
    *,
    accumulate: int = 1,
    checkpoint_every: str = "1 epoch",
    steps_per_dispatch: int = 1,
) -> Group:
    """The duration, such as "90 epochs", and how it is divided into batches and checkpoints."""
    return {
        "duration": duration,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "checkpoint_every": checkpoint_every,
        "steps_per_dispatch": steps_per_dispatch,
    }


def evaluation(
    *splits: str, batch_size: int, every: str = "1 epoch", weights: str = "raw"
) -> Group:
    """The splits that are evaluated during training, and how often."""
    return {"every": every, "splits": list(splits), "batch_size": batch_size, "weights": weights}


# --- the variant `smoke`: three steps, in seconds on a CPU, show that a recipe runs ---------------


def smoke_on_digits(config: ConfigDict) -> None:
    """Trains on scikit-learn's 8x8 digits instead of the recipe's small images."""
    config.data.update(name="digits", path=None, validation_size=0)
    a_few_steps(config, batch_size=32)


def smoke_on_noise(config: ConfigDict, size: int) -> None:
    """Trains on noise of `size` x `size` pixels instead of the recipe's photographs."""
    config.data.update(name="fake:64,10", path=None)
    config.data.validation_size = min(config.data.validation_size, 20)
    config.view.train.size = config.view.evaluation.size = size
    a_few_steps(config, batch_size=8)


def a_few_steps(config: ConfigDict, batch_size: int) -> None:
    """Trains three small batches in one program, with one evaluation and one checkpoint."""
    if "bn_group_size" in config.model and config.model.bn_group_size:
        config.model.bn_group_size = batch_size // 2
    config.training.update(
        duration="3 steps",
        batch_size=batch_size,
        accumulate=min(config.training.accumulate, 2),
        checkpoint_every="3 steps",
        steps_per_dispatch=3,
    )
    config.evaluation.update(every="3 steps", batch_size=batch_size)
    config.optimizer.clip_norm = 1.0  # the paper's rate may diverge on noise or digits
