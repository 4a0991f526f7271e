"""A stream trains as data in memory does, stops and goes on, and says what it left out."""

import signal
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import cnn_jax
from cnn_jax import data
from cnn_jax.errors import UserError
from cnn_jax.runs import metrics
from cnn_jax.training.run_writer import RunWriter
from cnn_jax.training.train import train
from tests.conftest import ROOT, launch_here

QUIET = Console(quiet=True)
# 130 images in batches of 16: an epoch has 8 steps, in programs of 2, and leaves 2 images out.
TRAIN, TEST = 130, 50
TINY = [
    "model.name=lenet",
    "model.variant=300-100",
    "data.name=folder",
    "evaluation.splits=['test']",
    "evaluation.batch_size=16",
    "training.batch_size=16",
    "training.duration=3 epochs",
    "training.steps_per_dispatch=2",
    "training.checkpoint_every=1 epoch",
    "learning_rate.warmup=0 epochs",
    "augmentation.flip=true",
    "augmentation.crop_padding=0",
]


def load(path, *overrides):
    chosen = [*TINY, f"data.path={path}", *overrides]
    return cnn_jax.load_config(str(ROOT / "experiments/quickstart.py"), chosen)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The first digits as a folder of color images, {train,test}/<digit>/<number>.png."""
    root = tmp_path_factory.mktemp("digits")
    dataset = data.load("digits", path=None, image_size=None, validation_size=0, split_seed=0)
    for split, count in [("train", TRAIN), ("test", TEST)]:
        images, labels = dataset.splits[split]
        for i in range(count):
            place = root / split / str(labels[i])
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.repeat(images[i], 3, -1)).save(place / f"{i:04}.png")
    return root


@pytest.fixture(scope="module")
def streamed(folder, tmp_path_factory):
    """A finished run of a stream."""
    workdir = tmp_path_factory.mktemp("runs") / "streamed"
    train(load(folder, "data.storage=stream"), workdir, QUIET)
    return workdir


def assert_same_end(run, other):
    """The same variables, bit for bit, and the same metrics, but for the times."""
    first, second = (cnn_jax.load_run(path) for path in (run, other))
    jax.tree.map(np.testing.assert_array_equal, first.variables(), second.variables())
    assert metrics.reproducible(run) == metrics.reproducible(other)


def test_a_stream_trains_bit_for_bit_as_data_in_memory(folder, streamed, tmp_path):
    train(load(folder), tmp_path / "in_memory", QUIET)
    in_memory, run = cnn_jax.load_run(tmp_path / "in_memory"), cnn_jax.load_run(streamed)
    jax.tree.map(np.testing.assert_array_equal, in_memory.variables(), run.variables())
    jax.tree.map(
        np.testing.assert_array_equal,
        vars(in_memory.preprocessing)["mean"],
        vars(run.preprocessing)["mean"],
    )
    columns = ["step", "split", "loss", "top1_error"]
    assert in_memory.history[columns].equals(run.history[columns])
    assert len(run.history) == 12 + 3


def test_metrics_tell_the_time_without_data_and_the_images_left_out(streamed):
    history = cnn_jax.load_run(streamed).history
    steps = history[history.split == "train"]
    assert steps.data_wait.between(0, 1).all() and (history.skipped == 0).all()
    assert steps.data_wait.max() > 0  # of the first program, at least


class Stop:
    """Asks the loop to stop once so many programs have run."""

    def __init__(self, programs):
        self.left, self.can_save = programs, False

    @property
    def requested(self):
        self.left -= 1
        return signal.SIGTERM if self.left == 0 else None


def test_a_run_stopped_in_mid_epoch_ends_like_the_undisturbed_one(folder, streamed, tmp_path):
    config = load(folder, "data.storage=stream")
    with pytest.raises(UserError, match="saved at step 10 of 24"):
        train(config, tmp_path / "run", QUIET, Stop(5))
    train(config, tmp_path / "run", QUIET)
    assert_same_end(tmp_path / "run", streamed)


@pytest.mark.slow  # the quick suite has the reader's own in data/stream/test_reader.py
def test_worker_processes_change_nothing(folder, streamed, tmp_path):
    config = load(folder, "data.storage=stream", "data.workers=1", "data.threads=1")
    train(config, tmp_path / "run", QUIET)
    assert metrics.reproducible(tmp_path / "run") == metrics.reproducible(streamed)


def test_a_run_that_is_killed_goes_on_from_its_checkpoint(folder, streamed, tmp_path, monkeypatch):
    training = RunWriter.log_steps

    def killed(self, first_step, values, waited):
        if first_step >= 14:
            raise KeyboardInterrupt
        training(self, first_step, values, waited)

    config = load(folder, "data.storage=stream")
    monkeypatch.setattr(RunWriter, "log_steps", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", QUIET)
    assert cnn_jax.load_run(tmp_path / "run").steps == [8]
    monkeypatch.undo()
    train(config, tmp_path / "run", QUIET)
    assert_same_end(tmp_path / "run", streamed)


def test_each_of_several_seeds_trains_on_its_own_order_as_it_does_alone(folder, tmp_path):
    config = load(folder, "data.storage=stream")
    with pytest.raises(UserError, match="saved at step 8"):
        train(config, tmp_path / "both", QUIET, Stop(4), seeds=2)
    first, second = (cnn_jax.load_run(tmp_path / "both" / f"seed-{i}").history for i in (0, 1))
    with config.unlocked():
        config.seed = 1
    with pytest.raises(UserError, match="saved at step 8"):
        train(config, tmp_path / "alone", QUIET, Stop(4))
    alone = cnn_jax.load_run(tmp_path / "alone").history
    np.testing.assert_allclose(second.loss, alone.loss, rtol=1e-4)
    assert (first.loss != second.loss).all()


@pytest.fixture
def damaged(folder, tmp_path):
    """A copy with three training images and one test image that are none."""
    import shutil

    root = tmp_path / "damaged"
    shutil.copytree(folder, root)
    for split, count in [("train", 3), ("test", 1)]:
        for file in sorted((root / split).rglob("*.png"))[:count]:
            file.write_bytes(b"no image")
    return root


def test_bad_files_are_skipped_counted_and_told(damaged, tmp_path, capsys):
    # The test split is evaluated once, at the end.
    splits = "evaluation.splits=['train']"
    config = load(damaged, "data.storage=stream", "data.on_error=skip", splits)
    train(config, tmp_path / "run", Console(width=300))
    run = cnn_jax.load_run(tmp_path / "run")
    assert run.status == "done" and run.summary["test"]["skipped"] == 1
    by_step = run.history[run.history.split == "train"].skipped
    # All three in three epochs, but for those among the two images that an epoch leaves out.
    assert 3 <= by_step.sum() <= 9
    told = capsys.readouterr().out
    assert told.count("skipped: cannot decode the image") == 4
    assert str(sorted((damaged / "train").rglob("*.png"))[0]) in told


def test_a_bad_file_stops_a_run_that_is_not_to_skip_it(damaged, tmp_path):
    config = load(damaged, "data.storage=stream")
    with pytest.raises(UserError, match="cannot decode .*data.on_error=skip") as caught:
        train(config, tmp_path / "run", QUIET)
    assert "\n" not in str(caught.value)


def test_a_folder_of_bad_files_alone_is_an_error_even_where_they_are_skipped(folder, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "bad" / split / "0").mkdir(parents=True)
        for i in range(20):
            (tmp_path / "bad" / split / "0" / f"{i}.png").write_bytes(b"")
    config = load(tmp_path / "bad", "data.storage=stream", "data.on_error=skip")
    with pytest.raises(UserError, match="none of 20 images can be decoded: .*png"):
        train(config, tmp_path / "run", QUIET)


def test_fake_images_train_without_a_file(tmp_path):
    config = load(
        "None", "data.storage=stream", "data.name=fake:64,3", "data.image_size=8",
        "preprocessing.mean=imagenet", "preprocessing.std=imagenet",
        "training.duration=2 steps", "data.validation_size=9", "evaluation.splits=['validation']",
    )  # fmt: skip
    train(config, tmp_path / "run", QUIET)
    run = cnn_jax.load_run(tmp_path / "run")
    assert run.summary["test"]["loss"] > 0 and run.summary["validation"]["loss"] > 0


def test_a_flat_folder_trains_and_is_evaluated_on_itself(folder, tmp_path):
    config = load(folder / "train", "data.storage=stream", "evaluation.splits=['train']")
    train(config, tmp_path / "run", QUIET)
    summary = cnn_jax.load_run(tmp_path / "run").summary
    assert set(summary) == {"train", "train_evaluated"}
    assert 0 < summary["train_evaluated"]["top1_error"] <= 1


@pytest.mark.parametrize(
    "overrides,message",
    [
        (["data.storage=disk"], "unknown data.storage 'disk'"),
        (["data.on_error=skip"], "data.on_error 'skip' is for streams"),
        (["data.class_list=names.txt"], "data.class_list is for streams"),
        (["data.exclude=names.txt"], "data.exclude is for streams"),
        (
            ["data.exclude=names.txt", "data.storage=stream", "data.name=tfds:digits"],
            "data.exclude is for folders",
        ),
        (["data.storage=stream", "data.name=cifar10"], "cifar10 is not streamed"),
        (["data.storage=stream", "evaluation.splits=['validation']"], "split .*'validation'"),
        (["data.storage=stream", "data.decoder=libjpeg"], "unknown decoder 'libjpeg'"),
        (["data.storage=stream", "preprocessing.whitening=zca"], "ZCA|zca"),
        (["data.name=fake:64", "data.path=None"], "write fake:EXAMPLES,CLASSES"),
        (["view.train.kind=center"], "'center' is cut out of a stream"),
        (["data.storage=stream", "view.train.kind=center"], "view center lacks its option"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(overrides, message, folder, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        train(load(folder, *overrides), tmp_path / "run", QUIET)
    assert "\n" not in str(caught.value)


def test_too_much_to_hold_in_memory_names_the_setting_that_streams(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("cnn_jax.data.dataset.MEMORY_LIMIT", 1000)
    monkeypatch.setenv("CNN_JAX_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="hold in memory: stream it with --config.data.storage=st"):
        train(load(folder), tmp_path / "run", QUIET)


def run_prepared(name, source, tmp_path, monkeypatch, *fields):
    """Prepares a data set and streams it, without an import of TensorFlow."""
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    stream = (f"data.name=tfds:{name}", f"data.path={tmp_path}/tfds", "data.storage=stream")
    config = [*fields, *stream]
    command = ["train", f"--workdir={tmp_path}/run", *(f"--config.{field}" for field in config)]
    prepare = ["data", "prepare", name, f"--from={source}", f"--data_dir={tmp_path}/tfds"]
    for arguments in (prepare, command):
        done = launch_here(*arguments)
        assert done.returncode == 0, done.stderr
    assert "tensorflow" not in sys.modules
    return cnn_jax.load_run(tmp_path / "run")


def test_a_data_set_prepared_for_tfds_is_streamed_without_tensorflow(folder, tmp_path, monkeypatch):
    run = run_prepared("pictures", folder, tmp_path, monkeypatch, *TINY)
    assert run.image_shape == (8, 8, 3) and run.summary["test"]["loss"] > 0


@pytest.mark.slow
def test_fashion_mnist_is_streamed_without_tensorflow(shared_data, tmp_path, monkeypatch):
    source = shared_data / "fashion_mnist"
    few = ("model.width=1", "evaluation.splits=['test']", "training.duration=20 steps")
    run = run_prepared("fashion_mnist", source, tmp_path, monkeypatch, *few)
    assert run.image_shape == (28, 28, 1) and run.summary["test"]["top1_error"] < 0.9
