"""The scripts beside the recipes run as their first lines say, each in a process of its own."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

SMALL = ("--depth=20", "--batch=4", "--steps=1", "--rounds=1")
NETWORK = "squeezenet_deep_compression/compressed_SqueezeNet.net"


def run_script(script, *arguments):
    """What a script prints."""
    command = [sys.executable, ROOT / "experiments" / script, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def scripts():
    """All files below `experiments` that a person can run."""
    files = sorted((ROOT / "experiments").rglob("*.py"))
    return [file for file in files if '__name__ == "__main__"' in file.read_text()]


def test_the_accuracy_script_explains_itself():
    assert "compressed SqueezeNet" in run_script("deep_compression/accuracy.py", "--help")


@pytest.mark.slow
@pytest.mark.parametrize("script", scripts(), ids=lambda path: path.name)
def test_a_script_explains_itself(script):
    assert "usage:" in run_script(script, "--help")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("benchmarks/blocks.py", SMALL),
        ("benchmarks/plain_flax.py", SMALL),
        ("benchmarks/seeds.py", ("--seeds=2", "--rounds=1")),
    ],
)
def test_a_benchmark_prints_its_numbers(script, arguments):
    assert "images per second" in run_script(script, *arguments)


@pytest.mark.slow
def test_the_streaming_benchmark_prints_its_numbers(shared_data):
    sample = shared_data / "imagenet_sample"
    arguments = (f"--data={sample}", "--batches=2", "--rounds=1", "--workers=1", "--batch=16")
    assert "torch" in run_script("benchmarks/streaming.py", *arguments)


@pytest.mark.slow
def test_the_authors_compressed_network_is_right_as_often_as_the_readme_says(
    shared_data,
):
    sample = shared_data / "imagenet_sample"
    printed = run_script("deep_compression/accuracy.py", shared_data / NETWORK, sample)
    assert "all: 321 and 421 of 500 right at top-1 and top-5" in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", ["deep_compression/sensitivity.py", "resnet/responses.py"], ids=lambda path: path
)
def test_a_figure_is_drawn_of_a_run(script, tiny_run, tmp_path):
    run_script(script, tiny_run, f"--out={tmp_path / 'figure.png'}", "--count=20")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert (tmp_path / "figure.json").is_file()
