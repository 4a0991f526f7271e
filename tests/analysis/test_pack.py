"""A pack gives back what it was made of; its records and benchmarks are taken into a checkout."""

import json

import pytest

from cnn_jax.analysis import devices, pack, registry, run_records
from cnn_jax.errors import UserError
from tests.analysis.making import record
from tests.conftest import ROOT, launch_here

BENCH = {
    "config": "experiments/resnet/cifar10.py:20",
    "mode": "training",
    "network": {"name": "cifar_resnet", "dtype": "bfloat16"},
    "batch_size": 128,
    "images_per_second": {"step": 50_000.0, "loop": 90_000.0, "torch-bf16": 30_000.0},
    "fraction_of_peak": 0.0221,
    "environment": {"devices": ["NVIDIA H100 80GB HBM3"], "commit": "0123456789"},
}


@pytest.fixture
def packed(tmp_path):
    """The pack of a campaign with two runs of a row and a benchmark."""
    file = tmp_path / pack.NAME
    records = [record("ResNet-20", seed, 8.6 + seed / 10, 8.75) for seed in range(2)]
    empty = {"environment": {}, "tasks": [], "logs": {}}
    about = {"device": "NVIDIA H100 80GB HBM3", "benchmarks": {"ResNet-20 bfloat16": BENCH}}
    pack.write(file, **empty, **about, records=records)
    return file


@pytest.fixture
def home(tmp_path):
    """A checkout with the pages that have generated parts."""
    for page, begin, end in [
        ("README.md", registry.BEGIN, registry.END),
        ("docs/results.md", registry.BEGIN, registry.END),
        ("docs/benchmarks.md", devices.BEGIN, devices.END),
    ]:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    return tmp_path


def test_the_runs_of_a_pack_are_reported_as_those_of_a_sweep(packed):
    done = launch_here("report", packed)
    assert done.returncode == 0 and "reproduced" in done.stdout
    assert [one["config"]["seed"] for one in run_records.find(packed)] == [0, 1]


def test_record_takes_the_runs_and_benchmarks_of_a_pack_into_a_checkout(packed, home, monkeypatch):
    monkeypatch.setattr("cnn_jax.config.HOME", home)
    done = launch_here("report", f"--record={packed}")
    assert done.returncode == 0, done.stderr
    assert len(list((home / registry.FOLDER / "made").glob("*.json"))) == 2
    file = home / devices.FOLDER / "NVIDIA-H100-80GB-HBM3" / "ResNet-20-bfloat16.json"
    assert json.loads(file.read_text()) == BENCH
    text = (home / "docs/benchmarks.md").read_text()
    assert "| 90,000 | 3.00 (bf16) | 2.2% | 0123456 |" in text and "old" not in text
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "8.65 (8.75)" in (home / "README.md").read_text()


def test_the_page_of_benchmarks_is_what_the_files_give():
    assert devices.block(ROOT) in (ROOT / devices.PAGE).read_text()


@pytest.mark.parametrize("content", [b"", b"{}", b"\x1f\x8b", None])
def test_what_is_no_pack_is_told(tmp_path, content, packed):
    file = tmp_path / "other.json.gz"
    file.write_bytes(packed.read_bytes()[:-9] if content is None else content)
    with pytest.raises(UserError, match="other.json.gz is no pack of a campaign"):
        run_records.find(file)


def test_a_pack_lacks_no_part(tmp_path):
    import gzip

    (tmp_path / "x.json.gz").write_bytes(gzip.compress(b'{"records": []}'))
    with pytest.raises(UserError, match="it lacks device, environment, tasks"):
        pack.read(tmp_path / "x.json.gz")


def test_a_report_of_nothing_is_refused():
    done = launch_here("report")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "name what to report" in done.stderr
