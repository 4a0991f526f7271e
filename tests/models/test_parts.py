"""Initial values, pools and the notation of tables, against NumPy and by hand."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.models import (
    bn_inception,
    inception_blocks,
    inception_v3,
    layers,
    pooling,
    residual_units,
)
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.inception_blocks import Step

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    "init,std,bound",
    [
        (layers.he_fan_in, (2 / 800) ** 0.5, None),
        (layers.he_fan_out, (2 / 1600) ** 0.5, None),
        (layers.caffe_xavier, (1 / 800) ** 0.5, (3 / 800) ** 0.5),
    ],
)
def test_kernels_start_with_the_deviation_of_their_fan(init, std, bound):
    kernel = np.asarray(jax.jit(lambda key: init(key, (5, 5, 32, 64)))(KEY))
    assert kernel.std() == pytest.approx(std, rel=0.02) and abs(kernel.mean()) < 0.05 * std
    if bound:
        assert bound * 0.99 < np.abs(kernel).max() <= bound
    else:  # a normal distribution has 0.27 % beyond three deviations
        assert (np.abs(kernel) > 3 * std).mean() == pytest.approx(0.0027, rel=0.3)


def test_torchs_linear_layer_and_scale_start_uniform():
    linear = np.asarray(jax.jit(lambda key: layers.torch_linear(key, (400, 100)))(KEY))
    assert linear.min() == pytest.approx(-0.05, rel=1e-3) and linear.max() == pytest.approx(
        0.05, rel=1e-3
    )
    scale = np.asarray(layers.unit_uniform(KEY, (4000,)))
    assert 0 <= scale.min() < 0.002 and 0.998 < scale.max() <= 1
    assert abs(linear.mean()) < 1e-3 and abs(scale.mean() - 0.5) < 0.02


@pytest.mark.parametrize("height,width,side", [(7, 5, 4), (5, 9, 3), (2, 3, 4), (4, 4, 4)])
def test_adaptive_pooling_has_torchs_cells(height, width, side):
    x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)

    def cells(size):
        return [slice(i * size // side, -(-(i + 1) * size // side)) for i in range(side)]

    expected = [[x[:, r, c].mean((1, 2)) for c in cells(width)] for r in cells(height)]
    ours = pooling.adaptive_avg_pool(x, side)
    np.testing.assert_allclose(ours, np.moveaxis(expected, 2, 0), atol=1e-5)


def test_averages_at_the_border_count_the_padding_or_not():
    x = jnp.ones((1, 4, 4, 1))
    inside, all_of_it = (
        np.asarray(pooling.avg_pool(x, 3, 2, 1, counts))[0, :, :, 0] for counts in (False, True)
    )
    assert inside.tolist() == [[1, 1], [1, 1]]
    np.testing.assert_allclose(all_of_it, [[4 / 9, 6 / 9], [6 / 9, 1]], rtol=1e-6)


def test_networks_take_images_of_their_smallest_size_and_no_smaller_side():
    layers.require_size("lenet", jnp.zeros((1, 16, 20, 1)), 16)
    for shape in ((1, 15, 20, 1), (1, 20, 15, 1)):
        with pytest.raises(
            UserError, match=f"lenet: images of {shape[1]}x{shape[2]} are too small"
        ):
            layers.require_size("lenet", jnp.zeros(shape), 16)


@pytest.mark.parametrize(
    "text,step",
    [
        ("3x3/2 V 384", Step("conv", (3, 3), 2, (0, 0), 384)),
        ("1x7 128", Step("conv", (1, 7), 1, (0, 3), 128)),
        ("5x5 64", Step("conv", (5, 5), 1, (2, 2), 64)),
        ("avg 3x3", Step("avg", (3, 3), 1, (1, 1), 0)),
        ("max 3x3/2 V", Step("max", (3, 3), 2, (0, 0), 0)),
    ],
)
def test_a_step_is_read_as_it_is_written(text, step):
    assert inception_blocks.parse(text) == step


def test_steps_have_the_names_of_tf_slim():
    branch = ("1x1 64", ("1x3 96", "3x1 96"), "max 3x3/2 V", "avg 3x3")
    assert inception_blocks.named_steps(branch) == [
        [("Conv2d_0a_1x1", "1x1 64")],
        [("Conv2d_0b_1x3", "1x3 96"), ("Conv2d_0b_3x1", "3x1 96")],
        [("MaxPool_1a_3x3", "max 3x3/2 V")],
        [("AvgPool_0d_3x3", "avg 3x3")],
    ]


def test_the_smallest_image_leaves_a_grid_of_one():
    table = {"conv": "3x3/2 V 8", "pool": "max 3x3/2", "mixed": (("1x1 8",), ("3x3/2 V 8",))}
    # Backwards from 1: 3, 5 (the pool has a padding of 1), 11.
    assert inception_blocks.smallest_input(table) == 11
    assert inception_blocks.smallest_input({"conv": "7x7/2 64"}, grid=4) == 7
    table = {"mixed": (("1x1 8",), ("3x3/2 V 8", "5x5 8"))}  # its first step changes the grid
    assert inception_blocks.smallest_input(table, grid=4) == 9


def test_families_and_options_have_types():
    assert models.names() == sorted(models.FAMILIES) and len(models.names()) == 10
    types = models.option_types("cifar_resnet")
    assert (types["depth"], types["shortcut"], types["death_rate"]) == (int, str, float)
    assert not {"num_classes", "parent", "name"} & set(types)


def test_survival_falls_by_the_same_in_every_unit():
    first, second = residual_units.survival(0.5, [2, 3])
    np.testing.assert_allclose([*first, *second], [0.9, 0.8, 0.7, 0.6, 0.5], rtol=1e-6)
    assert residual_units.survival(0.0, [2, 3]) == [None, None]


@pytest.mark.parametrize(
    "window,stride,padding", [(3, 2, 0), (3, 2, 1), (2, 2, 1), (3, 3, 1), (5, 3, 2)]
)
def test_caffes_pools_start_no_window_in_the_padding(window, stride, padding):
    def rounded_up(size):
        count = -(-(size + 2 * padding - window) // stride) + 1
        return count - ((count - 1) * stride >= size + padding)

    def pooled(size, ceil):
        image = jax.ShapeDtypeStruct((1, size, size + 1, 1), jnp.float32)
        pool = functools.partial(pooling.max_pool, ceil=ceil)
        return eval_shape(lambda x: pool(x, window, stride, padding), image).shape[1:3]

    for size in range(5, 12):
        assert pooled(size, True) == (rounded_up(size), rounded_up(size + 1))
        down = [(n + 2 * padding - window) // stride + 1 for n in (size, size + 1)]
        assert pooled(size, False) == tuple(down)


def kernels_of(table):
    """The numbers in the kernels of a table's convolutions, and the channels at its end."""
    channels, total = 3, 0
    for content in table.values():
        ends = []
        for branch in [(content,)] if isinstance(content, str) else content:
            width = channels
            for texts in branch:
                steps = [inception_blocks.parse(text) for text in np.atleast_1d(texts)]
                convs = [step for step in steps if step.kind == "conv"]
                total += sum(math.prod(step.size) * width * step.channels for step in convs)
                width = sum(step.channels for step in convs) if convs else width
            ends.append(width)
        channels = sum(ends)
    return total, channels


def test_tables_of_inception_networks_have_these_kernels():
    # Keras's InceptionV3 has 23,851,784 parameters: these, fc's, and three for each batch norm's
    # 17,216 channels.
    assert 21_751_136 + 2048 * 1000 + 1000 + 3 * 17_216 == 23_851_784
    assert {name: kernels_of(table) for name, table in inception_v3.LAYOUTS.items()} == {
        "released": (21_751_136, 2048),
        "table_1": (23_866_720, 2048),
    }
    assert {name: kernels_of(table) for name, table in bn_inception.LAYOUTS.items()} == {
        "released": (10_150_080, 1024),
        "printed": (10_240_192, 1024),
    }


def test_a_map_that_has_the_size_of_the_grid_is_as_it_was():
    x = np.zeros((2, 4, 4, 3), np.float32)
    assert pooling.adaptive_avg_pool(x, 4) is x
