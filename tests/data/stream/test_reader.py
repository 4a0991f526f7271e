"""Streams name the same examples as the in-memory path, whoever reads them and wherever from."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
from absl import flags
from PIL import Image

from cnn_jax.data.dataset import batch_indices
from cnn_jax.data.stream import reader, sources, views
from cnn_jax.errors import UserError

READING = reader.Reading(threads=2, workers=0, prefetch=2, process=0, processes=1)
SIZE, BATCH = 23, 6  # three steps an epoch, and five examples left out
VIEW = views.create(
    kind="area_aspect", size=8, area=(0.2, 1.0), aspect=(0.75, 4 / 3),
    filters=("bilinear",), decoder="pillow", dct_scaling=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """23 images of noise in three classes."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(SIZE):
        (root / f"class{i % 3}").mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"class{i % 3}" / f"{i:02}.png")
    return sources.folder(root, None)["train"]


@pytest.fixture
def damaged(source):
    """The same, of which examples 4, 5 and the last are no images."""

    class Damaged(sources.FolderSource):
        def encoded(self, i):
            return b"no image" if i in (4, 5, SIZE - 1) else super().encoded(i)

    return Damaged(**vars(source))


def stream(source, on_error="raise", **reading):
    reading = dataclasses.replace(READING, **reading)
    return reader.TrainingStream(seen(source, on_error), 7, BATCH, reading)


def seen(source, on_error="raise", view=VIEW, shape=(8, 8, 3)):
    return reader.Images(source, view, shape, on_error)


