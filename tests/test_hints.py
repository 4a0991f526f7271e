"""Who types another program's words is answered with our field."""

import pytest

import cnn_jax
from cnn_jax import config as configs
from cnn_jax import hints
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def fields():
    return configs.field_names(cnn_jax.load_config(str(ROOT / "experiments/quickstart.py")))


FLAGS = ["--help", "--config", "--workdir", "--seeds", "--evaluate"]


@pytest.mark.parametrize(
    "words,message",
    [
        (["--epochs=3"], "train has no --epochs; write --config.training.duration='3 epochs'"),
        (["--max-steps", "9"], "write --config.training.duration='9 steps'"),
        (["--lr", "0.1"], "train has no --lr; write --config.learning_rate.rate=0.1"),
        (["--batch_size=32"], "train has no --batch_size; write --config.training.batch_size=32"),
        (["--batch-size"], "write --config.training.batch_size=VALUE"),
        (["--seed=1"], "write --config.seed=1"),
        (["--weight_decay=1"], "write --config.optimizer.weight_decay=1"),
        (["--dataset=mnist"], "write --config.data.name=mnist"),
        (["--model", "vgg"], "write --config.model.name=vgg"),
        (["--droput=0"], "write --config.model.dropout=0"),
        (["--wrokdir=x"], "unknown argument of train '--wrokdir=x' (did you mean '--workdir'?)"),
        (["a/resnet.py:20"], "train takes the experiment as --config=a/resnet.py:20"),
        (["epochs"], "quote what has spaces: --config.training.duration='5 epochs'"),
        (["--zzz"], "unknown argument of train '--zzz'; choose from: --help, --config"),
    ],
)
def test_a_flag_of_other_programs_is_answered_with_the_field(words, message, fields):
    error = hints.unknown_argument("train", words, FLAGS, fields)
    assert message in str(error) and error.exit_code == 2


@pytest.mark.parametrize(
    "field,found",
    [
        ("lr", "learning_rate.rate"),
        ("learning_rate", "learning_rate.rate"),
        ("optimizer.lr", "learning_rate.rate"),
        ("batch_size", "training.batch_size"),
        ("model.batch_size", "training.batch_size"),
        ("epochs", "training.duration"),
        ("model.widht", "model.width"),
        ("widht", "model.width"),
        ("seeed", "seed"),
    ],
)
def test_a_field_that_is_not_there_is_answered_with_one_that_is(field, found, fields):
    assert str(hints.unknown_field(field, fields, None)) == (
        f"unknown config field {field!r} (did you mean {found!r}?)"
    )


def test_without_a_close_one_the_fields_of_the_group_are_listed_or_the_groups(fields):
    assert str(hints.unknown_field("loss.zzz", fields, None)) == (
        "unknown config field 'loss.zzz'; choose from: loss.auxiliary_weight, loss.label_smoothing"
    )
    text = str(hints.unknown_field("zzz", fields, None))
    assert "learning_rate" in text and "learning_rate." not in text


def test_a_file_that_is_nearly_an_experiments_is_answered_with_it():
    from pathlib import Path

    assert hints.experiment_like(Path("quikstart.py"), ROOT) == (
        "did you mean experiments/quickstart.py?"
    )
