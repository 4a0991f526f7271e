"""Numbers of an evaluation, and what a run is evaluated on."""

import jax
import numpy as np
import optax
import pytest
from PIL import Image
from rich.console import Console

import cnn_jax
from cnn_jax.errors import UserError
from cnn_jax.evaluation import evaluate, target
from cnn_jax.optim import losses
from cnn_jax.training.train import train
from tests.conftest import DENSE, ROOT


def test_the_numbers_are_those_of_a_plain_sort_and_of_the_evaluation_in_training(predictions):
    found = evaluate.numbers(predictions)
    order = np.argsort(-predictions.logits, 1, kind="stable")  # of equal ones the first wins
    place = np.argmax(order == predictions.labels[:, None], 1)
    assert (found["top1_right"], found["top5_right"]) == ((place < 1).sum(), (place < 5).sum())
    assert 0 < found["top1_right"] < found["top5_right"] < found["examples"] == 60
    for name, errors in losses.errors(predictions.logits, predictions.labels).items():
        assert found[name] == pytest.approx(float(errors.mean()))
    targets = jax.nn.one_hot(predictions.labels, 8)
    loss = optax.softmax_cross_entropy(predictions.logits, targets).mean()
    assert found["loss"] == pytest.approx(float(loss), rel=1e-5)


def test_logits_that_are_not_numbers_are_wrong(predictions):
    broken = predictions._replace(logits=np.full((60, 8), np.nan, np.float32))
    assert evaluate.numbers(broken)["top5_right"] == 0


def pictures(root, splits, size=8, mode="RGB"):
    """{split}/<class>/<number>.png of noise, in two classes."""
    rng = np.random.default_rng(0)
    for split in splits:
        for i in range(12):
            file = root / split / str(i % 2) / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8))
            pixels.convert(mode).save(file)
    return root


def config_of(folder, *overrides):
    fields = [*DENSE, "data.name=folder", f"data.path={folder}", "evaluation.splits=['train']"]
    fields += ["data.validation_size=0", "training.batch_size=6", "training.duration=1 epoch"]
    return cnn_jax.load_config(str(ROOT / "experiments/quickstart.py"), [*fields, *overrides])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on pictures in memory."""
    root = tmp_path_factory.mktemp("pictures")
    train(config_of(pictures(root / "here", ["train"])), root / "run", Console(quiet=True))
    return cnn_jax.load_run(root / "run")


@pytest.mark.parametrize("size,mode", [(10, "RGB"), (8, "L")])
def test_other_images_than_the_run_has_seen_are_refused(run, size, mode, tmp_path):
    other = pictures(tmp_path, ["train"], size, mode)
    with pytest.raises(UserError, match="the data has images of .*name the right place"):
        cnn_jax.evaluate(run, split="train", data=str(other))
    if mode == "RGB":  # unless another size is asked for
        resized = target.of_run(run, [f"data.path={other}", "data.image_size=9"])
        assert resized.image_shape == (9, 9, 3)


@pytest.mark.parametrize("storage", ["device", "stream"])
def test_without_a_test_split_the_validation_split_is_evaluated(storage, tmp_path):
    config = config_of(
        pictures(tmp_path, ["train"]), f"data.storage={storage}", "data.validation_size=4"
    )
    split, examples = target.of_config(config).examples(None)
    assert split == "validation" and len(examples.labels) == 4
    assert examples.open(0).size == (8, 8) and examples.mode == "RGB"


@pytest.mark.parametrize("storage", ["device", "stream"])
@pytest.mark.parametrize(
    "override,message",
    [
        ("view.evaluation.kind=center", "center"),
        ("view.evaluation.kind=area_aspect", "area_aspect"),
        ("data.on_error=ignore", "on_error"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_line(storage, override, message, tmp_path):
    config = config_of(pictures(tmp_path, ["train"]), f"data.storage={storage}", override)
    with pytest.raises(UserError, match=message) as caught:
        target.of_config(config)
    assert "\n" not in str(caught.value)
