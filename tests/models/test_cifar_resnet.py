"""CIFAR ResNet is the network of He et al. (2016), section 4.2."""

import jax
import jax.numpy as jnp
import pytest

from cnn_jax import models
from cnn_jax.analysis.summary import layers_of
from cnn_jax.errors import UserError
from experiments.resnet import published


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
@pytest.mark.parametrize("residual", [True, False])
def test_parameters_and_multiply_adds_are_those_of_the_paper(depth, residual):
    model = models.create("cifar_resnet", num_classes=10, depth=depth, residual=residual)
    rows = layers_of(model, (32, 32, 3))
    parameters, millions = published.CIFAR10_EXACT[depth]
    assert sum(row.parameters for row in rows) == parameters
    assert sum(row.multiply_adds for row in rows) / 1e6 == pytest.approx(millions, abs=0.05)


def test_resnet_1202_scans_its_blocks_and_has_19421274_parameters():
    model = models.create("cifar_resnet", num_classes=10, depth=1202)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    assert set(variables["params"]["conv2"]) == {"block1", "blocks"}
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 19_421_274


def test_maps_shrink_as_in_the_table_of_section_4_2():
    rows = layers_of(models.create("cifar_resnet", num_classes=10), (32, 32, 3))
    shapes = {row.name: row.output_shape for row in rows}
    assert shapes["conv1"] == shapes["conv2/block3/conv2"] == (32, 32, 16)
    assert shapes["conv3/block1/conv1"] == shapes["conv3/block3/conv2"] == (16, 16, 32)
    assert shapes["conv4/block1/conv1"] == shapes["conv4/block3/conv2"] == (8, 8, 64)
    assert shapes["fc"] == (10,)


def test_option_a_takes_every_second_pixel_and_appends_zeros():
    from cnn_jax.models.cifar_resnet import shortcut_a

    x = jnp.arange(2 * 4 * 4 * 3, dtype=jnp.float32).reshape(2, 4, 4, 3)
    y = shortcut_a(x, 6, 2)
    assert (y[..., :3] == x[:, ::2, ::2]).all() and (y[..., 3:] == 0).all()


def test_kernels_have_the_deviation_of_he_initialisation():
    model = models.create("cifar_resnet", num_classes=10)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    for path, fan_in in [("conv2/block2/conv1", 9 * 16), ("conv4/block3/conv2", 9 * 64)]:
        kernel = params
        for part in path.split("/"):
            kernel = kernel[part]
        assert float(kernel["kernel"].std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)


def test_a_depth_that_is_not_6n_plus_2_is_refused():
    with pytest.raises(UserError, match="depth 21 is not 6n"):
        models.create("cifar_resnet", num_classes=10, depth=21)


def test_an_unknown_option_is_refused_with_the_right_ones():
    with pytest.raises(UserError, match="did you mean 'depth'.*residual"):
        models.create("cifar_resnet", num_classes=10, dept=20)
