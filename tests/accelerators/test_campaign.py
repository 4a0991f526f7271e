"""What is run in which order, what the journal keeps, and what fits; no process is started."""

import json

import pytest

from cnn_jax.accelerators import campaign as campaigns
from cnn_jax.accelerators import campaign_pack
from cnn_jax.accelerators import campaign_process as process
from cnn_jax.accelerators.campaign import Campaign, Places
from cnn_jax.accelerators.campaign_process import Ended
from cnn_jax.accelerators.campaign_tasks import Check, TaskList, Training
from cnn_jax.analysis import pack
from cnn_jax.cluster.preemption import Preemption
from cnn_jax.errors import STOPPED, UserError
from tests.analysis.making import record
from tests.conftest import ROOT

WIDE = "experiments/wide_resnet/cifar.py"
QUICK = Check("quick", 3.0, 1.0, ("bench", "--out=RESULT"))
LONG = Check("long", 2.0, 40.0, ("doctor", "--config.data.path=DATA"))
ROW = Training("row", 1.0, 30.0, WIDE, "width", "WRN-10-1", 2, ("data.name=digits",))


class Clock:
    """Time that passes only when a task takes it."""

    def __init__(self, minutes):
        self.left = minutes * 60.0


@pytest.fixture
def make(tmp_path, monkeypatch):
    """(tasks, how they end by name) -> a campaign, and the list of what was started."""
    monkeypatch.setattr(process, "value", lambda *_: {"devices": ["NVIDIA H100"]})

    def make(*tasks, ends=None, data="here", device="H100", measured=True, before=None):
        places = Places(tmp_path / "work", ROOT / "tasks.py", data, {}, before)
        campaign = Campaign(TaskList(tasks, device, measured), places)
        started = []

        def launch(arguments, log, _environment, seconds, _stop):
            name = log.stem
            started.append((name, arguments[1:], seconds))
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(f"output of {name}\n")
            return (ends or {}).get(name, Ended(0, 60.0, "", False))

        monkeypatch.setattr(process, "launch", launch)
        return campaign, started

    return make


def run(campaign, minutes, stop=None):
    clock = Clock(minutes)

    def on_end(_task, seconds):
        clock.left -= seconds

    campaigns.run(campaign, clock, stop or Preemption(), on_end)


def test_what_does_not_fit_is_passed_over_for_what_does(make):
    campaign, started = make(QUICK, LONG, ROW)
    run(campaign, minutes=35)
    assert [name for name, *_ in started] == ["quick", "row"]
    assert campaign.status(QUICK) == campaign.status(ROW) == "done"
    assert campaign.status(LONG) == "waiting"


def test_where_nothing_fits_a_training_is_begun_that_goes_on_another_time(make):
    stopped = Ended(STOPPED, 570.0, "SIGTERM: saved at step 100", True)
    campaign, started = make(LONG, ROW, ends={"row": stopped})
    run(campaign, minutes=10)
    ((name, words, seconds),) = started
    assert name == "row" and seconds == 600.0 and "--seeds=2" in words
    assert campaign.status(ROW) == "waiting"
    campaign, started = make(LONG, ROW)
    run(campaign, minutes=35)
    assert campaign.journal["tasks"]["row"] == {"status": "done", "seconds": 630.0, "message": ""}


def test_two_minutes_are_too_few_to_begin_a_training(make):
    campaign, started = make(ROW)
    run(campaign, minutes=2)
    assert not started


def test_a_failed_task_is_noted_with_its_line_and_runs_again_only_if_asked(make):
    ends = {"quick": Ended(1, 5.0, "not enough memory", False)}
    campaign, started = make(QUICK, ROW, ends=ends)
    run(campaign, minutes=60)
    assert [name for name, *_ in started] == ["quick", "row"]
    again, _ = make(QUICK, ROW)
    assert again.journal["tasks"]["quick"]["message"] == "not enough memory"
    assert again.waiting() == []
    again.forget_failures()
    assert again.waiting() == [QUICK]


def test_a_training_whose_directory_cannot_be_used_has_failed(make):
    campaign, started = make(QUICK, ROW)
    folder = campaign.places.workdir / "runs" / ROW.sweep
    folder.mkdir(parents=True)
    (folder / "thesis.txt").touch()
    run(campaign, minutes=60)
    assert [name for name, *_ in started] == ["quick"]
    assert "has files that are not a sweep's" in campaign.journal["tasks"]["row"]["message"]


