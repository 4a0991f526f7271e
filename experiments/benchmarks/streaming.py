"""Is streaming fast enough? This pipeline, a torch DataLoader and the bare decoder, in one run.

Command    python experiments/benchmarks/streaming.py --data=FOLDER [--batch=64] [--rounds=7]
           FOLDER has class folders of JPEGs. Needs tests/requirements.txt (torch, torchvision).
Measures   images per second, and per CPU second, from files to 224 crops (area and aspect):
             stream   flipped and normalised float32 batches of this pipeline, the last two by the
                      device, in one jitted program; "uint8" without the device's part
             torch    the same by a DataLoader, all of it in the workers, as its users do
             decoder  reading, decoding, cropping and resizing in a pool of threads, and no more
           Every round runs each way once; ratios are of one round, and their median over the
           rounds. torch is at the best of its numbers of workers. The rates per second mean
           something on idle cores only, those per CPU second beside other work too.
"""

import argparse
import functools
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from cnn_jax.data import augment, decode, preprocess, sources, streaming, views

SIZE = 224


def make_view(decoder: str) -> views.View:
    """The view of fb.resnet.torch."""
    return views.create(
        kind="area_aspect",
        size=SIZE,
        area=(0.08, 1.0),
        aspect=(3 / 4, 4 / 3),
        filters=("bilinear",),
        decoder=decoder,
        dct_scaling=False,
    )


def stream_rate(source, batch_size: int, batches: int, threads: int, decoder: str, device: bool):
    """Of this pipeline; without `device` the batches are uint8, neither flipped nor scaled."""
    reading = streaming.Reading(threads=threads, workers=0, prefetch=4, process=0, processes=1)
    stream = streaming.TrainingStream(source, make_view(decoder), 0, batch_size, "raise", reading)
    finish = finisher()
    iterator = stream.from_step(0)
    for _ in range(max(4, threads)):  # those that are made ahead: no start in the time, and no end
        jax.block_until_ready(finish(next(iterator)))
    begin, cpu_begin, result = time.perf_counter(), time.process_time(), None
    for _ in range(batches):
        batch = next(iterator)
        result = finish(batch) if device else batch.images
    jax.block_until_ready(result)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu_begin
    iterator.close()
    return batches * batch_size / seconds, batches * batch_size / cpu


@functools.cache
def finisher():
    """What the device does to a batch before the network sees it."""
    flip = augment.create(crop_padding=0, crop_fill="zero", flip=True)
    normalise = preprocess.fit_stream((), mean="imagenet", deviation="imagenet", whitening="none")
    run = jax.jit(lambda key, images, index: flip(key, normalise(images), index))
    return lambda batch: run(jax.random.key(0), batch.images, batch.index)


def decoder_rate(source, images: int, threads: int, decoder: str):
    """Of reading, decoding, cropping and resizing, in threads that share nothing."""
    view, order = make_view(decoder), np.random.default_rng(0).integers(len(source), size=images)

    def work(indices):
        rng = np.random.default_rng(int(indices[0]))
        for i in indices:
            view(source.encoded(int(i)), rng)

    with ThreadPoolExecutor(threads) as pool:
        begin, cpu_begin = time.perf_counter(), time.process_time()
        list(pool.map(work, np.array_split(order, threads)))
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu_begin
    return images / seconds, images / cpu


def main() -> None:
    """Prints a line per way, the ratios, and the same as JSON."""
    import torch_loader

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--workers", default="1,2,3", help="numbers of workers for torch")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    source = sources.folder(arguments.data, None)["train"]
    batch, batches, threads = arguments.batch, arguments.batches, arguments.threads
    ways = {}
    for name in decode.DECODERS:
        run = functools.partial(stream_rate, source, batch, batches, threads, name)
        ways[f"stream, {name}"] = functools.partial(run, device=True)
        ways[f"stream, {name}, uint8"] = functools.partial(run, device=False)
        ways[f"decoder, {name}"] = functools.partial(
            decoder_rate, source, batch * batches, threads, name
        )
    for workers in map(int, arguments.workers.split(",")):
        ways[f"torch, {workers} workers"] = functools.partial(
            torch_loader.rate, source, batch, batches, SIZE, workers
        )
    rates = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            rates[name].append(way())
    report(rates)


def report(rates: dict[str, list[tuple[float, float]]]) -> None:
    """Medians and ratios of (images per second, images per CPU second), one pair a round."""
    medians = {name: np.median(pairs, 0).round().tolist() for name, pairs in rates.items()}
    for name, (wall, cpu) in medians.items():
        print(f"{name:>28}  {wall:6,.0f} images/s  {cpu:6,.0f} images per CPU second")
    ratios = {}
    for unit, k in [("second", 0), ("CPU second", 1)]:
        torch = max((n for n in rates if n.startswith("torch")), key=lambda n: medians[n][k])
        for name in decode.DECODERS:
            for ours, other in [
                (f"stream, {name}", torch),
                (f"stream, {name}, uint8", f"decoder, {name}"),
            ]:
                rounds = zip(rates[ours], rates[other], strict=True)
                ratio = statistics.median(a[k] / b[k] for a, b in rounds)
                ratios[f"{ours} / {other}, per {unit}"] = round(ratio, 2)
    for name, ratio in ratios.items():
        print(f"{ratio:6.2f}  {name}")
    print(json.dumps({"medians": medians, "ratios": ratios}))


if __name__ == "__main__":
    main()
