"""Is this machine fit for training? Each check yields lines: ok, warning or FAIL, and what to do."""

import math
import os
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

from cnn_jax import caches, data
from cnn_jax import config as configs
from cnn_jax.errors import first_line
from cnn_jax.runs.checkpoints import Checkpoints
from cnn_jax.training import compiler, program

OK, WARNING, FAIL = "ok", "warning", "FAIL"
GIB = 2**30
STEPS = 5
# Loss of the quickstart at its fifth step (`tests/bench/test_checks.py` computes it again), and how
# far a machine may be from it: float32 products of an accelerator have fewer digits.
QUICKSTART_LOSS, TOLERANCE = math.nan, 0.02


class Line(NamedTuple):
    status: str
    what: str
    found: str
    advice: str = ""


class Subject(NamedTuple):
    """What is looked at."""

    config: ConfigDict  # of the user
    quickstart: ConfigDict
    requirements: Path  # requirements.txt
    workdir: Path  # where runs would be


def examine(subject: Subject) -> Iterator[Line]:
    """The lines of all checks; one that raises is a failure that says so."""
    for check in CHECKS:
        try:
            yield from check(subject)
        except Exception as error:  # whatever is wrong with a machine
            name = check.__name__.removeprefix("check_").replace("_", " ")
            yield Line(FAIL, name, first_line(error), "see the message")


def check_python(subject: Subject) -> Iterator[Line]:
    """The version, and that of every package against requirements.txt."""
    version = ".".join(map(str, sys.version_info[:3]))
    status = OK if sys.version_info[:2] == (3, 11) else WARNING
    yield Line(status, "Python", version, "" if status == OK else "tested with 3.11")
    advice = "pip install -r requirements.txt"
    for line in subject.requirements.read_text().splitlines():
        name, equals, wanted = line.partition("==")
        if not equals:
            continue
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Line(FAIL, name, f"not installed, {wanted} wanted", advice)
            continue
        same = found == wanted
        text = found if same else f"{found}, tested with {wanted}"
        yield Line(OK if same else WARNING, name, text, "" if same else advice)


def check_devices(subject: Subject) -> Iterator[Line]:
    """What JAX computes on, and whether it misses a GPU."""
    del subject
    kinds = [device.device_kind for device in jax.devices()]
    found = f"{len(kinds)} x {kinds[0]} ({jax.default_backend()}), {os.cpu_count()} CPU cores"
    if jax.default_backend() == "cpu" and Path("/proc/driver/nvidia").exists():
        advice = "JAX does not use the NVIDIA GPU: pip install 'jax[cuda13]' as in the README"
        yield Line(WARNING, "devices", found, advice)
    else:
        yield Line(OK, "devices", found)


def check_compiler(subject: Subject) -> Iterator[Line]:
    """Which of the compiler options this jaxlib takes."""
    del subject
    taken = compiler.supported(jax.default_backend(), once=False)
    if jax.default_backend() != "cpu":
        yield Line(OK, "compiler options", "none are needed here")
        return
    for option in compiler.CPU_STEP:
        known = option in taken
        found = "taken" if known else "not known to this jaxlib"
        advice = "" if known else "training is slower; use the jaxlib of requirements.txt"
        yield Line(OK if known else WARNING, option, found, advice)


def check_disk(subject: Subject) -> Iterator[Line]:
    """Free and writable where runs and the cache are."""
    for what, path, choice in [
        ("disk for runs", subject.workdir, "--workdir"),
        ("disk for the cache", caches.folder("compiled"), "CNN_JAX_CACHE"),
    ]:
        folder = next(p for p in (path.absolute(), *path.absolute().parents) if p.is_dir())
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


def check_memory(subject: Subject) -> Iterator[Line]:
    """Free in the machine, and on the first device where it tells."""
    del subject
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


def check_data(subject: Subject) -> Iterator[Line]:
    """The data of the config, every image of it."""
    name = f"data ({subject.config.data.name})"
    try:
        facts = configs.call(data.load, "data", subject.config.data).facts()
    except ValueError as error:  # UserError is one
        yield Line(FAIL, name, first_line(error), "name the place with --config.data.path=PATH")
        return
    examples = ", ".join(f"{count:,} {split}" for split, count in facts["examples"].items())
    shape = "x".join(map(str, facts["image_shape"]))
    yield Line(OK, name, f"{examples}; {shape}, {len(facts['class_names'])} classes")


def check_training(subject: Subject) -> Iterator[Line]:
    """A few steps of the quickstart from its own initial values, and its state saved and read."""
    made = program.build(subject.quickstart)
    state, metrics = made.run_steps(made.create_state(), 0, STEPS)
    losses = np.asarray(metrics["loss"])
    found = f"loss {losses[-1]:.4f} at step {STEPS} of the quickstart"
    if not np.isfinite(losses).all():
        advice = "the arithmetic is wrong here: other versions of jax and jaxlib may help"
        yield Line(FAIL, "training step", found, advice)
    elif abs(losses[-1] / QUICKSTART_LOSS - 1) > TOLERANCE:
        advice = f"expected {QUICKSTART_LOSS}; does it stay so with requirements.txt's versions?"
        yield Line(FAIL, "training step", found, advice)
    else:
        yield Line(OK, "training step", f"{found}, expected {QUICKSTART_LOSS}")
    yield from checkpoint_lines(state, made.state_template)


def checkpoint_lines(state, template) -> Iterator[Line]:
    """Written and restored in a temporary folder, bit for bit."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder) / "checkpoints", keep_best=False)
        try:
            checkpoints.save(1, state, 0.0, None)
            restored, _ = checkpoints.restore_latest(template) or (None, None)
        finally:
            checkpoints.close()
    pairs = zip(jax.tree.leaves(state), jax.tree.leaves(restored), strict=False)
    same = restored is not None and all(np.array_equal(a, b) for a, b in pairs)
    if same:
        yield Line(OK, "checkpoint", "written and restored, bit for bit")
    else:
        yield Line(FAIL, "checkpoint", "what was restored is not what was written", "another disk?")


CHECKS = (
    check_python,
    check_devices,
    check_compiler,
    check_disk,
    check_memory,
    check_data,
    check_training,
)