def test_a_check_that_takes_three_times_its_price_is_given_up(make):
    campaign, started = make(QUICK, ends={"quick": Ended(-15, 180.1, "ended by SIGTERM", True)})
    run(campaign, minutes=60)
    assert started[0][2] == 180.0
    assert campaign.journal["tasks"]["quick"]["message"] == "given up after 180 s"


def test_a_check_that_was_cut_by_the_end_of_the_time_waits(make):
    campaign, _ = make(QUICK, ends={"quick": Ended(-15, 70.0, "ended by SIGTERM", True)})
    run(campaign, minutes=1.2)
    assert campaign.status(QUICK) == "waiting"


def test_tasks_that_need_the_data_wait_for_it_and_get_its_place(make):
    campaign, _ = make(LONG, QUICK, data=None)
    assert campaign.waiting() == [QUICK]
    campaign, started = make(LONG, QUICK)
    run(campaign, minutes=60)
    words = {name: words for name, words, _ in started}
    assert words["long"] == ["doctor", "--config.data.path=here"]
    assert words["quick"][1] == f"--out={campaign.result(QUICK)}"


@pytest.mark.parametrize("device,measured", [("TPU v5", True), ("H100", False)])
def test_a_training_is_measured_before_it_begins_unless_the_list_was_here(
    make, monkeypatch, device, measured
):
    campaign, started = make(ROW, device=device, measured=measured)
    price = {"way": "map", "seconds": 1500.0}
    values = iter([{"devices": ["NVIDIA H100"]}, price])
    monkeypatch.setattr(process, "value", lambda *_: next(values))
    run(campaign, minutes=60)
    assert campaign.journal["prices"] == {"row": price}
    assert "--config.parallel.seeds=map" in started[0][1]


def test_a_training_that_cannot_be_measured_has_failed(make, monkeypatch):
    campaign, started = make(ROW, QUICK, measured=False)

    def value(arguments, *_):
        if arguments[0] == "-c":
            return {"devices": ["NVIDIA H100"]}
        raise UserError("5 seeds as one program: RESOURCE_EXHAUSTED")

    monkeypatch.setattr(process, "value", value)
    run(campaign, minutes=60)
    assert [name for name, *_ in started] == ["quick"]
    assert "RESOURCE_EXHAUSTED" in campaign.journal["tasks"]["row"]["message"]


def test_a_signal_ends_the_campaign_after_its_task_has_saved(make):
    campaign, started = make(QUICK, ROW)
    stop = Preemption()
    stop.can_save = True

    def on_end(_task, _seconds):
        stop.note(15, None)

    with pytest.raises(UserError, match="SIGTERM: stopped; the same command") as caught:
        campaigns.run(campaign, Clock(60), stop, on_end)
    assert caught.value.exit_code == STOPPED and len(started) == 1


def test_the_pack_has_every_task_and_what_checks_wrote(make, tmp_path):
    campaign, _ = make(QUICK, ROW)
    run(campaign, minutes=60)
    campaign.result(QUICK).write_text(json.dumps({"config": "/home/me/x.py"}))
    size = campaign_pack.write(campaign, tmp_path / pack.NAME)
    found = pack.read(tmp_path / pack.NAME)
    assert size == (tmp_path / pack.NAME).stat().st_size and found["device"] == "NVIDIA H100"
    assert [(task["name"], task["status"]) for task in found["tasks"]] == [
        ("quick", "done"),
        ("row", "done"),
    ]
    assert found["benchmarks"] == {"quick": {"config": "x.py"}}
    assert found["logs"]["row"] == ["output of row"] and found["records"] == []


def test_what_an_earlier_pack_has_is_not_run_again_and_is_in_the_new_one(make, tmp_path):
    one = record("WRN-10-1", 0, 5.0)
    ended = [{"name": "quick", "status": "done", "seconds": 61.0, "message": ""}]
    ended += [{"name": "long", "status": "waiting", "seconds": 9.0, "message": ""}]
    before = {"tasks": ended, "benchmarks": {"quick": {"a": 1}}, "logs": {}, "records": [one]}
    campaign, started = make(QUICK, LONG, before=before)
    run(campaign, minutes=60)
    assert [name for name, *_ in started] == ["long"]
    campaign_pack.write(campaign, tmp_path / pack.NAME)
    found = pack.read(tmp_path / pack.NAME)
    assert found["benchmarks"] == {"quick": {"a": 1}} and len(found["records"]) == 1
    assert found["tasks"][0] == ended[0]
