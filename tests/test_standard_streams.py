"""A process outlives who reads its output, and a closed stream is no other file's number."""

import os
import subprocess
import sys

import pytest

from cnn_jax import standard_streams
from tests.conftest import ROOT

# Writes more than a pipe holds, then tells on another one that it came to its end.
CODE = """
import os, sys
from cnn_jax import standard_streams
standard_streams.prepare()
for i in range(20_000):
    print(f"line {i}")
file = os.open(os.devnull, os.O_RDONLY)
os.write(int(sys.argv[1]), f"{file > 2} {sys.stdout.isatty()}".encode())
standard_streams.finish()
"""


def end_of(shell):
    """What the process told at its end, its exit code and stderr, run in a shell command."""
    read, write = os.pipe()
    words = f'{sys.executable} -c "$CODE" {write}'
    done = subprocess.run(
        ["bash", "-c", shell.replace("PROCESS", words)],
        cwd=ROOT,
        env={**os.environ, "CODE": CODE},
        pass_fds=[write],
        capture_output=True,
        text=True,
    )
    os.close(write)
    with os.fdopen(read) as told:
        return told.read(), done.returncode, done.stderr


@pytest.mark.parametrize(
    "shell",
    [
        "PROCESS | head -1; exit ${PIPESTATUS[0]}",
        "PROCESS 2>&1 | head -1; exit ${PIPESTATUS[0]}",
        "PROCESS >&-",
        "PROCESS >&- 2>&- <&-",
    ],
)
def test_a_process_whose_output_nobody_reads_comes_to_its_end(shell):
    assert end_of(shell) == ("True False", 0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_full_disk_is_told_in_one_line():
    command = f"{sys.executable} launch.py --help > /dev/full"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: [Errno 28] No space left on device")


def test_what_the_encoding_lacks_is_escaped(tmp_path):
    file = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    with (tmp_path / "before").open("w", encoding="ascii") as before:
        stream = standard_streams.stream(file, before)
    print("1 ± 2 caf\udce9", file=stream, flush=True)
    assert (tmp_path / "out").read_bytes() == b"1 \\xb1 2 caf\\udce9\n"
