"""What a config asks for and cannot have is refused before anything is compiled."""

import types

import numpy as np
import pytest
from ml_collections import ConfigDict

from cnn_jax import data
from cnn_jax.data import preprocess
from cnn_jax.errors import UserError
from cnn_jax.optim.schedules import LearningRate
from cnn_jax.training import build, inputs
from cnn_jax.training.sharding import data_mesh

IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3, 1)
SPLIT = data.Split(IMAGES, np.arange(5, dtype=np.int32))
DATASET = data.Dataset(tuple("abcde"), {"train": SPLIT})


def test_seeds_are_unsigned_integers_of_32_bits():
    build.check_seed(0)
    build.check_seed(2**32 - 1)
    for seed in (-1, 2**32):
        with pytest.raises(UserError, match=f"seed {seed} is not from 0 to 4,294,967,295"):
            build.check_seed(seed)


@pytest.mark.parametrize(
    "splits,weights,decay,told",
    [
        (["test"], "raw", 0.0, None),
        (["test", "train"], "ema", 0.9, None),
        ([], "raw", 0.9, None),
        (["validation"], "raw", 0.0, "split in evaluation.splits 'validation'"),
        (["test"], "averaged", 0.9, "evaluation.weights 'averaged'.*raw, ema"),
        (["test"], "ema", 0.0, "ema.decay is 0: none are kept"),
    ],
)
def test_an_evaluation_is_of_splits_and_weights_that_there_are(splits, weights, decay, told):
    group = {"splits": splits, "weights": weights}
    config = ConfigDict({"evaluation": group, "ema": {"decay": decay}})
    if told is None:
        build.check_evaluation(config, ["train", "test"])
    else:
        with pytest.raises(UserError, match=told):
            build.check_evaluation(config, ["train", "test"])


def test_a_config_has_the_two_views():
    full = {"train": {"kind": "full"}, "evaluation": {"kind": "full"}}
    inputs.check_view(ConfigDict(full))
    for view, told in [
        (full | {"test": {}}, "field of config.view 'test'"),
        ({"train": {"kind": "full"}}, "config.view.evaluation lacks its field 'kind'"),
        (full | {"train": {"size": 8}}, "config.view.train lacks its field 'kind'"),
        ({}, "config.view.train lacks its field 'kind'"),
    ]:
        with pytest.raises(UserError, match=told):
            inputs.check_view(ConfigDict(view))


def test_images_in_memory_are_seen_in_full():
    view = ConfigDict({"train": {"kind": "center"}, "evaluation": {"kind": "full"}})
    inputs.check_kinds(DATASET, view, "evaluation")
    inputs.check_kinds(object(), view, "train", "evaluation")  # a stream
    with pytest.raises(UserError, match="view.train.kind 'center' is cut out of a stream"):
        inputs.check_kinds(DATASET, view, "evaluation", "train")


def test_a_batch_in_memory_has_the_pixels_labels_and_numbers_of_its_examples():
    fitted = preprocess.fit(SPLIT, mean="none", std="none", whitening="none")
    stored = inputs.InMemoryData.of(SPLIT, fitted)
    index = np.array([4, 1])

    def jitter(images, numbers):
        return images + numbers[:, None, None, None]

    batch = stored.batch(index, jitter)
    np.testing.assert_array_equal(batch.images, IMAGES[index] + index[:, None, None, None])
    np.testing.assert_array_equal(stored.batch(index).images, IMAGES[index])
    assert batch.labels.tolist() == batch.index.tolist() == [4, 1]
    assert stored.counts(index) == {}


def test_a_plateau_follows_a_validation_split(monkeypatch):
    found = {}

    def create(*_, duration, steps_per_epoch):
        found.update(duration=duration, steps_per_epoch=steps_per_epoch)
        return LearningRate(None, "rule")

    monkeypatch.setattr(build.configs, "call", create)
    config = ConfigDict({"learning_rate": {}, "training": {"duration": "3 epochs"}})
    plan = types.SimpleNamespace(steps_per_epoch=12, splits=("validation",))
    assert build.make_learning_rate(config, plan).plateau == "rule"
    assert found == {"duration": "3 epochs", "steps_per_epoch": 12}
    plan.splits = ("test",)
    with pytest.raises(UserError, match="follows the validation error"):
        build.make_learning_rate(config, plan)


