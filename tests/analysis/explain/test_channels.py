"""Channels: what they answer to most, and those that never answer."""

import numpy as np
import pytest

from cnn_jax.analysis.explain import channels
from cnn_jax.errors import UserError
from tests.analysis.explain.making import IMAGES, SmallRun, axes, small_run


@pytest.fixture(scope="module")
def run():
    return small_run()


def test_the_strongest_come_first_with_what_their_unit_sees(run):
    maps, _ = run.by_hand()
    found = channels.strongest(run, IMAGES, "bn1/relu", 2, count=3)
    best = maps[..., 2].max((1, 2))
    order = np.argsort(-best)[:3]
    assert [patch.image for patch in found] == order.tolist()
    assert [patch.value for patch in found] == pytest.approx(best[order].tolist(), rel=1e-5)
    row, column = np.unravel_index(maps[order[0], ..., 2].argmax(), (4, 4))
    rows, columns = (slice(max(0, 2 * i - 1), 2 * i + 2) for i in (row, column))
    np.testing.assert_array_equal(found[0].seen, IMAGES[order[0], rows, columns])


def test_a_channel_that_is_not_there_is_refused(run):
    with pytest.raises(UserError, match="has the channels 0 to 3, not 4"):
        channels.strongest(run, IMAGES, "conv1", 4)


def test_a_channel_whose_bias_silences_it_is_dead():
    run = SmallRun()
    run.variables()["params"]["bn1"]["bias"][1] = -1000
    assert channels.dead(run, IMAGES)["bn1/relu"].tolist() == [False, True, False, False]


def test_the_fraction_of_dead_channels_is_drawn_for_each_relu():
    drawn = channels.draw_dead(axes(), {"a/relu": np.array([True, False]), "b/relu": np.ones(3)})
    assert [bar.get_width() for bar in drawn.patches] == [50, 100]
    assert [text.get_text() for text in drawn.get_yticklabels()] == ["a", "b"]


def test_patches_are_drawn_with_their_activations(run):
    patches = channels.strongest(run, IMAGES, "conv1", 0, count=4)
    drawn = channels.draw_strongest(axes(), patches, columns=2)
    assert len(drawn.images) == 4
    assert [text.get_text() for text in drawn.texts] == [f"{patch.value:.3g}" for patch in patches]
