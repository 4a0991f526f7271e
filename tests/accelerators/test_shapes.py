"""Programs are lowered from shapes, and data sets stood in for by their published sizes."""

import jax
import numpy as np
import pytest

import cnn_jax
from cnn_jax.accelerators import shapes
from cnn_jax.data.stream.streamed import StreamedDataset
from cnn_jax.errors import UserError
from cnn_jax.training.build import build
from tests.conftest import ROOT


def load(file, *overrides):
    return cnn_jax.load_config(str(ROOT / "experiments" / file), overrides)


def test_what_is_lowered_from_shapes_is_the_program_that_trains(tiny_config):
    setup = build(tiny_config)
    examples = setup.inputs.take(*next(setup.plan.dispatches(0)), setup.seeds.template)
    trains = setup.seeds.train_steps.lower(setup.seeds.template, *examples)
    assert shapes.lower_steps(tiny_config, jax.devices()).as_text() == trains.as_text()


def test_a_streamed_recipe_is_lowered_without_its_images():
    config = load("resnet/imagenet.py:18", "training.batch_size=32")
    setup, (data, examples) = shapes.set_up(config, jax.devices()[:1])
    assert examples.images.shape == (1, 32, 224, 224, 3) and examples.images.dtype == np.uint8
    assert data.preprocessing.mean.shape == (224, 224, 3)  # of the mean of every pixel
    assert setup.plan.train_size == 1_281_167 - 10_000


def test_data_in_memory_is_stood_in_for_by_arrays_that_take_none():
    dataset = shapes.stand_in(load("resnet/cifar10.py:20"))
    images = dataset.splits["train"].images
    assert images.shape == (50_000, 32, 32, 3) and not any(images.strides)


def test_imagenet_is_stood_in_for_by_a_stream_of_its_size():
    dataset = shapes.stand_in(load("squeezenet/imagenet.py"))
    assert isinstance(dataset, StreamedDataset)
    assert len(dataset.splits["train"]) > 1_200_000 and len(dataset.class_names) == 1000


def test_data_of_unknown_size_that_is_not_here_is_an_error():
    with pytest.raises(UserError, match="nowhere"):
        shapes.stand_in(load("quickstart.py", "data.name=folder", "data.path=nowhere"))
