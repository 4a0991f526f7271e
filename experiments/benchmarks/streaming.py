"""Compares our streaming with a torch DataLoader and with bare decoding, in one run.

Command    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python experiments/benchmarks/streaming.py \\
               --data=FOLDER [--view=area_aspect|scale_crop] [--batch=64] [--rounds=7]
           FOLDER has class folders of JPEGs. Needs tests/requirements.txt (torch, torchvision).
           The variable gives all large arrays, ours and torch's, pages of 2 MB
Measures   images per second, and per CPU second, from files to crops of 224, of random area and
           aspect (fb.resnet.torch) or of random scale (He et al., 2016, 3.4):
             stream   our pipeline, up to float32 batches that the device flips and normalizes in
                      one jitted program; "uint8" omits the device's part
             torch    the same in a DataLoader, whose workers do all of it, as is usual
             decoder  only decodes, crops and resizes, in as many threads
           All ways are ready in one process; a round runs each once, while the others rest. Ratios
           are computed in each round, and their median is printed; they compare the better of our
           threads and worker processes with torch's best number of workers. Rates per second need
           idle cores; rates per CPU second hold beside other work too. Linux only.
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
    """`next_batch()` of our pipeline; without `device` it is uint8, not flipped, not normalized."""
    reading = reader.Reading(threads=0, workers=workers, prefetch=2, process=0, processes=1)
    images = reader.Images(source, view, (SIZE, SIZE, 3), "raise")
    stream = reader.TrainingStream(images, 0, batch_size, reading)
    batches, finish = stream.from_step(0), finisher()
    if device:
        return lambda: jax.block_until_ready(finish(next(batches)))
    return batches.__next__


@functools.cache
def finisher():
    """The program in which the device flips and normalizes a batch."""
    flip = augment.crop_and_flip(crop_padding=0, crop_fill="zero", flip=True)
    normalize = preprocess.fit_stream((), 3, mean="imagenet", std="imagenet", whitening="none")
    run = jax.jit(lambda key, images, index: flip(key, normalize(images), index))
    return lambda batch: run(jax.random.key(0), batch.images, batch.index)


def start_decoder(source, view: views.View, batch_size: int, threads: int):
    """`next_batch()` of threads that decode a batch each and keep nothing."""
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
    """Images per second and per CPU second of a running pipeline, without its start and end."""
    for _ in range(ahead):
        next_batch()
    begin, cpu_begin = time.perf_counter(), cpu_seconds()
    for _ in range(batches):
        next_batch()
    seconds, cpu = time.perf_counter() - begin, cpu_seconds() - cpu_begin
    wait_for_rest()
    return batches * batch_size / seconds, batches * batch_size / cpu


def wait_for_rest() -> None:
    """Returns when the pipeline has filled its buffers and rests."""
    used, before = cpu_seconds(), 0.0
    while used - before > 0.03:
        time.sleep(0.3)
        used, before = cpu_seconds(), used


def cpu_seconds() -> float:
    """CPU time that this process and its descendants have used."""
    ticks = 0
    for process in descendants(os.getpid()):
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def descendants(process: int) -> list[int]:
    """The processes that a process and its descendants have started."""
    children = [
        int(child)
        for file in Path(f"/proc/{process}/task").glob("*/children")
        for child in file.read_text().split()
    ]
    return children + [below for child in children for below in descendants(child)]


def main() -> None:
    """Prints a line for each way, the ratios, and all of it as JSON."""
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
    ways = {}  # name -> (next_batch, number of batches that it buffers)
    for name in decode.DECODERS:
        view = make_view(arguments.view, name)
        for kind, workers, ahead in [("threads", 0, 5), ("workers", cores, 12 * cores)]:
            for device, what in [(True, ""), (False, ", uint8")]:
                stream = start_stream(source, view, batch, workers, device)
                ways[f"stream, {name}, {kind}{what}"] = stream, ahead
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
    os._exit(0)  # the pipelines never end by themselves, and have nothing to save


def report(rates: dict[str, list[tuple[float, float]]]) -> None:
    """Prints medians and ratios of (images per second, images per CPU second), a pair a round."""
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
            full = best(name for name in ways if not name.endswith("uint8"))
            bare = best(name for name in ways if name.endswith("uint8"))
            for ours, other in [(full, torch), (bare, f"decoder, {decoder}")]:
                rounds = zip(rates[ours], rates[other], strict=True)
                ratio = statistics.median(a[k] / b[k] for a, b in rounds)
                ratios[f"{ours} / {other}, per {unit}"] = round(ratio, 2)
    for name, ratio in ratios.items():
        print(f"{ratio:6.2f}  {name}")
    print(json.dumps({"medians": medians, "ratios": ratios}))


if __name__ == "__main__":
    main()
