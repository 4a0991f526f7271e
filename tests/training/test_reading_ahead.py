"""What reads ahead, without files or networks: what is made when, for whom, and what it leaves."""

import types

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from ml_collections import ConfigDict

from cnn_jax.data.stream.reader import Batch
from cnn_jax.errors import UserError
from cnn_jax.training import sharding, streams
from cnn_jax.training.plan import Plan

# 24 steps in programs of 2, of batches of 4; an epoch has 8 of them.
PLAN = Plan(32, 4, 1, 8, 24, 8, 2, 8, ("test",), 6)
MESH = sharding.data_mesh(jax.devices()[:1])


def group(index=0, count=1):
    """A process, whose arrays stay on the host, each beside its sharding."""
    put = lambda tree, place: types.SimpleNamespace(tree=tree, spec=place.spec)  # noqa: E731
    return types.SimpleNamespace(index=index, count=count, put_global=put, put_local=put)


class AtOnce:
    """A pool of threads that runs everything where it is handed in."""

    def __init__(self, threads):
        self.threads, self.ended = threads, None

    def submit(self, function, *arguments):
        result = function(*arguments)
        return types.SimpleNamespace(done=lambda: True, result=lambda: result)

    def shutdown(self, **how):
        self.ended = how


class Numbered:
    """Stands in for `TrainingStream`: each image is the number of its step, plus 100 x seed."""

    def __init__(self, images, seed, batch_size, reading):
        self.made_of = (images, seed, batch_size, reading)
        self.seed, self.started = seed, []

    def from_step(self, step):
        self.started.append(Steps(step, self.seed))
        return self.started[-1]


class Steps:
    def __init__(self, step, seed):
        self.step, self.seed, self.is_closed, self.given, self.skipped = step, seed, False, [], {}

    def __next__(self):
        self.given.append(np.full(4, self.step + 100 * self.seed))
        self.skipped[self.step] = f"image {self.step}"
        self.step += 1
        return {"images": self.given[-1]}

    def close(self):
        self.is_closed = True


def inputs(monkeypatch, numbers=(0,), **of_group):
    monkeypatch.setattr(streams, "TrainingStream", Numbered)
    monkeypatch.setattr(streams, "ThreadPoolExecutor", AtOnce)
    dataset = types.SimpleNamespace(
        reading=lambda process, processes: f"process {process} of {processes}",
        images=lambda split, field, view: (split, field, view["kind"]),
    )
    seeds = types.SimpleNamespace(
        numbers=numbers,
        stack_examples=lambda trees: [tree["images"] for tree in trees],
        by_example=types.SimpleNamespace(spec="by example"),
    )
    view = ConfigDict({"train": {"kind": "scale_crop"}, "evaluation": {"kind": "center"}})
    return streams.StreamedInputs(
        dataset, "preprocessing", view, PLAN, seeds, MESH, group(**of_group)
    )


def taken(found, first, count):
    return [images[:, 0].tolist() for images in found.take(first, count, None)[1].tree]


def test_each_seed_has_a_stream_of_the_slice_of_this_process(monkeypatch):
    found = inputs(monkeypatch, (3, 5))
    wanted = [(("train", "view.train", "scale_crop"), s, 4, "process 0 of 1") for s in (3, 5)]
    assert [stream.made_of for stream in found._streams] == wanted
    assert inputs(monkeypatch, index=1, count=2)._reading == "process 1 of 2"
    with pytest.raises(UserError, match="several seeds of a stream train in one process"):
        inputs(monkeypatch, (3, 5), count=2)


def test_programs_in_their_order_read_on_and_others_begin_anew(monkeypatch):
    found = inputs(monkeypatch, (0, 1))
    assert taken(found, 0, 2) == [[0, 1], [100, 101]]
    assert taken(found, 2, 2) == [[2, 3], [102, 103]]
    assert [len(stream.started) for stream in found._streams] == [1, 1]
    assert taken(found, 10, 2) == [[10, 11], [110, 111]]
    assert taken(found, 12, 1) == [[12], [112]]  # 2 steps were made ahead, and read again
    before = [steps for stream in found._streams for steps in stream.started[:-1]]
    assert before and all(steps.is_closed for steps in before)
    assert not any(stream.started[-1].is_closed for stream in found._streams)


def test_the_next_program_is_made_ahead_and_none_behind_the_last(monkeypatch):
    found = inputs(monkeypatch)
    data, examples = found.take(2, 2, None)
    assert (data.tree.preprocessing, data.spec) == ("preprocessing", PartitionSpec())
    assert examples.spec == "by example"
    (steps,) = found._streams[0].started
    assert found._asked == (4, 2) and steps.step == 6
    assert taken(found, 22, 2) == [[22, 23]] and found._asked is None


def test_a_batch_alone_is_not_copied(monkeypatch):
    found = inputs(monkeypatch)
    ((images,), given) = (
        found.take(0, 1, None)[1].tree,
        found._streams[0].started[0].given,
    )
    assert images.shape == (1, 4) and np.shares_memory(images, given[0])


def test_bad_images_are_told_with_the_program_that_met_them_once(monkeypatch):
    found = inputs(monkeypatch)
    found.take(20, 2, None)
    told = [f"skipped: image {step}" for step in (20, 21, 22, 23)]  # two of them ahead
    assert found.report().warnings == told and found.report().warnings == []