class Planned(Exception):
    """Ends the building of a setup once its plan is asked for."""


@pytest.mark.parametrize("dataset,sent", [(DATASET, 0), (object(), 8 * 6 * 3)])
def test_images_are_sent_for_the_steps_of_a_stream_alone(dataset, sent):
    def on(platform, image_bytes):
        raise Planned(platform, image_bytes)

    plan = types.SimpleNamespace(on=on)
    parts = types.SimpleNamespace(dataset=dataset, image_shape=(8, 6, 3), plan=plan)
    with pytest.raises(Planned) as caught:
        build.create_setup(parts, data_mesh(), None, None)
    assert caught.value.args == ("cpu", sent)


@pytest.mark.parametrize(
    "group,field,value",
    [
        ("init", "weights", "torchvision:resnet18"),
        ("init", "layers", ["conv1"]),
        ("optimizer", "freeze", ["conv1"]),
        ("optimizer", "freeze_until", "1 epoch"),
        ("compression", "stage", "prune"),
    ],
)
def test_a_training_is_plain_unless_it_starts_from_weights_or_freezes(group, field, value):
    groups = {"init": {"weights": None, "layers": ["*"]}, "optimizer": {"freeze": []}}
    groups["optimizer"]["freeze_until"] = None
    assert build.is_plain(ConfigDict(groups))
    changed = groups | {group: groups.get(group, {}) | {field: value}}
    assert not build.is_plain(ConfigDict(changed))


@pytest.mark.parametrize("decay,keeps", [(0.0, False), (0.9, True)])
@pytest.mark.parametrize("seeds", [None, [7, 8]])
def test_the_step_of_each_phase_is_made_of_the_parts(decay, keeps, seeds, monkeypatch):
    mesh, config = data_mesh(), ConfigDict({"seed": 5, "ema": {"decay": decay}})
    names = "learning_rate loss augment average measure color_jitter parallel jit image_shape"
    parts = types.SimpleNamespace(
        config=config, model="model", optimizer="optimizer", phases=(),
        plan=types.SimpleNamespace(microbatches=3), **{name: name for name in names.split()},
    )  # fmt: skip
    made = []

    def step(*arguments, gather, **others):
        made.append((gather([1]), *arguments, others))
        return "step"

    def compiled(numbers, init_state, *programs):
        made.append((numbers, init_state.args, programs))
        return "programs"

    monkeypatch.setattr(build.steps, "make_train_step", step)
    monkeypatch.setattr(build.steps, "scan_steps", lambda *what: what)
    monkeypatch.setattr(build.sharding, "gather", lambda mesh: lambda params: ["gathered"])
    monkeypatch.setattr(build.sharding, "one_seed", compiled)
    monkeypatch.setattr("cnn_jax.training.seeds.several_seeds", compiled)
    assert build.compile_phases(parts, mesh, seeds) == [("step", "programs")]
    others = {"average": "average", "microbatches": 3, "measure": "measure"}
    first = ["gathered"] if seeds is None else [1]
    rest = ("learning_rate", "loss", "augment", others)
    programs = (("step", "color_jitter"), mesh, "parallel", "jit")
    start = ("model", "optimizer", "image_shape", keeps)
    numbers = (5,) if seeds is None else (7, 8)
    assert made == [(first, "model", "optimizer", *rest), (numbers, start, programs)]
    made.clear()
    parts.phases = [("model-1", "optimizer-1"), ("model-2", "optimizer-2")]
    assert build.compile_phases(parts, mesh, seeds) == 2 * [("step", "programs")]
    assert [own[1:3] for own in made[::2]] == list(parts.phases)
