"""What comes of a compilation in a process of its own, however that ends."""

import json
import subprocess

import pytest

from cnn_jax.accelerators import compile_process, targets, topologies
from cnn_jax.errors import UserError

ORDER = compile_process.Order("experiments/quickstart.py", [], "tpu:v5e:1x1", None, [64], 60.0)


@pytest.fixture
def ask(monkeypatch):
    """`ask(output, code=0, errors=b"", late=False)`: the answer to a process that ended so."""

    def ask(*objects, code=0, errors=b"", late=False):
        output = "".join(f"{json.dumps(line)}\n" for line in objects).encode()

        def run(command, timeout, **_):
            if late:
                raise subprocess.TimeoutExpired(command, timeout, output=output or None)
            return subprocess.CompletedProcess(command, code, b"noise\n" + output, errors)

        monkeypatch.setattr(subprocess, "run", run)
        return compile_process.ask(ORDER, {})

    return ask


def test_a_program_that_was_done_in_time_counts_though_the_next_was_not(ask):
    program = {"batch_size": 64}
    assert ask(program, late=True) == ([program], None, False)


def test_what_takes_too_long_is_neither_refused_nor_compiled(ask):
    answer = ask(late=True)
    assert (answer.programs, answer.refused) == ([], False)
    assert answer.reason == "stopped after 1 minutes: give more with --minutes"


def test_what_the_compiler_refuses_is_told(ask):
    assert ask({"refused": "RESOURCE_EXHAUSTED: 30G"}) == ([], "RESOURCE_EXHAUSTED: 30G", True)


def test_a_second_program_that_is_refused_leaves_the_first(ask):
    program = {"batch_size": 64}
    assert ask(program, {"refused": "too large"}).programs == [program]


def test_a_compiler_that_is_missing_is_no_refusal(ask):
    assert ask({"missing": "pip install it"}) == ([], "pip install it", False)


def test_a_mistake_in_the_config_is_an_error_here(ask):
    with pytest.raises(UserError, match="no such field"):
        ask({"error": "no such field"})


def test_a_compiler_that_crashes_is_named_by_its_last_line(ask):
    answer = ask(code=-6, errors=b"first\nF0000 Check failed\n")
    assert answer == ([], "the compiler ended: F0000 Check failed", True)


def test_a_real_process_is_stopped_in_time():
    order = ORDER._replace(seconds=0.01)
    answer = compile_process.ask(order, topologies.environment(targets.parse(order.target)))
    assert answer.programs == [] and "give more with --minutes" in answer.reason