def test_the_devices_wait_from_their_last_step_to_the_batches(monkeypatch):
    found, events = inputs(monkeypatch), []
    clock = iter([10.0, 10.5, 20.0, 20.25])
    now = lambda: events.append("time") or next(clock)  # noqa: E731
    monkeypatch.setattr(streams, "time", types.SimpleNamespace(perf_counter=now))
    monkeypatch.setattr(jax, "block_until_ready", lambda step: events.append(f"step {step}"))
    state = types.SimpleNamespace(step=7)
    for first in (0, 2):
        found._asked = (first, 2)
        found._ahead = types.SimpleNamespace(
            done=lambda: False,
            exception=lambda: events.append("made"),
            result=lambda: "examples",
        )
        assert found.take(first, 2, state)[1] == "examples"
    assert events == 2 * ["step 7", "time", "made", "time"]
    found.take(4, 2, state)  # was made in time
    assert found.report().data_wait_seconds == 0.75
    assert found.report().data_wait_seconds == 0.0 and len(events) == 8


def test_one_thread_reads_ahead_and_ends_with_what_is_open(monkeypatch):
    found = inputs(monkeypatch)
    found.take(0, 2, None)
    found.close()
    assert found._thread.threads == 1
    assert found._thread.ended == {"wait": True, "cancel_futures": True}
    assert found._streams[0].started[0].is_closed


def test_evaluations_see_their_split_by_the_view_of_evaluations(monkeypatch):
    found = inputs(monkeypatch)
    monkeypatch.setattr(streams, "make_evaluate", lambda *arguments: arguments)
    *what, note = found.make_evaluate("test", "model", "jit")
    images = ("test", "view.evaluation", "center")
    reading = "process 0 of 1"
    assert what == ["model", images, found._data, 6, reading, "jit", MESH, found._group]
    note({3: "image 3"})
    assert found.report().warnings == ["skipped: image 3"]


class Listed(list):
    """Batches that remember whether they were closed."""

    skipped, is_closed = {2: "image 2"}, False

    def close(self):
        self.is_closed = True


def test_an_evaluation_adds_up_its_batches_two_at_a_time(monkeypatch):
    def batch(labels, weights, bad):
        index = np.arange(len(labels))
        return Batch(None, np.array(labels), index, np.float32(weights), np.array(bad))

    batches = Listed(
        [
            batch([1, 2], [1, 1], [False, False]),
            batch([3, 4], [0, 1], [True, False]),
            batch([5, 6], [1, 1], [False, False]),
            batch([7, 0], [1, 0], [False, False]),
        ]
    )

    def eval_step(variables, batch, weights):
        total = (batch.labels * weights).sum() * variables
        return {"loss": total, "top1_error": 0.0, "top5_error": 0.0, "count": weights.sum()}

    def jit(function, mesh, **how):
        asked.append((mesh, how["out_shardings"].spec))
        return function

    def put(tree, place):
        places.append(place.spec)
        return tree

    asked, places, waited, noted = [], [], [], []
    monkeypatch.setattr(streams.steps, "make_eval_step", lambda model: eval_step)
    monkeypatch.setattr(
        streams.reader, "evaluation", lambda *arguments: asked.append(arguments) or batches
    )
    monkeypatch.setattr(jax, "block_until_ready", lambda sums: waited.append(float(sums["count"])))
    constrained = jax.lax.with_sharding_constraint
    monkeypatch.setattr(
        jax.lax, "with_sharding_constraint",
        lambda tree, place: places.append(("variables", place.spec)) or constrained(tree, place),
    )  # fmt: skip
    images = types.SimpleNamespace(source=range(7))
    data = types.SimpleNamespace(batch=lambda stored: stored)
    process = types.SimpleNamespace(put_global=put, put_local=put)
    evaluate = streams.make_evaluate(
        "model", images, data, 2, "reading", jit, MESH, process, noted.append
    )
    # 1 + 2 + 4 + 5 + 6 + 7 of the labels, twice, over the six images that count.
    errors = {"top1_error": 0.0, "top5_error": 0.0}
    assert evaluate(np.float32(2)) == {"loss": 50 / 6, **errors, "skipped": 1}
    assert asked == [(MESH, PartitionSpec()), (images, 2, "reading")]
    assert noted == [batches.skipped] and batches.is_closed
    assert waited == [2.0, 3.0]  # before the third and the fourth batch: the sums two before
    split, whole = PartitionSpec("data"), PartitionSpec()
    assert places == [whole, *4 * [split, ("variables", whole)]]


def test_a_batch_of_a_stream_is_jittered_and_preprocessed_and_bad_images_are_counted():
    stored = Batch(np.arange(6.0), np.array([2, 1]), np.array([7, 5]), None, np.array([1, 1, 0]))
    data = streams.StreamedData(lambda images: images + 0.5)
    assert data.batch(stored).images.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    batch = data.batch(stored, lambda images, index: images * index[0])
    assert batch.images.tolist() == [0.5, 7.5, 14.5, 21.5, 28.5, 35.5]
    assert (batch.labels.tolist(), batch.index.tolist()) == ([2, 1], [7, 5])
    assert data.counts(stored) == {"skipped": 2}
