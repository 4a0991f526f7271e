"""Times are read, prices are shown, and what cannot be run is told in one line."""

import argparse
import json

import pytest

from cnn_jax.commands import campaign
from cnn_jax.data.prepare import pieces
from tests.conftest import ROOT, launch_here

DIGITS = f"--tasks={ROOT / 'experiments/campaign_digits.py'}"


@pytest.mark.parametrize(
    "text,seconds", [("55m", 3300), ("1h30m", 5400), ("600s", 600), ("2h", 7200), ("1m5s", 65)]
)
def test_a_budget_is_a_time(text, seconds):
    assert campaign.budget(text) == seconds


@pytest.mark.parametrize("text", ["", "55", "0m", "m", "an hour"])
def test_what_is_no_time_is_told(text):
    with pytest.raises(argparse.ArgumentTypeError, match="write 55m, 1h30m or 600s"):
        campaign.budget(text)


def test_a_dry_run_prints_the_order_with_prices_and_what_fits(tmp_path):
    words = ("--dry_run", "--budget=50m", f"--data={tmp_path}", f"--workdir={tmp_path / 'work'}")
    done = launch_here("campaign", *words)
    lines = [line for line in done.stdout.splitlines() if "the list, for H100" in line]
    assert done.returncode == 0 and "doctor" in lines[0] and "ResNet-20 bfloat16" in lines[1:5][1]
    assert "yes" in lines[0] and "no" in lines[-1] and "2.9 h" in done.stdout
    assert not (tmp_path / "work").exists()


def test_too_small_a_budget_says_what_would_fit(tmp_path):
    done = launch_here("campaign", DIGITS, "--budget=20s", f"--workdir={tmp_path / 'work'}")
    assert done.returncode == 2 and done.stderr == (
        "error: no task that is left fits in the --budget; those that need the least: "
        "speed (30 s), WRN-10-1, 2 seeds (48 s), WRN-10-2, 2 seeds (72 s)\n"
    )


@pytest.mark.parametrize(
    "words,message",
    [
        ((), "how long. --budget=55m"),
        (("--budget=5m", "--data=nowhere"), "--data: there is no nowhere"),
        (("--price=speed",), "speed is a check, whose price stands in the list"),
        (("--tasks=none.py", "--dry_run"), "no experiment file none.py"),
        (("--wheels=.", "--dry_run"), "has no wheels; `campaign --make_wheels=DIR` makes them"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks = () if any(word.startswith("--tasks") for word in words) else (DIGITS,)
    done = launch_here("campaign", *tasks, *words)
    assert done.returncode and done.stderr.count("\n") == 1
    assert message.replace("how long.", "how long?") in done.stderr


def test_pieces_of_the_data_are_joined(tmp_path, monkeypatch):
    monkeypatch.setenv("CNN_JAX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cifar.tar.gz").write_bytes(b"0" * 100)
    pieces.split(tmp_path / "cifar.tar.gz", tmp_path / "pieces")
    given = argparse.Namespace(data=tmp_path / "pieces")
    assert campaign.find_data(given) == str(tmp_path / "cache/joined/cifar.tar.gz")


def test_a_journal_tells_what_is_left_and_what_ended_tasks_took(tmp_path):
    ended = {"status": "failed", "seconds": 7.0, "message": "no memory"}
    journal = {"environment": {"devices": ["cpu"]}, "tasks": {"speed": ended}}
    (tmp_path / "journal.json").write_text(json.dumps(journal))
    done = launch_here("campaign", DIGITS, "--dry_run", f"--workdir={tmp_path}")
    assert "2 of 3 tasks are left" in done.stdout and "7 s" in done.stdout
