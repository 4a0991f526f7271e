"""Predictions are those of a plain loop over views, and every example is counted once."""

import io

import flax.linen as nn
import jax
import numpy as np
import pytest
from PIL import Image

from cnn_jax.data.preprocess import Preprocessing
from cnn_jax.data.stream.sources import FolderSource
from cnn_jax.errors import UserError
from cnn_jax.evaluation import protocols
from cnn_jax.evaluation.predict import ahead, of_source, predict
from cnn_jax.training import compiler, sharding


class Small(nn.Module):
    """Fully convolutional: the mean of a map of logits, of images of any size."""

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Conv(4, (3, 3), strides=2, padding=1)(images))
        return nn.Conv(3, (1, 1), bias_init=nn.initializers.normal(1.0))(x).mean((1, 2))


MODEL = Small()
APPLY = jax.jit(MODEL.apply)
INIT = jax.jit(MODEL.init)
VARIABLES, OTHER = (INIT(jax.random.key(i), np.zeros((1, 8, 8, 3))) for i in (0, 1))
PREPROCESSING = Preprocessing(np.float32([120, 110, 100]), np.float32([60]), None)
SIZES = [(40, 30), (30, 40), (40, 30), (33, 33), (90, 30), (40, 30), (30, 40)]


@pytest.fixture
def source(tmp_path):
    """Seven images of four shapes."""
    rng = np.random.default_rng(0)
    for i, (width, height) in enumerate(SIZES):
        array = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(array).save(tmp_path / f"{i}.png")
    files = tuple(f"{i}.png" for i in range(len(SIZES)))
    labels = np.arange(len(SIZES), dtype=np.int32) % 3
    return FolderSource(tmp_path, files, labels, ("a", "b", "c"))


def run(source, protocol, pixels=3000, on_error="raise", weights=None, preprocessing=PREPROCESSING):
    return predict(
        MODEL,
        weights or {"raw": VARIABLES},
        preprocessing,
        of_source(source, "RGB", on_error),
        protocol,
        pixels=pixels,
        jit=compiler.Jit(with_precision=compiler.precision(matmul="float32")),
        mesh=sharding.data_mesh(),
    )


def scores(array, average, variables=VARIABLES):
    """Of one view [H, W, C], alone."""
    logits = APPLY(variables, (array[None] - np.float32([120, 110, 100])) / 60)[0]
    return np.asarray(jax.nn.softmax(logits) if average == "softmax" else logits)


def loop(source, protocol, variables=VARIABLES):
    """The mean scores [N, classes], one view after the other."""
    rows = []
    for i in range(len(source)):
        image = Image.open(io.BytesIO(source.encoded(i)))
        views = [view for part in protocol.parts for view in protocol.views(part, image)]
        views += [view[:, ::-1] for view in views] if protocol.mirrored else []
        rows.append(np.mean([scores(view, protocol.average, variables) for view in views], 0))
    return np.stack(rows)


