"""What a CPU runs in place of `lax` is the same, by NumPy, in the form that was measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from cnn_jax.models.cpu import xla


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def windows(x, size, strides, padding):
    """[B, H', W', C, h, w] of padded x [B, H, W, C]."""
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    return sliding_window_view(x, size, (1, 2))[:, :: strides[0], :: strides[1]]


def expected(x, kernel, dy, strides, padding):
    """The convolution, and the gradients of x and of the kernel where that of the result is dy."""
    seen = windows(x, kernel.shape[:2], strides, padding)
    y = np.einsum("bijchw,hwco->bijo", seen, kernel)
    dkernel = np.einsum("bijchw,bijo->hwco", seen, dy)
    dx = np.zeros_like(np.pad(x, ((0, 0), *padding, (0, 0))))
    for i, j in np.ndindex(dy.shape[1:3]):
        rows, columns = (
            slice(n * s, n * s + k)
            for n, s, k in zip((i, j), strides, kernel.shape[:2], strict=True)
        )
        dx[:, rows, columns] += np.einsum("hwco,bo->bhwc", kernel, dy[:, i, j])
    (top, _), (left, _) = padding
    return y, dx[:, top : top + x.shape[1], left : left + x.shape[2]], dkernel


@pytest.mark.parametrize(
    "image,kernel,strides,padding",
    [
        ((5, 8), (3, 3), (1, 1), ((1, 1), (1, 1))),  # pairs of columns
        ((4, 7), (2, 4), (1, 1), ((0, 1), (2, 0))),
        ((7, 11), (3, 2), (2, 3), ((1, 0), (0, 2))),
        ((6, 5), (1, 2), (3, 1), ((0, 0), (1, 0))),  # not every row is met
    ],
)
def test_a_convolution_and_its_gradients_are_those_of_numpy(image, kernel, strides, padding):
    x, w = normal(2, *image, 3), normal(*kernel, 3, 2)
    dy = normal(*windows(x, kernel, strides, padding).shape[:3], 2)

    @jax.jit
    def ours(x, w, dy):
        y = xla.convolve(x, w, strides, padding, None)
        return y, *xla.gradients(x, w, dy, strides, padding, None)

    for a, b in zip(ours(x, w, dy), expected(x, w, dy, strides, padding), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def convolutions(function, *shapes):
    """(shape of the kernel, strides) of each convolution in a program."""
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    equations = jax.make_jaxpr(function)(*shapes).eqns
    return [
        (equation.invars[1].aval.shape, equation.params["window_strides"])
        for equation in equations
        if equation.primitive.name == "conv_general_dilated"
    ]


@pytest.mark.parametrize(
    "width,size,channels,in_pairs",
    [
        *[(8, 3, 16, True), (8, 5, 2, True), (2, 3, 1, True)],
        *[(7, 3, 16, False), (8, 2, 16, False), (8, 3, 17, False)],
    ],
)
def test_of_few_channels_two_columns_are_computed_at_once(width, size, channels, in_pairs):
    pads = ((1, 1), (size - 1, 0))  # as many columns as the image has
    found = convolutions(
        lambda x, k: xla.convolve(x, k, (1, 1), pads, None),
        (2, 5, width, 3),
        (3, size, 3, channels),
    )
    pair = ((3, size + 1, 3, 2 * channels), (1, 2))
    assert found == [pair if in_pairs else ((3, size, 3, channels), (1, 1))]


def test_the_precision_of_the_caller_is_that_of_every_convolution():
    def program(x, k, dy):
        y = xla.convolve(x, k, (2, 2), ((1, 1), (1, 1)), "highest")
        return y, xla.gradients(x, k, dy, (2, 2), ((1, 1), (1, 1)), "highest")

    shapes = [jnp.zeros(shape) for shape in ((2, 6, 6, 3), (3, 3, 3, 4), (2, 3, 3, 4))]
    equations = jax.make_jaxpr(program)(*shapes).eqns
    found = [e.params["precision"] for e in equations if "precision" in e.params]
    assert len(found) == 1 + 1 + 4 and set(found) == {(jax.lax.Precision.HIGHEST,) * 2}


@pytest.mark.parametrize("rows,stages", [(12, 3), (16, 4), (7, 1), (1, 1), (18, 3), (2, 1)])
def test_rows_are_summed_in_two_stages_of_about_their_root(rows, stages):
    x = normal(2, rows, 3)
    np.testing.assert_allclose(xla.sum_rows(x), x.sum(1), rtol=1e-5, atol=1e-6)
    equations = jax.make_jaxpr(xla.sum_rows)(x).eqns
    products = [e.invars[1].aval.shape for e in equations if e.primitive.name == "dot_general"]
    assert products == [(2 * stages, rows // stages, 3), (2, stages, 3)]


def test_moments_are_the_mean_and_the_variance_of_each_group():
    x = 5 + 2 * normal(2, 6, 3)
    mean, variance = xla.moments(x)
    np.testing.assert_allclose(mean, x.mean(1), rtol=1e-5)
    np.testing.assert_allclose(variance, x.var(1), rtol=1e-4)


def test_shapes_alone_are_traced_in_the_form_for_accelerators():
    def traced(x):
        asked.append(xla.only_shapes())
        return xla.by_platform(
            x, cpu=lambda x: asked.append("cpu") or x, default=lambda x: asked.append("other") or x
        )

    asked = []
    assert xla.eval_shape(traced, jnp.zeros(3)).shape == (3,)
    assert asked == [True, "other"] and not xla.only_shapes()
    with pytest.raises(ZeroDivisionError):
        xla.eval_shape(lambda x: 1 // 0, jnp.zeros(3))
    assert not xla.only_shapes()
    asked.clear()
    jax.eval_shape(traced, jnp.zeros(3))
    assert asked[0] is False and set(asked[1:]) == {"cpu", "other"}