def take(batches, count=None):
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def same(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for batch, other in zip(ours, theirs, strict=True):
        for a, b in zip(batch, other, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def test_a_batch_holds_the_examples_of_the_in_memory_path(source):
    batches = take(stream(source).from_step(0), 8)
    index = np.stack([batch.index for batch in batches])
    np.testing.assert_array_equal(index, batch_indices(7, 0, 8, BATCH, SIZE))
    for batch in batches:
        assert batch.images.shape == (BATCH, 8, 8, 3) and batch.images.dtype == np.uint8
        np.testing.assert_array_equal(batch.labels, source.labels[batch.index])
        assert (batch.weights == 1).all()


def test_a_stream_resumes_at_any_step_across_epochs(source):
    whole = take(stream(source).from_step(0), 9)
    for first in (2, 3, 7):
        same(take(stream(source).from_step(first), 9 - first), whole[first:])


def test_resuming_reads_nothing_that_came_before(source):
    assert take(stream(source).from_step(10**9), 1)[0].images.shape[0] == BATCH


@pytest.mark.parametrize("threads,prefetch", [(1, 1), (4, 1), (3, 8)])
def test_threads_and_prefetching_change_nothing(source, threads, prefetch):
    other = stream(source, threads=threads, prefetch=prefetch)
    same(take(other.from_step(1), 6), take(stream(source).from_step(1), 6))


def test_worker_processes_change_nothing_and_tell_of_bad_images(source):
    was_parsed = flags.FLAGS.is_parsed()
    broken = dataclasses.replace(source, files=("nothing.png", *source.files[1:]))
    ours = stream(broken, "skip", workers=2).from_step(2)
    theirs = stream(broken, "skip").from_step(2)
    same(take(ours, 7), take(theirs, 7))
    assert ours.skipped == theirs.skipped and len(ours.skipped) == 1
    assert flags.FLAGS.is_parsed() == was_parsed  # absl's flags are the program's


def test_fake_data_streams_without_decoding():
    fake = sources.fake(examples=9, classes=3, size=4, random=True)
    images = seen(fake, view=functools.partial(views.raw, size=4), shape=(4, 4, 3))
    batch = take(reader.TrainingStream(images, 0, 3, READING).from_step(0), 1)[0]
    for i, image in zip(batch.index, batch.images, strict=True):
        assert image.tobytes() == fake.encoded(int(i))


def test_two_processes_see_together_what_one_sees(source):
    whole = take(stream(source).from_step(0), 6)
    halves = [take(stream(source, process=p, processes=2).from_step(0), 6) for p in (0, 1)]
    assert all(len(batch.index) == BATCH // 2 for batch in halves[0])
    joined = [
        reader.Batch(*(np.concatenate(pair) for pair in zip(*both, strict=True)))
        for both in zip(*halves, strict=True)
    ]
    same(joined, whole)


@pytest.mark.parametrize("processes", [1, 2])
def test_every_example_comes_once_an_epoch(source, processes):
    even = dataclasses.replace(source, files=source.files[:18], labels=source.labels[:18])
    streams = [stream(even, process=p, processes=processes) for p in range(processes)]
    parts = [take(one.from_step(3), 3) for one in streams]
    seen = np.concatenate([batch.index for part in parts for batch in part])
    np.testing.assert_array_equal(np.sort(seen), np.arange(18))


def test_another_epoch_has_another_view_of_an_example(source):
    views_of = {}
    for batch in take(stream(source).from_step(0), 9):
        for i, image in zip(batch.index, batch.images, strict=True):
            views_of.setdefault(int(i), []).append(image)
    twice = [seen for seen in views_of.values() if len(seen) > 1]
    assert len(twice) > 10
    assert np.mean([(seen[0] != seen[1]).any() for seen in twice]) > 0.9


def test_a_bad_image_is_named_by_an_error(damaged):
    with pytest.raises(UserError, match="cannot decode the image .*; replace or remove it"):
        take(stream(damaged).from_step(0), 3)


def test_a_missing_file_is_named_by_an_error(source):
    gone = dataclasses.replace(source, files=("nothing.png", *source.files[1:]))
    with pytest.raises(UserError, match="cannot decode the image .*nothing.png .*No such file"):
        take(stream(gone).from_step(0), 9)


def test_a_skipped_image_is_replaced_by_the_next_good_one_and_counted(source, damaged):
    batches = stream(damaged, "skip").from_step(0)
    good, found = take(stream(source).from_step(0), 9), take(batches, 9)
    stand_in = {4: 6, 5: 6, SIZE - 1: 0}
    for batch, other in zip(good, found, strict=True):
        expected = [stand_in.get(i, i) for i in batch.index.tolist()]
        np.testing.assert_array_equal(other.index, expected)
        np.testing.assert_array_equal(other.labels, source.labels[expected])
        kept = batch.index == other.index
        np.testing.assert_array_equal(batch.images[kept], other.images[kept])
        np.testing.assert_array_equal(other.bad, ~kept)
    assert sorted(batches.skipped) == [4, 5, SIZE - 1]
    assert str(damaged.root / damaged.files[4]) in batches.skipped[4]


def test_what_lies_ahead_is_not_counted_yet(damaged):
    batches = stream(damaged, "skip", prefetch=8).from_step(0)
    assert batches.skipped == {}
    first = next(batches)
    wanted = batch_indices(7, 0, 1, BATCH, SIZE)[0]
    assert len(first.index) == BATCH and set(batches.skipped) - {5} <= set(wanted.tolist())
    batches.close()


def test_a_split_without_one_good_image_is_an_error(source):
    class Hopeless(sources.FolderSource):
        def encoded(self, i):
            return b""

    with pytest.raises(UserError, match="none of 23 images can be decoded"):
        take(stream(Hopeless(**vars(source)), "skip").from_step(0), 1)


def evaluate(source, on_error="raise", **reading):
    reading = dataclasses.replace(READING, **reading)
    return reader.evaluation(seen(source, on_error), BATCH, reading)


@pytest.mark.parametrize("processes", [1, 2])
def test_evaluation_counts_every_example_once(source, processes):
    parts = [take(evaluate(source, process=p, processes=processes)) for p in range(processes)]
    seen = [b.index[b.weights > 0] for part in parts for b in part]
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(SIZE))
    assert {b.images.shape for part in parts for b in part} == {(BATCH // processes, 8, 8, 3)}


def test_in_evaluation_a_skipped_image_has_no_weight(damaged):
    batches = evaluate(damaged, "skip")
    taken = take(batches)
    index, weights, bad = (np.concatenate([b[k] for b in taken]) for k in (2, 3, 4))
    assert set(index[weights == 0]) == {4, 5, SIZE - 1} == set(batches.skipped)
    assert weights.sum() == SIZE - 3 and sorted(index[bad]) == [4, 5, SIZE - 1]


def test_an_evaluation_batch_of_bad_images_alone_is_skipped_too(source):
    class Hopeless(sources.FolderSource):
        def encoded(self, i):
            return b"" if i >= 18 else super().encoded(i)

    last = take(evaluate(Hopeless(**vars(source)), "skip"))[-1]
    assert last.weights.sum() == 0 and last.bad.sum() == 5


def test_an_image_of_another_size_is_an_error_also_where_bad_ones_are_skipped(source):
    images = seen(source, "skip", shape=(9, 9, 3))
    with pytest.raises(UserError, match="8x8 pixels and the first image 9x9.*data.image_size"):
        take(reader.evaluation(images, BATCH, READING))


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda s: stream(s, "ignore"), "unknown data.on_error 'ignore'"),
        (lambda s: stream(s, threads=-1), "data.threads is -1"),
        (lambda s: stream(s, prefetch=0), "data.prefetch is 0"),
        (lambda s: stream(s, processes=4), "a batch of 6 does not divide among 4 processes"),
        (
            lambda s: reader.TrainingStream(seen(s), 0, 24, READING),
            "a batch of 24 of a training split of 23 images",
        ),
    ],
)
def test_a_stream_that_cannot_be_is_refused(source, make, message):
    with pytest.raises(UserError, match=message):
        make(source)


@pytest.mark.parametrize(
    "cores,threads,workers,expected",
    [(4, 0, 0, 5), (4, 3, 0, 3), (4, 0, 2, 2), (4, 0, 3, 1), (2, 0, 8, 1), (4, 7, 2, 7)],
)
def test_one_thread_more_than_cores_reads_or_the_share_of_each_worker(
    cores, threads, workers, expected, monkeypatch
):
    import grain

    class Asked(Exception):
        """Ends the reading once its options are known."""

    def options(num_threads, prefetch_buffer_size):
        raise Asked(num_threads, prefetch_buffer_size)

    monkeypatch.setattr(grain, "ReadOptions", options)
    monkeypatch.setattr(reader.os, "sched_getaffinity", lambda process: range(cores))
    reading = dataclasses.replace(READING, threads=threads, workers=workers, prefetch=3)
    with pytest.raises(Asked) as caught:
        reader.read_ahead(None, range(2), reading)
    assert caught.value.args == (expected, expected + 3)


@pytest.mark.parametrize("field,least", [("threads", 0), ("workers", 0), ("prefetch", 1)])
def test_a_number_of_a_reading_has_a_least(field, least):
    dataclasses.replace(READING, **{field: least})
    with pytest.raises(UserError, match=f"data.{field} is {least - 1}: it must be {least} or more"):
        dataclasses.replace(READING, **{field: least - 1})
