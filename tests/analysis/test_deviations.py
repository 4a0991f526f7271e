"""In what a run departs from its recipe is told, and a shortened one is never the paper's."""

import pytest

import cnn_jax
from cnn_jax import old_names
from cnn_jax.analysis.deviations import deviations
from tests.conftest import ROOT

CIFAR = f"{ROOT}/experiments/resnet/cifar10.py"
FULL = {"step": 64_000, "epoch": 164.1}


def config(variant, *overrides):
    return cnn_jax.load_config(f"{CIFAR}:{variant}", overrides).to_dict()


def test_the_recipe_in_full_departs_in_nothing_whatever_the_machine_looks_like():
    machine = [
        "data.path=elsewhere",
        "training.steps_per_dispatch=100",
        "evaluation.every=9 epochs",
    ]
    machine += ["seed=3", "training.checkpoint_every=5 epochs", "parallel.seeds=vmap"]
    assert deviations(config("20"), config("20", *machine), FULL, True) == []


def test_the_run_that_a_stage_of_compression_starts_from_is_a_place():
    file = f"{ROOT}/experiments/deep_compression/lenet.py:5,share"
    paper, ours, other = (
        cnn_jax.load_config(file, overrides).to_dict()
        for overrides in ([], ["compression.start=DIR/prune"], ["compression.bits.ip1=4"])
    )
    last = {"step": 937, "epoch": 1.0}
    assert deviations(paper, ours, last, True) == []
    assert deviations(paper, other, last, True) == ["compression.bits.ip1 4 (recipe: 5)"]


SQUEEZE = f"{ROOT}/experiments/squeezenet/imagenet.py"


def test_microbatches_depart_only_where_batch_norms_see_them():
    paper, ours = (
        cnn_jax.load_config(SQUEEZE, overrides).to_dict()
        for overrides in ([], ["training.accumulate=1"])
    )
    last = {"step": 170_000, "epoch": 68.0}
    assert deviations(paper, ours, last, True) == []
    accumulated = config("20", "training.accumulate=2")
    assert deviations(config("20"), accumulated, FULL, True) == [
        "training.accumulate 2 (recipe: 1)"
    ]


def test_leaving_out_images_departs_and_not_the_place_of_their_list():
    file = f"{ROOT}/experiments/inception_v3/imagenet.py"
    everything, paper, elsewhere = (
        cnn_jax.load_config(f"{file}:{words}", overrides).to_dict()
        for words, overrides in [
            ("v3", []), ("paper_images", []), ("v3", ["data.exclude=elsewhere.txt"])
        ]
    )  # fmt: skip
    last = {"step": 80_000, "epoch": 100.0}
    assert deviations(paper, elsewhere, last, True) == []
    assert len(deviations(paper, everything, last, True)) == 1


def test_a_field_that_came_later_is_no_deviation_of_an_old_run():
    paper = cnn_jax.load_config(f"{ROOT}/experiments/resnet/imagenet.py:18,steps").to_dict()
    old = {name: dict(v) if isinstance(v, dict) else v for name, v in paper.items()}
    for group, field in [("model", "order"), ("model", "death_rate"), ("color", "formulas")]:
        del old[group][field]
    last = {"step": 450_360, "epoch": 90.0}
    assert deviations(paper, old_names.config(old), last, True) == []


def test_a_duration_in_the_other_unit_is_the_same_length():
    ours = config("20", "training.duration=164.1 epochs")
    assert deviations(config("20"), ours, {"step": 63_999, "epoch": 164.1}, True) == []


def test_a_short_run_is_called_shortened_first_of_all():
    texts = deviations(config("20"), config("20,fast"), {"step": 3900, "epoch": 10.0}, True)
    assert texts[0] == "shortened: 3,900 of 64,000 steps"
    assert "learning_rate.schedule cosine (recipe: step)" in texts
    assert not [text for text in texts if "absent" in text]


def test_what_a_run_did_counts_and_not_what_its_config_says():
    texts = deviations(config("20"), config("20"), {"step": 32_000, "epoch": 82.0}, True)
    assert texts == ["shortened: 32,000 of 64,000 steps"]


@pytest.mark.parametrize("last", [None, {"step": 390, "epoch": 1.0}])
def test_an_unfinished_run_is_judged_by_what_it_is_to_be(last):
    assert deviations(config("20"), config("20"), last, False) == []
    (text,) = deviations(config("20"), config("20", "training.duration=10 epochs"), last, False)
    short = "shortened: 3,900 of 64,000 steps" if last else "training.duration 10 epochs"
    assert text.startswith(short)


def test_another_network_batch_or_precision_departs():
    ours = config("20", "model.dtype=bfloat16", "training.batch_size=256")
    assert deviations(config("20"), ours, FULL, True) == [
        "model.dtype bfloat16 (recipe: float32)",
        "training.batch_size 256 (recipe: 128)",
    ]
