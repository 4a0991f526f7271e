"""Which evaluation is a run's result."""

import pytest

from cnn_jax.runs import results

PROTOCOL = {"name": "ten_crop", "crop": 224, "sides": (256, 288)}
SUMMARY = {"train": {"step": 30}, "test": {"step": 30}}
FOUND = {
    **{"split": "test", "step": 30, "weights": "ema", "top1_error": 0.1},
    "settings": {"name": "ten_crop", "crop": 224, "sides": [256, 288], "filter": "box"},
}


@pytest.mark.parametrize(
    "other",
    [
        {"split": "train"},
        {"step": 20},
        {"weights": "bn"},
        {"settings": {}},
        {"settings": FOUND["settings"] | {"crop": 192}},
    ],
)
def test_an_evaluation_of_something_else_is_not_the_result_of_a_run(other):
    assert results.of_last_step([FOUND], PROTOCOL, SUMMARY, "ema") == FOUND
    assert results.of_last_step([FOUND | other], PROTOCOL, SUMMARY, "ema") is None


def test_the_latest_evaluation_counts():
    later = FOUND | {"top1_error": 0.2}
    assert results.of_last_step([FOUND, later], PROTOCOL, SUMMARY, "ema") == later
