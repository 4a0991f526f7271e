"""Groups of a config as the recipes write them: what a recipe does not say is said here.

Each call makes its group anew, since configs that share a placeholder share its value.
"""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

Group = dict[str, Any]

# What a paper that is silent about it does not do.
PLAIN = {
    "loss": {"label_smoothing": 0.0, "auxiliary_weight": 0.0},
    "ema": {"decay": 0.0, "ramp": False},
    "precision": {"matmul": "default"},
    "parallel": {"params": "replicated", "seeds": "auto"},
}
FULL_IMAGES = {"train": {"kind": "full"}, "evaluation": {"kind": "full"}}
NO_WARMUP = {"warmup": "0 epochs", "warmup_shape": "linear", "warmup_rate": 0.0}


def data(
    name: str,
    path: str | None,
    *,
    storage: str,
    validation_size: int = 0,
    on_error: str = "raise",
) -> Group:
    """Of one data set, see `cnn_jax.data.open`; with `storage` "device" the last six idle."""
    return {
        "name": name,
        "path": placeholder(str) if path is None else path,
        "image_size": placeholder(int),
        "validation_size": validation_size,
        "split_seed": 0,
        "storage": storage,
        "class_list": placeholder(str),
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
    """Of bilinear images; see `cnn_jax.data.views`."""
    filters = {"filters": ["bilinear"]}
    return {"kind": kind, "size": size, "frame": frame, "dct_scaling": dct_scaling} | filters | own


def area_aspect(size: int, least_area: float, filters: Sequence[str] = ("bicubic",)) -> Group:
    """Scale and aspect ratio augmentation (arXiv:1409.4842, section 6), as in fb.resnet.torch."""
    return {
        "kind": "area_aspect",
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
) -> Group:
    """How far colors change; as it stands, not at all."""
    return {
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation,
        "hue": hue,
        "lighting": lighting,
        "clip": clip,
    }


def momentum(*, nesterov: bool, weight_decay: float, decay: str, rate_inside: bool) -> Group:
    """Stochastic gradient descent with a momentum of 0.9, as in all of these papers."""
    return {
        "name": "momentum",
        "momentum": 0.9,
        "nesterov": nesterov,
        "weight_decay": weight_decay,
        "decay": decay,
        "clip_norm": placeholder(float),
        "bias_rate": 1.0,
        "rate_inside": rate_inside,
    }


def step(rate: float, drops: Sequence[str], factor: float, **warmup: str | float) -> Group:
    """The rate times `factor` at each of `drops`."""
    rates = {"schedule": "step", "rate": rate, "drops": list(drops), "factor": factor}
    return rates | NO_WARMUP | warmup


def exponential(rate: float, factor: float, every: str) -> Group:
    """The rate times `factor` each time that `every` has passed, in steps."""
    rates = {"schedule": "exponential", "rate": rate, "factor": factor, "every": every}
    return rates | {"staircase": True} | NO_WARMUP


def plateau(rate: float) -> Group:
    """Down to a tenth, to a thousandth at the least, where five epochs gained less than 0.1 %."""
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
    """The rate times a power of the share that is left; 1.0 is a straight line to zero."""
    rates = {"schedule": "polynomial", "rate": rate, "final_rate": 0.0, "power": power}
    return rates | NO_WARMUP | warmup


def cosine(rate: float, **warmup: str | float) -> Group:
    """Along half a wave to zero."""
    return {"schedule": "cosine", "rate": rate, "final_rate": 0.0} | NO_WARMUP | warmup


def training(
    duration: str,
    batch_size: int,
    *,
    accumulate: int = 1,
    checkpoint_every: str = "1 epoch",
    steps_per_dispatch: int = 1,
) -> Group:
    """How long; in batches of how many."""
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
    """On what, and how often, while the run goes on."""
    return {"every": every, "splits": list(splits), "batch_size": batch_size, "weights": weights}


# --- the variant `smoke`: three steps in seconds on a CPU, which show that a recipe runs ----------


def smoke_on_digits(config: ConfigDict) -> None:
    """Trains on scikit-learn's 8x8 digits, in place of the recipe's small images."""
    config.data.update(name="digits", path=None, validation_size=0)
    a_few_steps(config, batch_size=32)


def smoke_on_noise(config: ConfigDict, size: int) -> None:
    """Trains on noise of `size` pixels, in place of the recipe's photographs."""
    config.data.update(name="fake:64,10", path=None)
    config.data.validation_size = min(config.data.validation_size, 20)
    config.view.train.size = config.view.evaluation.size = size
    a_few_steps(config, batch_size=8)


def a_few_steps(config: ConfigDict, batch_size: int) -> None:
    """Small batches, one program, one evaluation and one checkpoint."""
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
    config.optimizer.clip_norm = 1.0  # noise, or digits, at the paper's rate may lead anywhere
