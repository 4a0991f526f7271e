"""From a config to its parts, one function for each group, and from parts to compiled programs."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import data, errors, models
from cnn_jax.cluster.join import Alone, ProcessGroup
from cnn_jax.data import augment, preprocess
from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.optim import ema, losses, optimizers, schedules
from cnn_jax.optim.schedules import LearningRate
from cnn_jax.training import compiler, sharding, steps
from cnn_jax.training.inputs import Evaluate, InMemoryInputs, Inputs, check_kinds, check_view
from cnn_jax.training.plan import Plan, create_plan
from cnn_jax.training.sharding import Parallel, Seeds
from cnn_jax.training.steps import TrainState

if TYPE_CHECKING:
    from cnn_jax.data.stream.streamed import StreamedDataset


@dataclass(frozen=True)
class Parts:
    """Everything that a config alone determines, before devices are chosen."""

    config: ConfigDict
    dataset: "data.Dataset | StreamedDataset"
    preprocessing: Preprocessing
    image_shape: tuple[int, int, int]  # height, width and channels of what the network trains on
    plan: Plan
    model: nn.Module
    learning_rate: LearningRate
    optimizer: optax.GradientTransformation
    loss: Callable
    augment: Callable
    color_jitter: Callable
    average: Callable | None  # keeps the averages of the group `ema`
    parallel: Parallel
    jit: compiler.Jit  # compiles with the groups `compiler` and `precision`
    # What the module `start` gives a training that does not start from initial values.
    # Network and optimizer of each phase, where layers are frozen; else those above.
    phases: Sequence[tuple[Any, optax.GradientTransformation]] = ()
    load_start: Callable[[TrainState], TrainState] | None = None  # puts in trained weights
    start_notes: Callable[[], list[str]] = list  # what that takes, for people
    measure: Callable[[Any], steps.Metrics] = lambda params: {}  # more metrics, of the parameters

    def facts(self) -> dict[str, Any]:
        """What identifies the data, as JSON values: class names, shape, sizes, checksum."""
        if isinstance(self.dataset, data.Dataset):
            return self.dataset.facts()
        return self.dataset.facts(self.image_shape)


@dataclass(frozen=True)
class Setup:
    """What trains a config on some devices; a state is that of one seed, or of several stacked."""

    parts: Parts
    train_step: Callable  # (state, batch) -> (state, metrics), of one seed, not compiled
    seeds: Seeds
    frozen: Seeds  # the same while layers are frozen, before the step `plan.unfreeze`
    inputs: Inputs
    evaluate: dict[str, Evaluate]  # by split
    compiler_options: dict[str, Any]

    @property
    def plan(self) -> Plan:
        """When things happen."""
        return self.parts.plan

    def initial_state(self) -> TrainState:
        """The state that training begins with."""
        initial = self.seeds.init()
        if self.parts.load_start is None:
            return initial
        return self.seeds.join(
            [self.parts.load_start(state) for state in self.seeds.split(initial)]
        )

    def run_steps(self, state: TrainState, first: int, count: int) -> tuple[TrainState, dict]:
        """Takes `count` steps from the step `first` on; metrics are [count] each."""
        return self.programs(first).train_steps(state, *self.inputs.take(first, count, state))

    def programs(self, step: int) -> Seeds:
        """Those that take a step."""
        return self.seeds if step >= self.plan.unfreeze else self.frozen


def build(
    config: ConfigDict,
    dataset: data.Dataset | None = None,
    devices: Sequence[jax.Device] | None = None,
    seeds: Sequence[int] | None = None,
    group: ProcessGroup | None = None,
) -> Setup:
    """Reads the data, makes the network and the programs; nothing is trained yet.

    Args:
      dataset: takes the place of the data that `config.data` names, and of the views.
      devices: those to train on, by default all there are.
      seeds: trains a network for each of them, instead of one for `config.seed`.
      group: the processes that train together, by default this one alone.

    Raises:
      UserError: anything in the config that cannot be.
    """
    group = group or Alone()
    parts = create_parts(config, dataset, group)
    return create_setup(parts, sharding.data_mesh(devices), seeds, group)


def create_parts(
    config: ConfigDict,
    dataset: "data.Dataset | StreamedDataset | None" = None,
    group: ProcessGroup | None = None,
) -> Parts:
    """Every group of the config becomes the arguments of one function."""
    group = group or Alone()
    make = functools.partial(make_part, config)
    check_seed(config.seed)
    check_view(config.view)
    if dataset is None:
        dataset = make(data.open, "data")
        check_kinds(dataset, config.view, "train", "evaluation")
    check_evaluation(config, dataset.splits)
    size = data.size(dataset.splits["train"])
    plan = make(create_plan, "training", evaluation=config.evaluation, train_size=size)
    weights = make(lambda *, weights, layers: weights, "init")
    seen = {"dataset": dataset, "view": config.view.evaluation, "group": group, "weights": weights}
    preprocessing = make(fit, "preprocessing", **seen)  # of a stream it may take an hour
    model = make(models.create, "model", num_classes=len(dataset.class_names))
    image_shape = data.image_shape(dataset, config.view.train.to_dict())
    layers = functools.cache(lambda: optimizers.layers_of(model, image_shape))
    rate = make_learning_rate(config, plan)
    optimizer = make(optimizers.create, "optimizer", learning_rate=rate, layers=layers)
    parts = Parts(
        config=config,
        dataset=dataset,
        preprocessing=preprocessing,
        image_shape=image_shape,
        plan=plan,
        model=model,
        learning_rate=rate,
        optimizer=optimizer,
        loss=make(losses.create, "loss"),
        augment=make(augment.crop_and_flip, "augmentation"),
        color_jitter=make(augment.color_jitter, "color"),
        average=make(ema.create, "ema") if config.ema.decay else None,
        parallel=make(sharding.parallel, "parallel"),
        jit=make(compiler.create, "compiler", with_precision=make(compiler.precision, "precision")),
    )
    if is_plain(config):
        return parts
    from cnn_jax.training import start

    return start.started(parts, layers, group)


def make_part(config: ConfigDict, function: Callable, name: str, **others: Any) -> Any:
    """Calls `function` with the fields of the config group `name`, and `others`."""
    if name not in config:
        raise errors.UserError(f"the config lacks the group {name!r}: see experiments/groups.py", 2)
    return configs.call(function, name, config[name], **others)


def is_plain(config: ConfigDict) -> bool:
    """Whether all layers are trained from initial values, as most recipes train them."""
    init, optimizer = config.init, config.optimizer
    starts = init.weights is not None or list(init.layers) != ["*"] or "compression" in config
    return not (starts or optimizer.freeze or optimizer.freeze_until)


def create_setup(
    parts: Parts, mesh: Mesh, seeds: Sequence[int] | None, group: ProcessGroup
) -> Setup:
    """The parts as programs for the devices of a mesh."""
    is_streamed = not isinstance(parts.dataset, data.Dataset)
    image_bytes = math.prod(parts.image_shape) if is_streamed else 0  # that are sent for a step
    plan = parts.plan.on(compiler.platform_of(mesh), image_bytes)
    config, parts = parts.config, replace(parts, plan=plan)
    sharding.check_batch(plan.batch_size, plan.microbatches, mesh)
    programs = compile_phases(parts, mesh, seeds)
    (_, frozen), (train_step, compiled) = programs[0], programs[-1]
    inputs_class = InMemoryInputs
    if is_streamed:
        from cnn_jax.training.streams import StreamedInputs as inputs_class
    inputs = inputs_class(
        parts.dataset, parts.preprocessing, config.view, plan, compiled, mesh, group
    )
    evaluated = {*plan.splits, *{"test"}.intersection(parts.dataset.splits)}
    return Setup(
        parts=parts,
        train_step=train_step,
        seeds=compiled,
        frozen=frozen,
        inputs=inputs,
        evaluate={s: inputs.make_evaluate(s, parts.model, parts.jit) for s in evaluated},
        compiler_options=parts.jit.options(mesh),
    )


def compile_phases(
    parts: Parts, mesh: Mesh, seeds: Sequence[int] | None
) -> list[tuple[Callable, Seeds]]:
    """The training step of each phase, and the programs of it."""
    config = parts.config
    init_state = functools.partial(
        steps.create_state, parts.model, parts.optimizer, parts.image_shape, config.ema.decay > 0
    )
    numbers, compile_seeds, gather = (config.seed,), sharding.one_seed, sharding.gather(mesh)
    if seeds is not None:
        from cnn_jax.training.seeds import several_seeds

        numbers, compile_seeds, gather = tuple(seeds), several_seeds, lambda params: params

    def compiled(model, optimizer):
        train_step = steps.make_train_step(
            *(model, optimizer, parts.learning_rate, parts.loss, parts.augment),
            average=parts.average,
            microbatches=parts.plan.microbatches,
            gather=gather,
            measure=parts.measure,
        )
        train_steps = steps.scan_steps(train_step, parts.color_jitter)
        programs = (train_steps, mesh, parts.parallel, parts.jit)
        return train_step, compile_seeds(numbers, init_state, *programs)

    return [compiled(*phase) for phase in parts.phases or [(parts.model, parts.optimizer)]]


def fit(
    *,
    mean: str,
    std: str,
    whitening: str,
    dataset: "data.Dataset | StreamedDataset",
    view: ConfigDict,
    group: ProcessGroup,
    weights: str | None,
) -> Preprocessing:
    """The group `preprocessing`, of the training split; of a stream as evaluations see it.

    `mean` and `std` "weights" are what `weights`, a trained network, expects of images; `view` is
    the group `view.evaluation`.
    """
    if "weights" in (mean, std):
        from cnn_jax.runs import pretrained

        return pretrained.expected(weights, mean, std, whitening)
    names = {"mean": mean, "std": std, "whitening": whitening}
    if isinstance(dataset, data.Dataset):
        return preprocess.fit(dataset.splits["train"], **names)
    from cnn_jax.training import streams

    return streams.fit(dataset, view, group, **names)


def make_learning_rate(config: ConfigDict, plan: Plan) -> LearningRate:
    """The learning rate by the step; raises `UserError` for a plateau of nothing."""
    learning_rate = configs.call(
        schedules.create,
        "learning_rate",
        config.learning_rate,
        duration=config.training.duration,
        steps_per_epoch=plan.steps_per_epoch,
    )
    if learning_rate.plateau and "validation" not in plan.splits:
        raise errors.UserError(
            "learning_rate.schedule 'plateau' follows the validation error: add 'validation' to "
            "evaluation.splits (and set data.validation_size where the data has no such split)"
        )
    return learning_rate


def check_seed(seed: int) -> None:
    """Raises `UserError` for one that is not uint32."""
    if not 0 <= seed < 2**32:
        raise errors.UserError(f"seed {seed} is not from 0 to {2**32 - 1:,}")


def check_evaluation(config: ConfigDict, splits: Sequence[str]) -> None:
    """Raises `UserError` where the group `evaluation` asks for what there is not."""
    for split in config.evaluation.splits:
        if split not in splits:
            raise errors.unknown("split in evaluation.splits", split, splits)
    if config.evaluation.weights not in ("raw", "ema"):
        raise errors.unknown("evaluation.weights", config.evaluation.weights, ("raw", "ema"))
    if config.evaluation.weights == "ema" and not config.ema.decay:
        raise errors.UserError("evaluation.weights is 'ema', but ema.decay is 0: none are kept")
