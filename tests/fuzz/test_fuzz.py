"""No damaged file ends in a traceback, a hang, or a number that its checksum could have caught.

`python -m pytest -m fuzz`; environment variables change what is tried:

    FUZZ_SEED=7        the seed; every run takes another one and prints it
    FUZZ_INPUTS=10000  how many inputs, of all formats together
    FUZZ_ONLY=123      the one input of this number, of each format that is chosen with -k
    FUZZ_KEEP=FOLDER   the damaged files of failures, and of FUZZ_ONLY, are written there
"""

import math
import os
import time
from pathlib import Path

import pytest

from tests.fuzz import data_cases, image_cases, run_cases, weight_cases
from tests.fuzz.fuzzing import CACHE, Failure, Fuzzer, run

CASES = {
    case.name: case
    for module in (data_cases, image_cases, run_cases, weight_cases)
    for case in module.CASES
}


@pytest.fixture(scope="session")
def seed(worker_seed):
    """Of all inputs."""
    return int(os.environ.get("FUZZ_SEED", worker_seed))


@pytest.fixture(scope="session")
def worker_seed():
    """A seed of this session; the processes of pytest-xdist share it."""
    shared = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    return int(shared[:6], 16) if shared else int(time.time()) % 10**6


@pytest.mark.fuzz
@pytest.mark.parametrize("name", sorted(CASES))
def test_damaged(name, seed, tmp_path, monkeypatch, record_property, capfd):
    monkeypatch.setenv("CNN_JAX_CACHE", str(tmp_path / "work" / CACHE))
    with capfd.disabled():
        stderr = os.fdopen(os.dup(2), "w")  # the terminal, not what pytest keeps
    fuzzer = Fuzzer(CASES[name], tmp_path, seed, stderr)
    numbers = range(math.ceil(int(os.environ.get("FUZZ_INPUTS", 10_000)) / len(CASES)))
    only = os.environ.get("FUZZ_ONLY")
    numbers = numbers if only is None else [int(only)]
    start = time.process_time()
    counts, failures = run(fuzzer, numbers)
    stderr.close()
    about = {"name": name, "seed": seed, "inputs": counts.total(), "seconds": 0.0}
    about |= {kind: counts[kind] for kind in ("same", "line", "other", "failed")}
    record_property("fuzz", about | {"seconds": time.process_time() - start})
    if only is not None:
        keep(fuzzer, int(only), seed)
        print(
            fuzzer.input(int(only))._replace(content=b""), fuzzer.outcome(fuzzer.input(int(only)))
        )
    for failure in failures:
        keep(fuzzer, failure.number, seed)
    assert not failures, "\n".join(described(name, seed, failure) for failure in failures)


def keep(fuzzer: Fuzzer, number: int, seed: int) -> None:
    """Writes the damaged file of an input into the folder `FUZZ_KEEP`."""
    if folder := os.environ.get("FUZZ_KEEP"):
        damaged = fuzzer.input(number)
        case = fuzzer.case.name.replace(" ", "-").replace("/", "-")
        name = f"{case}-{seed}-{number}-{Path(damaged.file).name}"
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_bytes(damaged.content)


def described(name: str, seed: int, failure: Failure) -> str:
    """What failed, and how to see it again."""
    number, damaged, what, text = failure
    again = f"FUZZ_SEED={seed} FUZZ_ONLY={number} FUZZ_KEEP=damaged python -m pytest -m fuzz"
    return (
        f"\n{name}, seed {seed}, input {number} ({damaged.how} of {damaged.file}): {what}\n"
        f"again: {again} 'tests/fuzz/test_fuzz.py::test_damaged[{name}]'\n{text}"
    )
