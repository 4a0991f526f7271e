"""Is this machine fit for training? Each check yields lines: ok, warning, FAIL, and what to do."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import data
from cnn_jax.errors import first_line
from cnn_jax.files import cache_folder
from cnn_jax.runs.checkpoints import Checkpoints
from cnn_jax.training import build, compiler, sharding

OK, WARNING, FAIL = "ok", "warning", "FAIL"
GIB = 2**30
# Loss of the quickstart at the last step of its first program, and how far from it a machine may
# be, relatively: float32 products of an accelerator have fewer digits.
QUICKSTART_LOSS, TOLERANCE = 2.038, 0.005


class Line(NamedTuple):
    status: str
    what: str
    found: str
    advice: str = ""


class EvalTarget(NamedTuple):
    """What is looked at."""

    config: ConfigDict  # of the user
    quickstart: ConfigDict
    requirements: Path  # requirements.txt
    workdir: Path  # where runs would be


def examine(target: EvalTarget) -> Iterator[Line]:
    """The lines of all checks; one that raises is a failure that says so."""
    for check in CHECKS:
        try:
            yield from check(target)
        except Exception as error:  # whatever is wrong with a machine
            name = check.__name__.removeprefix("check_").replace("_", " ")
            yield Line(FAIL, name, first_line(error), "it ended with this error")


def check_python(target: EvalTarget) -> Iterator[Line]:
    """The version, and that of every package against requirements.txt."""
    version = ".".join(map(str, sys.version_info[:3]))
    status = OK if sys.version_info[:2] == (3, 11) else WARNING
    yield Line(status, "Python", version, "" if status == OK else "tested with 3.11")
    advice = "pip install -r requirements.txt"
    for name, wanted in re.findall(r"^(\S+)==(\S+)", target.requirements.read_text(), re.M):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Line(FAIL, name, f"not installed, {wanted} wanted", advice)
            continue
        same = found == wanted
        text = found if same else f"{found}, tested with {wanted}"
        yield Line(OK if same else WARNING, name, text, "" if same else advice)


def check_devices(target: EvalTarget) -> Iterator[Line]:
    """What JAX computes on, and whether it misses a GPU."""
    del target
    kinds = [device.device_kind for device in jax.devices()]
    found = f"{len(kinds)} x {kinds[0]} ({jax.default_backend()}), {os.cpu_count()} CPU cores"
    if jax.default_backend() == "cpu" and Path("/proc/driver/nvidia").exists():
        advice = "JAX does not use the NVIDIA GPU: pip install 'jax[cuda13]' as in the README"
        yield Line(WARNING, "devices", found, advice)
    else:
        yield Line(OK, "devices", found)


def check_compiler(target: EvalTarget) -> Iterator[Line]:
    """Which of the compiler options this jaxlib takes."""
    del target
    taken = compiler.supported(jax.default_backend(), once=False)
    if jax.default_backend() != "cpu":
        yield Line(OK, "compiler options", "none are needed here")
        return
    for option in compiler.CPU_STEP:
        known = option in taken
        found = "taken" if known else "not known to this jaxlib"
        advice = "" if known else "training is slower; use the jaxlib of requirements.txt"
        yield Line(OK if known else WARNING, option, found, advice)


def check_disk(target: EvalTarget) -> Iterator[Line]:
    """Free and writable where runs and the cache are."""
    for what, path, choice in [
        ("disk for runs", target.workdir, "--workdir"),
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


def check_memory(target: EvalTarget) -> Iterator[Line]:
    """Free in the machine, and on the first device where it tells."""
    del target
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():  # counts what the system would give up, too
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    status = OK if free > 2 * GIB else WARNING
    advice = "" if status == OK else "end other programs, or take small batches"
    yield Line(status, "memory", f"{free / GIB:,.1f} GiB free", advice)
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit:
        yield Line(OK, "memory of a device", f"{limit / GIB:,.1f} GiB")


def check_data(target: EvalTarget) -> Iterator[Line]:
    """The data of the config, every image of it."""
    name = f"data ({target.config.data.name})"
    try:
        dataset = configs.call(data.open, "data", target.config.data)
        view = target.config.view.train.to_dict()
        shape = "x".join(map(str, data.image_shape(dataset, view)))
    except ValueError as error:  # UserError is one
        yield Line(FAIL, name, first_line(error), "name the place with --config.data.path=PATH")
        return
    sizes = {split: len(found.labels) for split, found in dataset.splits.items()}
    examples = ", ".join(f"{size:,} {split}" for split, size in sizes.items())
    yield Line(OK, name, f"{examples}; {shape}, {len(dataset.class_names)} classes")


def check_training(target: EvalTarget) -> Iterator[Line]:
    """The quickstart's first program, a step after the other, from its own initial values."""
    made = build.build(target.quickstart)
    first, count = next(made.plan.dispatches(0))
    losses = np.asarray(made.run_steps(made.create_state(), first, count)[1]["loss"])
    found = f"loss {losses[-1]:.4f} after {count} steps, expected {QUICKSTART_LOSS}"
    if not np.isfinite(losses).all():
        advice = "the arithmetic is wrong here: try the jax and jaxlib of requirements.txt"
        yield Line(FAIL, "training", f"the loss is not finite: {losses}", advice)
    elif abs(losses[-1] / QUICKSTART_LOSS - 1) > TOLERANCE:
        advice = (
            "does it stay so with the versions of requirements.txt, and with JAX_PLATFORMS=cpu?"
        )
        yield Line(FAIL, "training", found, advice)
    else:
        yield Line(OK, "training", found)


def check_checkpoint(target: EvalTarget) -> Iterator[Line]:
    """Arrays, written where runs would be and restored, are the same bit for bit."""
    whole = sharding.replicated(sharding.data_mesh())
    tree = {"step": np.int32(1), "kernel": np.random.default_rng(0).random((64, 64), np.float32)}
    tree = jax.device_put(tree, whole)
    template = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole), tree)
    with tempfile.TemporaryDirectory(dir=existing(target.workdir), prefix=".doctor-") as folder:
        checkpoints = Checkpoints(Path(folder) / "checkpoints", keep_best=False)
        try:
            checkpoints.save(1, tree, 0.0, None)
            restored, _ = checkpoints.restore_latest(template)
        finally:
            checkpoints.close()
    if all(np.array_equal(restored[name], tree[name]) for name in tree):
        yield Line(OK, "checkpoint", "written and restored, bit for bit")
    else:
        advice = "the disk or its file system is not to be trusted: choose another --workdir"
        yield Line(FAIL, "checkpoint", "what was restored is not what was written", advice)


def existing(path: Path) -> Path:
    """The folder itself, or the closest above it that there is."""
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
