"""Is streaming fast enough? This pipeline, a torch DataLoader and the bare decoder, in one run.

Command    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python experiments/benchmarks/streaming.py \\
               --data=FOLDER [--view=area_aspect|scale_crop] [--batch=64] [--rounds=7]
           FOLDER has class folders of JPEGs. Needs tests/requirements.txt (torch, torchvision).
           The variable gives large arrays pages of 2 MB, ours and torch's
Measures   images per second, and per CPU second, from files to 224 crops, of random area and
           aspect (fb.resnet.torch), or scale (He et al., 2016, 3.4):
             stream   flipped and normalized float32 batches of this pipeline, the last two by the
                      device, in one jitted program; "uint8" without the device's part
             torch    the same by a DataLoader, all of it in the workers, as its users do
             decoder  decoding, cropping and resizing in as many threads, and no more
           All ways stand ready in one process; every round runs each once, while the others rest.
           Ratios are of one round, and their median over the rounds; this pipeline is at the best
           of threads and worker processes, torch at the best of its numbers of workers. The rates
           per second mean something on idle cores only, those per CPU second beside other work
           too. Linux only.
"""

import argparse
import collections
import functools
import json
import os
import signal
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from cnn_jax.data import augment, decode, preprocess
from cnn_jax.data.stream import reader, sources, views

SIZE = 224


VIEWS = {
    "area_aspect": {"area": (0.08, 1.0), "aspect": (3 / 4, 4 / 3)},
    "scale_crop": {"shorter_side": (256, 480), "frame": "full"},
}


def make_view(kind: str, decoder: str) -> views.View:
    """The view of fb.resnet.torch, or of ResNet's paper."""
    common = {"size": SIZE, "filters": ("bilinear",), "decoder": decoder, "dct_scaling": False}
    return views.create(kind=kind, **VIEWS[kind], **common)


def start_stream(source, view: views.View, batch_size: int, workers: int, device: bool):
    """This pipeline, `next_batch()`; without `device` uint8, neither flipped nor normalized."""
    reading = reader.Reading(threads=0, workers=workers, prefetch=2, process=0, processes=1)
    images = reader.Images(source, view, (SIZE, SIZE, 3), "raise")
    stream = reader.TrainingStream(images, 0, batch_size, reading)
    batches, finish = stream.from_step(0), finisher()
    if device:
        return lambda: jax.block_until_ready(finish(next(batches)))
    return batches.__next__


@functools.cache
def finisher():
    """What the device does to a batch before the network sees it."""
    flip = augment.create(crop_padding=0, crop_fill="zero", flip=True)
    normalize = preprocess.fit_stream((), 3, mean="imagenet", std="imagenet", whitening="none")
    run = jax.jit(lambda key, images, index: flip(key, normalize(images), index))
    return lambda batch: run(jax.random.key(0), batch.images, batch.index)


def start_decoder(source, view: views.View, batch_size: int, threads: int):
    """Threads that decode a batch each and keep nothing, `next_batch()`."""
    encoded = [source.encoded(i) for i in range(len(source))]
    pool, rng = ThreadPoolExecutor(threads), np.random.default_rng(0)
    ahead = collections.deque()

    def work(indices):
        for i in indices:
            view(encoded[i], np.random.default_rng(int(i)))

    def next_batch():
        while len(ahead) < 2 * threads:
            ahead.append(pool.submit(work, rng.integers(len(source), size=batch_size)))
        ahead.popleft().result()

    return next_batch


def measure(next_batch, ahead: int, batches: int, batch_size: int) -> tuple[float, float]:
    """Images per second, and per CPU second, of a pipeline at work: no start and no end in it."""
    for _ in range(ahead):
        next_batch()
    begin, cpu_begin = time.perf_counter(), cpu_seconds()
    for _ in range(batches):
        next_batch()
    seconds, cpu = time.perf_counter() - begin, cpu_seconds() - cpu_begin
    wait_for_rest()
    return batches * batch_size / seconds, batches * batch_size / cpu


def wait_for_rest() -> None:
    """Returns once the pipeline has made what it makes ahead, and rests."""
    used, before = cpu_seconds(), 0.0
    while used - before > 0.03:
        time.sleep(0.3)
        used, before = cpu_seconds(), used


def cpu_seconds() -> float:
    """CPU time of this process and those below it so far."""
    ticks = 0
    for process in descendants(os.getpid()):
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    children = [
        int(child)
        for file in Path(f"/proc/{process}/task").glob("*/children")
        for child in file.read_text().split()
    ]
    return children + [below for child in children for below in descendants(child)]


def main() -> None:
    """Prints a line per way, the ratios, and the same as JSON."""
    import torch_loader

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--view", choices=VIEWS, default="area_aspect")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--workers", default="1,2,3", help="numbers of workers for torch")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    source = sources.folder(arguments.data, None)["train"]
    batch, cores = arguments.batch, len(os.sched_getaffinity(0))
    ways = {}  # name -> (next_batch, batches that it makes ahead)
    for name in decode.DECODERS:
        view = make_view(arguments.view, name)
        for place, workers, ahead in [("threads", 0, 5), ("workers", cores, 12 * cores)]:
            for device, what in [(True, ""), (False, ", uint8")]:
                stream = start_stream(source, view, batch, workers, device)
                ways[f"stream, {name}, {place}{what}"] = stream, ahead
        ways[f"decoder, {name}"] = start_decoder(source, view, batch, cores), 2 * cores
    for count in map(int, arguments.workers.split(",")):
        loader = torch_loader.start(source, batch, arguments.view, SIZE, count)
        ways[f"torch, {count} workers"] = loader, 2 * count
    rates = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, way in ways.items():
            rate = measure(*way, arguments.batches, batch)
            rates[name] += [rate] if number else []  # the first round warms up
    report(rates)
    sys.stdout.flush()
    for process in descendants(os.getpid()):
        os.kill(process, signal.SIGKILL)
    os._exit(0)  # the pipelines have no end, and nothing to save


def report(rates: dict[str, list[tuple[float, float]]]) -> None:
    """Medians and ratios of (images per second, images per CPU second), one pair a round."""
    medians = {name: np.median(pairs, 0).round().tolist() for name, pairs in rates.items()}
    for name, (wall, cpu) in medians.items():
        print(f"{name:>34}  {wall:6,.0f} images/s  {cpu:6,.0f} images per CPU second")
    ratios = {}
    for k, unit in enumerate(["second", "CPU second"]):

        def best(names, k=k):
            return max((medians[name][k], name) for name in names)[1]

        torch = best(name for name in rates if name.startswith("torch"))
        for decoder in decode.DECODERS:
            ways = [name for name in rates if name.startswith(f"stream, {decoder}")]
            whole = best(name for name in ways if not name.endswith("uint8"))
            bare = best(name for name in ways if name.endswith("uint8"))
            for ours, other in [(whole, torch), (bare, f"decoder, {decoder}")]:
                rounds = zip(rates[ours], rates[other], strict=True)
                ratio = statistics.median(a[k] / b[k] for a, b in rounds)
                ratios[f"{ours} / {other}, per {unit}"] = round(ratio, 2)
    for name, ratio in ratios.items():
        print(f"{ratio:6.2f}  {name}")
    print(json.dumps({"medians": medians, "ratios": ratios}))


if __name__ == "__main__":
    main()
