"""`launch.py plan`: what it prints, and its answers to mistakes; nothing is compiled here."""

import importlib.util
import json

import pytest

from cnn_jax.accelerators import topologies
from tests.conftest import launch_here

PACKAGE = topologies.PACKAGES["tpu"]
RESNET = "--config=experiments/resnet/cifar10.py:20"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target=gpu:h10:8"], "choose from: gpu:a100:N"),
        (["--target=gpu:h100:2", "--target_config=nowhere.txt"], "nowhere.txt: there is no such"),
        (["--target=gpu:h100:2", "--target_config=README.md"], "README.md is no target config"),
        (["--target=tpu:v5e:1x1", "--target_config=README.md"], "is of GPUs"),
        (["--target=tpu:v5e:1x1", "--minutes=0"], "must be more than 0"),
        (["--target=gpu:h100:2", RESNET, "--table=tabel_6"], "did you mean 'table_6'"),
        (["--target=gpu:h100:3", RESNET], "does not divide by 3 devices"),
        ([], "--target"),
    ],
)
def test_a_mistake_is_one_line(arguments, message):
    done = launch_here("plan", *arguments)
    assert done.returncode in (1, 2) and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert message in done.stderr


def test_the_counted_plan_is_a_table_with_memory_speed_and_duration():
    done = launch_here("plan", RESNET, "--target=tpu:v5e:2x2", "--analytic")
    assert done.returncode == 0 and "compiled" not in done.stdout
    for text in ("269,722 parameters", "of 17.2 GB, fits", "limited by memory", "device-hours"):
        assert text in done.stdout


def test_the_plan_as_json_is_that_alone():
    done = launch_here("plan", RESNET, "--target=gpu:h100:8", "--analytic", "--json")
    found = json.loads(done.stdout)
    assert found["target"] == "gpu:h100:8" and found["steps"] == 64_000
    limits = {"compute", "memory", "communication", "launches", "cycles"}
    assert set(found["counted"]["seconds"]) == limits


def test_a_table_has_a_line_for_each_row_also_for_one_that_cannot_be():
    arguments = ["--target=gpu:h100:1", "--table=table_6", "--config.training.batch_size=96"]
    done = launch_here("plan", "--config=experiments/resnet/cifar10.py", *arguments, "--json")
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) > 4 and all("take a multiple of 64" in row["error"] for row in rows)


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed")
def test_without_the_compiler_the_counted_plan_stands_and_a_line_says_what_to_install():
    done = launch_here("plan", "--target=tpu:v5e:1x1")
    assert done.returncode == 0 and "images/s at best" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "pip install" in line]
    assert line.endswith(f"the compiler for TPUs is missing: pip install '{PACKAGE}'")
