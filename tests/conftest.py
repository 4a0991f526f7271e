"""What several tests share: a recipe of seconds, and the real data where there is some."""

import contextlib
import ctypes
import gc
import io
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

import cnn_jax
import launch
from cnn_jax.evaluation.predict import Predictions
from cnn_jax.files import keep_compiled
from cnn_jax.runs import metrics
from cnn_jax.training.train import train

ROOT = Path(__file__).parent.parent

# No test asks how fast a program is. At level 1 XLA compiles as fast as at 0, whose programs take
# ten times as long to run. It reads this when it compiles first, as do the processes of tests.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

# WRN-10-1 on the digits: an epoch has 20 steps, in four runs of one program.
TINY = [
    "model.width=1",
    "training.batch_size=60",
    "training.duration=3 epochs",
    "training.steps_per_dispatch=5",
    "training.checkpoint_every=1 epoch",
    "learning_rate.warmup=0 epochs",
]

# The same for LeNet-300-100, where the network does not matter: it compiles in a sixth of the time.
DENSE = ["model.name=lenet", "model.variant=300-100", "augmentation.crop_padding=0", *TINY[1:]]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Nothing of the user's cache is read or written, unless the caller names one.

    The workers of `pytest -n 2` share what they compile.
    """
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if is_worker else base) / "cache"
    os.environ.setdefault("CNN_JAX_CACHE", str(cache))
    keep_compiled()


@pytest.fixture(scope="module", autouse=True)
def small_process():
    """Compiled programs, and what they keep alive, go once they have taken three gigabytes."""
    yield
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        if pages * os.sysconf("SC_PAGE_SIZE") > 3e9:
            jax.clear_caches()
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what was freed otherwise


@pytest.fixture(autouse=True)
def curves(monkeypatch):
    """A run that a test trains draws no curves: they take as long as it does."""
    monkeypatch.setattr(metrics, "draw_curves", lambda lines, path, title: path.touch())


@pytest.fixture(scope="session")
def tiny_config():
    """The quickstart's recipe, small."""
    return cnn_jax.load_config(str(ROOT / "experiments/quickstart.py"), TINY)


@pytest.fixture(scope="session")
def dense_config():
    """The same with a network that compiles in a third of the time."""
    return cnn_jax.load_config(str(ROOT / "experiments/quickstart.py"), DENSE)


@pytest.fixture(scope="session")
def tiny_run(tiny_config, tmp_path_factory):
    """The directory of a finished run of it; tests that change it take a copy."""
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    with each_program_once():
        train(tiny_config, workdir, Console(quiet=True))
    return workdir


@pytest.fixture(scope="session")
def dense_run(dense_config, tmp_path_factory):
    """The same of LeNet-300-100."""
    workdir = tmp_path_factory.mktemp("runs") / "dense"
    train(dense_config, workdir, Console(quiet=True))
    return workdir


@contextlib.contextmanager
def each_program_once():
    """The loop warns where it compiles a program again: that is an error here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "compiled again")
        yield


@pytest.fixture(scope="session")
def predictions():
    """60 examples of classes 0 to 6 of 8; some logits are equal."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 60).astype(np.int32)
    logits = rng.integers(0, 6, (60, 8)).astype(np.float32) / 2
    return Predictions(np.arange(60, dtype=np.int32), labels, logits)


def launch_here(*arguments):
    """What `launch.py` does, in this process: with returncode, stdout and stderr."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = launch.main([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, code, stdout.getvalue(), stderr.getvalue())


def wait_until(condition, process=None):
    """Until the condition is true, however slow the machine; the process must live until then."""
    deadline = time.monotonic() + 900
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def count_lines(file):
    """Lines of a file, which may not be there yet."""
    return file.read_text().count("\n") if file.exists() else 0


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data sets, `$CNN_JAX_TEST_DATA` or ../shared/data."""
    folder = Path(os.environ.get("CNN_JAX_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; name its folder in CNN_JAX_TEST_DATA")
    return folder
