"""Speed, compile time and memory of a config here, beside the same network in PyTorch."""

import argparse
import json
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cnn_jax import errors
from cnn_jax.commands.arguments import add_config, load_config, positive
from cnn_jax.progress import PlainConsole, ProgressBar, print_line

AGAINST = ("torch-eager", "torch-compile", "torch-bf16", "torch-compile-bf16")
WAYS = {
    "step": "training step, one by one, batch already on the device",
    "loop": "full loop: {steps} steps as one program, batches fetched and augmented",
    "data": "data path alone: order, fetch, preprocessing, augmentation",
    "forward": "forward, one by one, batch already on the device",
    "torch-eager": "PyTorch, channels last, float32",
    "torch-compile": "PyTorch, torch.compile, channels last, float32",
    "torch-bf16": "PyTorch, channels last, bf16 autocast",
    "torch-compile-bf16": "PyTorch, torch.compile, channels last, bf16 autocast",
}


def add_arguments(add) -> None:
    """What is measured, for how long, against what."""
    add_config(add)
    add("--batch", type=positive, metavar="N", help="default training.batch_size")
    add("--steps", type=positive, metavar="K", help="a program; default steps_per_dispatch")
    add("--rounds", type=positive, default=5, metavar="N", help="each way once in each; default 5")
    add("--seconds", type=float, default=0.5, help="that a way runs in a round at least")
    add("--inference", action="store_true", help="the forward pass instead of training")
    add("--fake", action="store_true", help="random images of the data's size: no data is read")
    add("--image", metavar="HxWxC", help="size of the random images")
    add("--classes", type=positive, metavar="N", help="classes of the random images")
    choices = ", ".join(AGAINST)
    add("--against", metavar="LIST", help=f"torch, or some of {choices}, with commas between")
    add("--json", action="store_true", help="prints JSON, for programs")
    add("--out", type=Path, metavar="FILE", help="writes the JSON to a file, too")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Measures the config, and prints a table or JSON."""
    import jax

    config = load_config(arguments)
    if arguments.batch:
        config.training.batch_size = arguments.batch
    kinds = chosen(arguments.against, config.model.dtype)
    if kinds:  # JAX must leave PyTorch memory on the same GPU
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax.config.update("jax_enable_compilation_cache", False)  # compilation is measured
    from cnn_jax.bench import benchmark
    from cnn_jax.training.plan import steps_on

    steps = arguments.steps or config.training.steps_per_dispatch
    options = benchmark.Options(
        count=steps_on(steps, jax.default_backend(), batch_bytes=0),
        rounds=arguments.rounds,
        inference=arguments.inference,
        is_fake=bool(arguments.fake or arguments.image or arguments.classes),
        image=arguments.image,
        classes=arguments.classes,
        kinds=kinds,
        least_seconds=arguments.seconds,
    )
    # Standard output is the JSON's alone.
    with ProgressBar(PlainConsole(stderr=True) if arguments.json else console) as bar:
        result = benchmark.run(config, options, lambda *counts: bar.show("measurement", *counts))
    result = {"config": arguments.config, "overrides": arguments.overrides, **result}
    text = json.dumps(result, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    if arguments.json:
        print(text)
    else:
        show(result, console)


def chosen(against: str | None, dtype: str) -> tuple[str, ...]:
    """The names in `--against`.

    "torch" stands for all of `AGAINST`, but the compiled bf16 one for networks in float32.
    """
    if not against:
        return ()
    everything = AGAINST if dtype == "bfloat16" else AGAINST[:3]
    names = [n for name in against.split(",") for n in (everything if name == "torch" else [name])]
    for name in names:
        if name not in AGAINST:
            raise errors.unknown("--against", name, ("torch", *AGAINST))
    return tuple(dict.fromkeys(names))


def show(result: dict, console: Console) -> None:
    """Prints the table of speeds; then what was skipped, compile times, memory and arithmetic."""
    network, medians = result["network"], result["images_per_second"]
    shape, device = "x".join(map(str, result["image_shape"])), result["environment"]["devices"]
    print_line(
        console,
        f"{result['config']}: {network['name']}, {network['parameters']:,} parameters, "
        f"{network['multiply_adds_per_image']:,} multiply-adds an image; {result['mode']}, "
        f"batch {result['batch_size']}, {shape}, {network['dtype']}, {len(device)} x {device[0]}",
    )
    first, theirs = next(iter(medians)), [name for name in medians if name.startswith("torch")]
    relative = [first, *theirs[:1]]
    table = Table("what", "", "images/s", "lowest", "highest", *(f"x {name}" for name in relative))
    for name, rate in medians.items():
        rounds = result["rounds"][name]
        rates = (f"{number:,.1f}" for number in (rate, min(rounds), max(rounds)))
        relative_rates = (f"{rate / medians[other]:.2f}" for other in relative)
        table.add_row(name, WAYS[name].format(steps=result["steps"]), *rates, *relative_rates)
    console.print(table)
    for name, reason in result["skipped"].items():
        print_line(console, f"{name}: skipped, {reason}")
    seconds = (f"{number:.2f} s {stage}" for stage, number in result["compile_seconds"].items())
    print_line(console, f"compiled in {', '.join(seconds)}")
    sizes = (f"{size / 2**20:,.0f} MiB {kind}" for kind, size in result["memory_bytes"].items())
    print_line(console, "memory: " + (", ".join(sizes) or "this backend does not report it"))
    rate = result["multiply_adds_per_second"]
    passes = " (training: three times the forward's)" if result["mode"] == "training" else ""
    peak = of_peak(result["fraction_of_peak"])
    print_line(console, f"{rate / 1e9:,.1f} G multiply-adds/s{passes}; {peak}")
    rate, peak = result["bytes_per_second"], of_peak(result["fraction_of_bandwidth"])
    print_line(console, f"{rate / 1e9:,.1f} GB/s that kernels read and write; {peak}")


def of_peak(fraction: float | None) -> str:
    """What a fraction of the device's peak is, for people."""
    return "the device's peak is not known" if fraction is None else f"{fraction:.1%} of the peak"
