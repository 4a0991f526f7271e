"""Checks whether this machine can train; each yields lines: ok, warning or FAIL, and what to do."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import data
from cnn_jax.accelerators import targets
from cnn_jax.errors import first_line
from cnn_jax.files import cache_folder
from cnn_jax.runs.checkpoints import Checkpoints
from cnn_jax.training import build, compiler, sharding

OK, WARNING, FAIL = "ok", "warning", "FAIL"
GIB = 2**30
# Loss of the quickstart at the last step of its first program, and how far from it a machine may
# be, relatively: float32 products of an accelerator have fewer digits.
QUICKSTART_LOSS, TOLERANCE = 2.038, 0.005


# Packages that most runs do without, and what needs them.
OPTIONAL = {
    "tensorboardX": "TensorBoard's copy of the metrics",
    "tensorflow-datasets": "data sets of TFDS",
    "array_record": "data sets of TFDS",
    "importlib_resources": "data sets of TFDS",
    "grain": "streams",
    "constriction": "compressed networks",
}


class Line(NamedTuple):
    status: str
    what: str
    found: str
    advice: str = ""


class Machine(NamedTuple):
    """What the checks look at."""

    config: ConfigDict  # of the user
    quickstart: ConfigDict
    requirements: Path  # requirements.txt
    workdir: Path  # where runs would be


def examine(
    machine: Machine, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Line]:
    """Yields the lines of all checks; for a check that raises, a line that says so.

    `on_progress` is called with the number of checks that are done, and of all.
    """
    for done, check in enumerate(CHECKS):
        on_progress(done, len(CHECKS))
        try:
            yield from check(machine)
        except Exception as error:  # whatever is wrong with a machine
            name = check.__name__.removeprefix("check_").replace("_", " ")
            yield Line(FAIL, name, first_line(error), "it ended with this error")


def check_python(machine: Machine) -> Iterator[Line]:
    """Compares the versions of Python and of every package with those in requirements.txt."""
    version = ".".join(map(str, sys.version_info[:3]))
    status = OK if sys.version_info[:2] == (3, 11) else WARNING
    yield Line(status, "Python", version, "" if status == OK else "tested with 3.11")
    advice = "pip install -r requirements.txt"
    for name, wanted in re.findall(r"^(\S+)==(\S+)", machine.requirements.read_text(), re.M):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            needed = f"{advice}, for {OPTIONAL[name]}" if name in OPTIONAL else advice
            status = WARNING if name in OPTIONAL else FAIL
            yield Line(status, name, f"not installed, {wanted} wanted", needed)
            continue
        same = found == wanted
        text = found if same else f"{found}, tested with {wanted}"
        yield Line(OK if same else WARNING, name, text, "" if same else advice)


def check_devices(machine: Machine) -> Iterator[Line]:
    """Names what JAX computes on; warns where it does not use a GPU that is there."""
    del machine
    kinds = [device.device_kind for device in jax.devices()]
    found = f"{len(kinds)} x {kinds[0]} ({jax.default_backend()}), {os.cpu_count()} CPU cores"
    if chip := targets.of_kind(kinds[0]):
        found += f"; at best {chip.bfloat16 / 1e12:,.0f} TFLOP/s in bfloat16"
        found += f", {chip.bandwidth / 1e9:,.0f} GB/s each"
    if jax.default_backend() == "cpu" and Path("/proc/driver/nvidia").exists():
        advice = "JAX does not use the NVIDIA GPU: pip install 'jax[cuda13]' as in the README"
        yield Line(WARNING, "devices", found, advice)
    else:
        yield Line(OK, "devices", found)


def check_compiler(machine: Machine) -> Iterator[Line]:
    """Tells which of the compiler options this jaxlib accepts."""
    del machine
    accepted = compiler.supported(jax.default_backend(), once=False)
    if jax.default_backend() != "cpu":
        yield Line(OK, "compiler options", "none are needed here")
        return
    for option in compiler.CPU_STEP:
        known = option in accepted
        found = "accepted" if known else "not known to this jaxlib"
        advice = "" if known else "training is slower; use the jaxlib of requirements.txt"
        yield Line(OK if known else WARNING, option, found, advice)


def check_disk(machine: Machine) -> Iterator[Line]:
    """Checks that the folders of runs and of the cache are writable and have room."""
    for what, path, choice in [
        ("disk for runs", machine.workdir, "--workdir"),
        ("disk for the cache", cache_folder("compiled"), "CNN_JAX_CACHE"),
    ]:
        folder = existing(path)
        free = shutil.disk_usage(folder).free
        found = f"{free / GIB:,.1f} GiB free at {folder}"
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"0" * 4096)
        except OSError as error:
            advice = f"choose another place with {choice}"
            yield Line(FAIL, what, f"cannot write at {folder} ({error.strerror})", advice)
            continue
        status = OK if free > 5 * GIB else WARNING if free > GIB / 2 else FAIL
        yield Line(status, what, found, "" if status == OK else f"make room, or set {choice}")


def check_memory(machine: Machine) -> Iterator[Line]:
    """Tells the free memory of the machine, and that of the first device where JAX reports it."""
    del machine
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():  # counts the memory of file caches as free
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    status = OK if free > 2 * GIB else WARNING
    advice = "" if status == OK else "end other programs, or take small batches"
    yield Line(status, "memory", f"{free / GIB:,.1f} GiB free", advice)
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit:
        yield Line(OK, "memory of a device", f"{limit / GIB:,.1f} GiB")


def check_data(machine: Machine) -> Iterator[Line]:
    """Opens the data of the config and counts its examples."""
    name = f"data ({machine.config.data.name})"
    try:
        dataset = configs.call(data.open, "data", machine.config.data)
        view = machine.config.view.train.to_dict()
        shape = "x".join(map(str, data.image_shape(dataset, view)))
    except ValueError as error:  # UserError is one
        yield Line(FAIL, name, first_line(error), "name the place with --config.data.path=PATH")
        return
    sizes = {split: len(found.labels) for split, found in dataset.splits.items()}
    examples = ", ".join(f"{size:,} {split}" for split, size in sizes.items())
    yield Line(OK, name, f"{examples}; {shape}, {len(dataset.class_names)} classes")


def check_training(machine: Machine) -> Iterator[Line]:
    """Runs the first steps of the quickstart, and compares the loss with the known one."""
    made = build.build(machine.quickstart)
    first, count = next(made.plan.dispatches(0))
    losses = np.asarray(made.run_steps(made.initial_state(), first, count)[1]["loss"])
    found = f"loss {losses[-1]:.4f} after {count} steps, expected {QUICKSTART_LOSS}"
    if not np.isfinite(losses).all():
        advice = "the arithmetic is wrong here: try the jax and jaxlib of requirements.txt"
        yield Line(FAIL, "training", f"the loss is not finite: {losses}", advice)
    elif abs(losses[-1] / QUICKSTART_LOSS - 1) > TOLERANCE:
        advice = (
            "try the versions of requirements.txt, and JAX_PLATFORMS=cpu: is the loss right then?"
        )
        yield Line(FAIL, "training", found, advice)
    else:
        yield Line(OK, "training", found)


def check_checkpoint(machine: Machine) -> Iterator[Line]:
    """Saves arrays where runs would be, restores them, and compares them bit for bit."""
    whole = sharding.replicated(sharding.data_mesh())
    tree = {"step": np.int32(1), "kernel": np.random.default_rng(0).random((64, 64), np.float32)}
    tree = jax.device_put(tree, whole)
    template = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole), tree)
    with tempfile.TemporaryDirectory(dir=existing(machine.workdir), prefix=".doctor-") as folder:
        checkpoints = Checkpoints(Path(folder) / "checkpoints")
        try:
            checkpoints.save(1, tree, 0.0, None)
            restored, _ = checkpoints.restore_latest(template)
        finally:
            checkpoints.close()
    if all(np.array_equal(restored[name], tree[name]) for name in tree):
        yield Line(OK, "checkpoint", "saved and restored, bit for bit")
    else:
        advice = "the disk or its file system changes data: choose another --workdir"
        yield Line(FAIL, "checkpoint", "the restored arrays differ from the saved ones", advice)


def existing(path: Path) -> Path:
    """The path itself where it is a folder, or the closest folder above it that exists."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.is_dir())


CHECKS = (
    check_python,
    check_devices,
    check_compiler,
    check_disk,
    check_memory,
    check_data,
    check_training,
    check_checkpoint,
)
