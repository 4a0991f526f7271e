"""Receptive fields are the published ones, and those that gradients reach."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import models
from cnn_jax.models.cpu.xla import eval_shape
from cnn_jax.models.inside import activations, receptive_field
from cnn_jax.models.inside.receptive_field import Reach


def reach_of(function, shape, *rest):
    """That of the result of a function of an image [H, W] or more axes, rows and columns first."""
    jaxpr = jax.make_jaxpr(function)(np.zeros(shape, np.float32), *rest).jaxpr
    pixels = tuple(Reach(i, np.arange(n), np.arange(n)) for i, n in enumerate(shape[:2]))
    return receptive_field.run(jaxpr, [pixels, *[None] * len(rest)])[0]


def ends(reach):
    return reach.axis, np.asarray(reach.first).tolist(), np.asarray(reach.last).tolist()


def test_a_window_sees_the_taps_inside_of_the_map_alone():
    pooled = functools.partial(
        jax.lax.reduce_window, init_value=-np.inf, computation=jax.lax.max,
        window_dimensions=(3, 1), window_strides=(2, 1), padding=((1, 1), (0, 0)),
    )  # fmt: skip
    rows, columns = reach_of(pooled, (5, 2))
    assert ends(rows) == (0, [0, 1, 3], [1, 3, 4])
    assert ends(columns) == (1, [0, 1], [0, 1])


def test_strided_slices_padding_and_transposes_move_positions():
    rows, columns = reach_of(lambda x: jnp.pad(x[1::2], ((1, 0), (0, 0))).T, (6, 3))
    nothing = receptive_field.NOTHING
    assert ends(rows) == (1, [nothing, 1, 3, 5], [-nothing, 1, 3, 5])
    assert columns.axis == 0


def test_what_is_added_sees_what_either_sees_and_a_mean_sees_all():
    rows, _ = reach_of(lambda x: x[:-1] + x[1:], (3, 2))
    assert ends(rows) == (0, [0, 1], [1, 2])
    rows, columns = reach_of(lambda x: x.mean(0), (3, 2))
    assert ends(rows) == (None, 0, 2)
    assert ends(columns) == (0, [0, 1], [0, 1])


def test_rows_that_are_concatenated_stand_one_after_the_other():
    rows, _ = reach_of(lambda x: jnp.concatenate([x[2:], x[:1]]), (3, 2))
    assert ends(rows) == (0, [2, 0], [2, 0])


# Araujo et al. (2019) list 195 after AlexNet's last pooling, 212 after VGG-16's, 483 for ResNet-50.
PUBLISHED = {
    "alexnet": ({"fc_width": 8}, "conv5", 163),
    "vgg": ({"depth": 16, "fc_width": 8}, "conv5_3", 196),
    "resnet": ({"depth": 50}, "conv5", 483),
}
SLOW = pytest.mark.slow


@pytest.mark.parametrize("name", ["alexnet", "vgg", pytest.param("resnet", marks=SLOW)])
def test_the_field_of_the_last_maps_has_the_published_size(name):
    options, layer, size = PUBLISHED[name]
    model, _ = activations.each_block(models.create(name, num_classes=3, **options), {})
    (reach,) = receptive_field.fields(model, (1001, 1001, 3), (layer,)).values()
    rows, columns = receptive_field.center(reach)
    assert rows.stop - rows.start == columns.stop - columns.start == size


def values(random, shape):
    if len(shape) == 1:
        return random.uniform(0.5, 1, shape).astype(np.float32)
    return random.standard_normal(shape, np.float32) * np.float32(2 / np.prod(shape[:-1])) ** 0.5


# Of each family: options, the side of an image, and a layer.
FAMILIES = [
    ("lenet", {}, 28, "conv2"),
    ("wide_resnet", {"depth": 10, "width": 1}, 33, "conv3"),
    pytest.param("cifar_resnet", {"depth": 8, "shortcut": "average"}, 32, "conv3", marks=SLOW),
    pytest.param("squeezenet", {"base_e": 16, "incr_e": 8}, 65, "fire5", marks=SLOW),
    pytest.param("alexnet", {"fc_width": 8}, 127, "conv3", marks=SLOW),
    pytest.param("vgg", {"depth": 11, "fc_width": 8}, 64, "conv4_1", marks=SLOW),
    pytest.param("resnet", {"depth": 18}, 160, "conv3", marks=SLOW),
    pytest.param("googlenet", {"auxiliary": False}, 128, "inception_3b", marks=SLOW),
    pytest.param("bn_inception", {}, 128, "inception_3b", marks=SLOW),
    pytest.param("inception_v3", {"auxiliary": "none"}, 160, "Mixed_6b", marks=SLOW),
]


@pytest.mark.parametrize(("name", "options", "side", "layer"), FAMILIES)
def test_the_pixels_that_a_gradient_reaches_fill_the_field(name, options, side, layer):
    model = models.create(name, num_classes=3, **options)
    shapes = eval_shape(model.init, jax.random.key(0), np.zeros((1, side, side, 3), np.float32))
    random = np.random.default_rng(0)
    # Positive where there is one number for a channel: no batch norm is zero.
    variables = jax.tree.map(lambda leaf: values(random, leaf.shape), dict(shapes))
    images = random.standard_normal((2, side, side, 3)).astype(np.float32)
    (reach,) = receptive_field.fields(model, (side, side, 3), (layer,)).values()

    @jax.jit
    def gradient(images):
        def center(images):
            y = activations.apply(model, variables, images, [layer])[1][layer]
            return (y[:, y.shape[1] // 2, y.shape[2] // 2] * weights[: y.shape[-1]]).sum()

        weights = np.random.default_rng(1).standard_normal(1024, np.float32)
        return jax.grad(center)(images)

    reached = np.asarray(gradient(images)).any((0, 3))
    rows, columns = (np.flatnonzero(reached.any(axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    assert box == receptive_field.center(reach)
    assert rows[0] > 0 or rows[-1] < side - 1, "the field fills the image"