@pytest.mark.parametrize("average,flip", [("softmax", False), ("logits", True)])
def test_multi_scale_is_the_mean_of_a_plain_loop_over_scales(source, average, flip):
    protocol = protocols.create(
        "multi_scale", sides=(16, 24, 33), multiple=1, average=average, flip=flip
    )
    found, bad = run(source, protocol)
    logits = found["raw"].logits
    assert not bad and protocol.views_of_each == 3 * (1 + flip)
    np.testing.assert_array_equal(found["raw"].index, np.arange(7))
    np.testing.assert_array_equal(found["raw"].labels, source.labels)
    mean = np.exp(logits) if average == "softmax" else logits
    np.testing.assert_allclose(mean, loop(source, protocol), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ten_crop", "crops_144"])
def test_crops_are_the_mean_of_the_softmax_over_them_and_their_mirror_images(source, name):
    protocol = protocols.create(name, **protocols.default_sizes(name, 14, 16))
    found, _ = run(source, protocol)
    np.testing.assert_allclose(np.exp(found["raw"].logits), loop(source, protocol), rtol=1e-4)


def test_one_view_gives_the_logits_themselves(source):
    protocol = protocols.create("center", crop=14, resize=16)
    logits = run(source, protocol)[0]["raw"].logits
    expected = loop(source, protocols.create("center", crop=14, resize=16, average="logits"))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pixels", [1, 14 * 14 * 3, 10**6])
def test_the_batch_size_changes_nothing(source, pixels):
    protocol = protocols.create("center", crop=14, resize=16)
    found, _ = run(source, protocol, pixels)
    np.testing.assert_allclose(
        found["raw"].logits, run(source, protocol, 3 * 14 * 14)[0]["raw"].logits, rtol=1e-5
    )


def test_several_weights_are_evaluated_on_the_same_views(source):
    protocol = protocols.create("ten_crop", crop=14, resize=16)
    found, _ = run(source, protocol, weights={"one": VARIABLES, "two": OTHER})
    assert np.abs(found["one"].logits - found["two"].logits).min() > 1e-4
    np.testing.assert_allclose(
        np.exp(found["two"].logits), loop(source, protocol, OTHER), rtol=1e-4
    )


@pytest.mark.parametrize("name", ["center", "multi_scale"])
@pytest.mark.parametrize("damage", [b"", "half"])
def test_a_bad_image_is_named_or_left_out_and_counted(source, name, damage):
    file = source.root / "3.png"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    protocol = protocols.create(name, **protocols.default_sizes(name, 14, None))
    if name == "center":
        protocol = protocols.create("center", crop=14, resize=16)
    with pytest.raises(UserError, match=r"3\.png \(.*on_error=skip"):
        run(source, protocol)
    found, bad = run(source, protocol, on_error="skip")
    assert list(bad) == [3] and "3.png" in bad[3]
    np.testing.assert_array_equal(found["raw"].index, [0, 1, 2, 4, 5, 6])
    np.testing.assert_array_equal(found["raw"].labels, source.labels[[0, 1, 2, 4, 5, 6]])


def test_a_source_that_cannot_be_read_at_a_place_is_skipped_as_in_training(source):
    class Torn(FolderSource):
        def encoded(self, i):
            if i == 2:
                raise UserError("the shard is damaged")
            return super().encoded(i)

    torn, protocol = Torn(**vars(source)), protocols.create("center", crop=14, resize=16)
    with pytest.raises(UserError, match=r"2\.png \(the shard is damaged.*on_error=skip"):
        run(torn, protocol)
    found, bad = run(torn, protocol, on_error="skip")
    assert list(bad) == [2] and found["raw"].index.tolist() == [0, 1, 3, 4, 5, 6]


def test_where_no_image_can_be_used_it_says_so(source):
    protocol = protocols.create("center", crop=95, resize=None)
    with pytest.raises(UserError, match="none of 7 images can be used: .*smaller than the crop"):
        run(source, protocol, on_error="skip")


def test_a_mean_of_every_pixel_is_that_of_the_channel_at_other_sizes(source):
    mean = np.random.default_rng(0).uniform(90, 130, (14, 14, 3)).astype(np.float32)
    preprocessing = Preprocessing(mean, np.float32([60]), None)
    channel = Preprocessing(mean.mean((0, 1)), np.float32([60]), None)
    protocol = protocols.create("center", crop=12, resize=16)
    found = [run(source, protocol, preprocessing=p)[0]["raw"] for p in (preprocessing, channel)]
    np.testing.assert_array_equal(found[0].logits, found[1].logits)
    own = protocols.create("center", crop=14, resize=16)
    found = [run(source, own, preprocessing=p)[0]["raw"] for p in (preprocessing, channel)]
    assert (found[0].logits != found[1].logits).any()


def test_whitened_images_of_another_size_are_refused(source):
    zca = Preprocessing(np.zeros((8, 8, 3), np.float32), np.ones(1), np.eye(192))
    protocol = protocols.create("center", crop=14, resize=16)
    with pytest.raises(UserError, match="ZCA whitening is for images of 8x8"):
        run(source, protocol, preprocessing=zca)


def test_devices_have_two_more_batches_while_one_is_waited_for():
    events = []

    def send(i):
        events.append(f"send {i}")
        return i

    for i in ahead((i for i in range(4)), send, 2):
        events.append(f"wait {i}")
    sends = ["send 0", "send 1", "send 2", "wait 0", "send 3", "wait 1"]
    assert events == [*sends, "wait 2", "wait 3"]
