"""Every recipe, variant and member of a table, built without data: shapes only, no arithmetic."""

import functools
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import models
from cnn_jax.data import augment
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.optim import by_layer, ema, losses, optimizers
from cnn_jax.optim.schedules import LearningRate
from cnn_jax.sweeps.tables import Row
from cnn_jax.training import build, steps
from cnn_jax.training.plan import Plan, create_plan
from tests.conftest import ROOT

FILES = [
    file
    for file in sorted((ROOT / "experiments").rglob("*.py"))
    if "def get_config" in file.read_text()
]
MODULES = {str(file.relative_to(ROOT)): configs.load_experiment(file) for file in FILES}
TABLES = [
    (file, name) for file, module in MODULES.items() for name in getattr(module, "TABLES", {})
]
# Data set: shape of its images (None: that of the view), classes, images to train on.
DATA = {
    "cifar10": ((32, 32, 3), 10, 50_000),
    "cifar100": ((32, 32, 3), 100, 50_000),
    "tfds:svhn_cropped+extra": ((32, 32, 3), 10, 604_388),
    "folder": (None, 1000, 1_281_167),
    "fashion_mnist": ((28, 28, 1), 10, 60_000),
    "mnist": ((28, 28, 1), 10, 60_000),
    "digits": ((8, 8, 1), 10, 1257),
    "fake:64,10": (None, 10, 64),
}


class Recipe(NamedTuple):
    config: ConfigDict
    image_shape: tuple[int, int, int]
    classes: int
    plan: Plan
    learning_rate: LearningRate
    optimizer: optax.GradientTransformation


def load(file: str, variant: str = "", overrides: dict[str, Any] | None = None) -> Recipe:
    """A recipe with what it needs to know of its data."""
    config = configs.load_config(f"{ROOT / file}:{variant}")
    for field, value in (overrides or {}).items():
        *groups, name = field.split(".")
        group = functools.reduce(lambda group, part: group[part], groups, config)
        group[name] = value
    shape, classes, train_size = DATA[config.data.name]
    shape = shape or (config.view.train.size, config.view.train.size, 3)
    sizes = {
        "evaluation": config.evaluation,
        "train_size": train_size - config.data.validation_size,
    }
    when = configs.call(create_plan, "training", config.training, **sizes)
    learning_rate = build.make_learning_rate(config, when)
    model = models.create(num_classes=classes, **config.model.to_dict())
    others = {"layers": lambda: by_layer.layers_of(model, shape), "learning_rate": learning_rate}
    optimizer = configs.call(optimizers.create, "optimizer", config.optimizer, **others)
    return Recipe(config, shape, classes, when, learning_rate, optimizer)


def of_row(file: str, row: Row) -> Recipe:
    """The recipe of a row of a table."""
    return load(file, row.variant, dict(row.overrides))


def params(recipe: Recipe) -> Any:
    """The shapes of the network's parameters."""
    model = models.create(num_classes=recipe.classes, **recipe.config.model.to_dict())
    images = jnp.zeros((1, *recipe.image_shape))
    return eval_shape(model.init, jax.random.key(0), images)["params"]


def step_shapes(recipe: Recipe, alike: tuple[str, ...] = ("width",)) -> tuple[Any, Any, Any]:
    """The shapes of the state before and after a training step, and of its metrics.

    Recipes that differ only in what does not make the step, and in these fields of the network, are
    traced once.
    """
    config = recipe.config
    parts = {name: config[name].to_dict() for name in ("model", "optimizer", "loss", "ema")}
    parts["schedule"] = config.learning_rate.schedule
    parts["model"] = {k: v for k, v in parts["model"].items() if k not in alike}
    key = (json.dumps(parts), recipe.image_shape, recipe.classes, recipe.plan.microbatches)
    if key not in _TRACED:
        _TRACED[key] = _trace(recipe)
    return _TRACED[key]


_TRACED: dict[Any, tuple[Any, Any, Any]] = {}


def _trace(recipe: Recipe) -> tuple[Any, Any, Any]:
    config, size = recipe.config, recipe.plan.batch_size
    model = models.create(num_classes=recipe.classes, **config.model.to_dict())
    create = functools.partial(
        steps.create_state, model, recipe.optimizer, recipe.image_shape, config.ema.decay > 0, 0
    )
    before = eval_shape(create)
    average = configs.call(ema.create, "ema", config.ema) if config.ema.decay else None
    step = steps.make_train_step(
        model,
        recipe.optimizer,
        recipe.learning_rate,
        configs.call(losses.create, "loss", config.loss),
        configs.call(augment.crop_and_flip, "augmentation", config.augmentation),
        average=average,
        microbatches=recipe.plan.microbatches,
    )
    batch = steps.Batch(
        jax.ShapeDtypeStruct((size, *recipe.image_shape), jnp.float32),
        jax.ShapeDtypeStruct((size,), jnp.int32),
        jax.ShapeDtypeStruct((size,), jnp.int32),
    )
    after, metrics = eval_shape(step, before, batch)
    return before, after, metrics
