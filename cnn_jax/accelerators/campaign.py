"""A campaign: the tasks of a list, as many as fit in a time, each in a process of its own.

It can be killed at any moment and goes on: trainings are runs in directories, which continue by
themselves, checks begin again, and the journal keeps what has ended.
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cnn_jax.accelerators import campaign_process as process
from cnn_jax.accelerators import campaign_tasks as tasks
from cnn_jax.accelerators.campaign_process import Ended
from cnn_jax.accelerators.campaign_tasks import DATA, RESULT, Check, Task, TaskList, Training
from cnn_jax.cluster.preemption import Preemption
from cnn_jax.errors import DIVERGED, STOPPED, UserError
from cnn_jax.files import read_json, write_json
from cnn_jax.runs.directory import file_name, is_open
from cnn_jax.sweeps import run_progress, sweep
from cnn_jax.sweeps.sweep import Sweep

JOURNAL, RUNS, LOGS, RESULTS = "journal.json", "runs", "logs", "results"
GROUPS = ("environment", "tasks", "prices", "ways")  # of the journal
ENDED = ("done", "diverged", "failed")  # states of tasks that are not run again
START_SECONDS = 60.0  # of a training that goes on, before it takes a step
PATIENCE = 3  # times its price, after which a check is given up
LEAST_SECONDS = 180.0  # with so much time left a training is begun that will not end in it


class Places(NamedTuple):
    """Where a campaign reads and writes, and how it starts a process."""

    workdir: Path
    tasks: Path  # the file of the list
    data: str | None  # for the tasks that name it
    environment: Mapping[str, str]  # of the processes
    before: Mapping[str, Any] | None = None  # the pack of an earlier campaign, elsewhere


class Campaign:
    """What has ended, what is left, and what that costs."""

    def __init__(self, listed: TaskList, places: Places):
        self.listed, self.places = listed, places
        self.journal: dict[str, Any] = {name: {} for name in GROUPS}
        file = places.workdir / JOURNAL
        if file.exists():
            self.journal |= read_json(file)
        for task in (places.before or {"tasks": ()})["tasks"]:
            if task["status"] in ENDED:
                self.journal["tasks"].setdefault(task["name"], without_name(task))
        self._sweeps: dict[str, Sweep] = {}  # for the prices

    @property
    def device(self) -> str:
        """The kind of the first device; empty before anything was asked of it."""
        return next(iter(self.journal["environment"].get("devices", ())), "")

    def waiting(self) -> list[Task]:
        """The tasks that have not ended, in order, without those whose data is not there."""
        return [
            task
            for task in self.listed.tasks
            if self.status(task) not in ENDED
            and (self.places.data is not None or not tasks.needs_data(task))
        ]

    def status(self, task: Task) -> str:
        """One of `ENDED`, or "waiting"."""
        return self.journal["tasks"].get(task.name, {}).get("status", "waiting")

    def price(self, task: Task) -> tuple[float, str]:
        """The seconds that a task will take, or took, and how that is known, or why it failed."""
        if self.status(task) in ENDED:
            ended = self.journal["tasks"][task.name]
            return ended["seconds"], ended["message"] or "measured"
        listed = task.minutes * 60, f"the list, for {self.listed.device}"
        return self._measured(task) or listed

    def needs_measuring(self, task: Task) -> bool:
        """Whether the price of a training is an estimate, or for another device."""
        is_good = self.is_on_its_device and self.listed.is_measured
        return isinstance(task, Training) and not is_good and self._measured(task) is None

    def _measured(self, task: Task) -> tuple[float, str] | None:
        """The price by the steps of a training, those that it has taken or some before it began."""
        if isinstance(task, Training) and not math.isnan(left := self._seconds_left(task)):
            return left + START_SECONDS, "its steps up to now"
        if task.name in self.journal["prices"]:
            return self.journal["prices"][task.name]["seconds"], "some steps here"
        return None

    @property
    def is_on_its_device(self) -> bool:
        """Whether the prices of the list are for the device here."""
        return self.listed.device.lower() in self.device.lower()

    def _seconds_left(self, task: Training) -> float:
        """By the speed of its runs up to now; NaN before their first step."""
        if task.name not in self._sweeps:
            self._sweeps[task.name] = self.sweep_of(task)
        return max(run_progress.read(run).seconds_left for run in self._sweeps[task.name].runs)

    def sweep_of(self, task: Training) -> Sweep:
        """The runs of a training; all of a table are trained in the same way."""
        way = self.journal["ways"].get(task.sweep, "auto")
        return tasks.sweep_of(task, self.places.workdir / RUNS, self.places.data or DATA, way)

    def note(self, group: str, values: Mapping[str, Any]) -> None:
        """Adds to a group of the journal, which is whole on disk at any moment."""
        self.journal[group] |= values
        self.places.workdir.mkdir(parents=True, exist_ok=True)
        write_json(self.places.workdir / JOURNAL, self.journal)

    def forget_failures(self) -> None:
        """Lets the tasks that have failed run once more."""
        waiting = {"status": "waiting"}
        found = self.journal["tasks"].items()
        failed = {name: about | waiting for name, about in found if about["status"] == "failed"}
        self.note("tasks", failed)

    def log(self, name: str) -> Path:
        """The output of a task."""
        return self.places.workdir / LOGS / f"{file_name(name)}.log"

    def result(self, task: Task) -> Path:
        """The JSON that a check may write."""
        return self.places.workdir / RESULTS / f"{file_name(task.name)}.json"


def without_name(task: Mapping[str, Any]) -> dict[str, Any]:
    """What a journal says of a task, out of a pack."""
    return {key: value for key, value in task.items() if key != "name"}


class Clock:
    """The time that a campaign has."""

    def __init__(self, seconds: float):
        self._ends = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self._ends - time.monotonic()


def run(
    campaign: Campaign, clock: Clock, stop: Preemption, on_end: Callable[[Task, float], None]
) -> None:
    """Runs tasks until none is left that fits.

    Args:
      clock: whose time ends a little early, so that the last task can save.
      on_end: called with each task that ended or was stopped, and the seconds that it took now.

    Raises:
      UserError: stopped by a signal, or JAX does not start here.
    """
    log = campaign.log("device")
    about = (campaign.places.environment, clock.left, stop)
    campaign.note("environment", process.value(["-c", process.DESCRIBE], log, *about))
    while not stop.requested and (task := choose(campaign, clock, stop)):
        try:
            ended = run_task(campaign, task, clock, stop)
        except UserError as error:  # a directory that cannot be used
            ended = Ended(error.exit_code, 0.0, str(error), False)
        campaign.note("tasks", {task.name: entry(campaign, task, ended)})
        on_end(task, ended.seconds)
    if stop.requested:
        text = f"{stop.requested.name}: stopped; the same command goes on from there"
        raise UserError(text, STOPPED)


def choose(campaign: Campaign, clock: Clock, stop: Preemption) -> Task | None:
    """The next task: the first that fits, else the first training, which will go on another time.

    What a training takes is measured before it begins, where the list has an estimate or a price
    for another device.
    """
    for task in campaign.waiting():
        may_fit = campaign.price(task)[0] <= clock.left or not campaign.is_on_its_device
        is_ready = may_fit and is_known(campaign, task, clock, stop)
        if is_ready and campaign.price(task)[0] <= clock.left:
            return task
    for task in campaign.waiting():
        may_begin = isinstance(task, Training) and clock.left >= LEAST_SECONDS
        if may_begin and is_known(campaign, task, clock, stop):
            return task
    return None


def is_known(campaign: Campaign, task: Task, clock: Clock, stop: Preemption) -> bool:
    """Whether the price of a task is known well enough to begin it; measures it if need be.

    A training that cannot be measured has failed.
    """
    if not campaign.needs_measuring(task):
        return True
    words = [f"--tasks={campaign.places.tasks}", f"--price={task.name}"]
    words += [f"--workdir={campaign.places.workdir}"]
    words += [f"--data={campaign.places.data}"] if campaign.places.data else []
    arguments = [str(process.LAUNCH), "campaign", *words]
    log = campaign.log(f"price of {task.name}")
    try:
        found = process.value(arguments, log, campaign.places.environment, clock.left, stop)
    except UserError as error:
        if not stop.requested and clock.left > 0:
            failed = {"status": "failed", "seconds": 0.0, "message": str(error)}
            campaign.note("tasks", {task.name: failed})
        return False
    campaign.note("ways", {task.sweep: found["way"]})
    campaign.note("prices", {task.name: found})
    return True


def run_task(campaign: Campaign, task: Task, clock: Clock, stop: Preemption) -> Ended:
    """Runs a task as long as there is time, a check also no longer than its price allows."""
    seconds = max(clock.left, 0.0)
    if isinstance(task, Training):
        of_row = campaign.sweep_of(task)
        of_row.workdir.mkdir(parents=True, exist_ok=True)
        sweep.write(of_row)
        while any(is_open(r.path) for r in of_row.runs) and clock.left > 0 and not stop.requested:
            time.sleep(process.POLL_SECONDS)  # a run of the campaign that was killed saves still
        words = tasks.training_arguments(of_row)
    else:
        seconds = min(seconds, PATIENCE * campaign.price(task)[0])
        campaign.result(task).parent.mkdir(parents=True, exist_ok=True)
        places = {DATA: campaign.places.data or DATA, RESULT: str(campaign.result(task))}
        words = [tasks.replaced(word, places) for word in task.arguments]
    arguments = [str(process.LAUNCH), *words]
    about = (campaign.log(task.name), campaign.places.environment, seconds, stop)
    return process.launch(arguments, *about)


def entry(campaign: Campaign, task: Task, ended: Ended) -> dict[str, Any]:
    """What the journal says of a task that ended."""
    before = campaign.journal["tasks"].get(task.name, {"seconds": 0.0})
    names = {0: "done", DIVERGED: "diverged", STOPPED: "waiting"}
    status, message = names.get(ended.code, "failed"), ended.message
    if ended.was_stopped:
        given_up = isinstance(task, Check) and ended.seconds >= PATIENCE * task.minutes * 60
        status = "failed" if given_up else "waiting"
        message = f"given up after {ended.seconds:,.0f} s" if given_up else message
    seconds = round(before["seconds"] + ended.seconds, 1)
    return {"status": status, "seconds": seconds, "message": message}
