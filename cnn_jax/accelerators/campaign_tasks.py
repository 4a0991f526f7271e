"""The tasks of a campaign as data, and their order: by value per minute.

A list is a Python file: `TASKS`, `DEVICE`, a part of the name of the device that the prices are
for, and `MEASURED`, whether they were measured there or are estimates. `experiments/campaign.py` is
the papers' CIFAR tables on an H100.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cnn_jax import config as configs
from cnn_jax import errors
from cnn_jax.errors import UserError
from cnn_jax.runs.directory import file_name
from cnn_jax.sweeps import sweep
from cnn_jax.sweeps.sweep import Sweep
from cnn_jax.sweeps.tables import Table

DATA, RESULT = "DATA", "RESULT"  # in arguments: --data of the campaign, the file of a check's JSON


class Check(NamedTuple):
    """A command of `launch.py` that runs to its end, or again from the start."""

    name: str
    value: float  # in any unit; what counts is the value per minute
    minutes: float  # on `DEVICE`
    arguments: tuple[str, ...]  # `DATA` and `RESULT` in them are replaced


class Training(NamedTuple):
    """A row of a table, with several seeds as one program; goes on where it was stopped."""

    name: str
    value: float
    minutes: float  # of all seeds, on `DEVICE`
    experiment: str
    table: str
    row: str
    seeds: int
    overrides: tuple[str, ...] = ()  # `field=value`, where `DATA` is replaced

    @property
    def arguments(self) -> tuple[str, ...]:
        """What may name the data."""
        return self.overrides

    @property
    def sweep(self) -> str:
        """The name of the sweep that its runs belong to, and of its folder."""
        text = self.experiment.removeprefix("experiments/").replace(".py", "")
        return "-".join(["".join(c if c.isalnum() else "-" for c in text), self.table])


Task = Check | Training


class TaskList(NamedTuple):
    """In the order of value per minute."""

    tasks: tuple[Task, ...]
    device: str
    is_measured: bool

    def at_once(self, task: Training) -> int:
        """The most seeds that the list trains of a row of the same table."""
        return max(t.seeds for t in self.tasks if isinstance(t, Training) and t.sweep == task.sweep)

    def find(self, name: str) -> Task:
        """Raises `UserError` where the list has no such task."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise errors.unknown("task", name, [task.name for task in self.tasks])


def read(file: Path) -> TaskList:
    """The list in a file; raises `UserError` for a file that has none, or two tasks of a name."""
    path, _ = configs.find_experiment(str(file))
    module = configs.load_module(path)
    tasks = getattr(module, "TASKS", ())
    if not tasks or not hasattr(module, "DEVICE") or not hasattr(module, "MEASURED"):
        raise UserError(f"{path} has no list: write TASKS, DEVICE and MEASURED into it", 2)
    names = [file_name(task.name) for task in tasks]
    if twice := [task.name for task in tasks if names.count(file_name(task.name)) > 1]:
        raise UserError(f"{path} has two tasks {twice[0]!r}: rename one", 2)
    return TaskList(tuple(in_order(tasks)), module.DEVICE, module.MEASURED)


def in_order(tasks: Sequence[Task]) -> list[Task]:
    """By value per minute; of equal ones as they stand."""
    return sorted(tasks, key=lambda task: -task.value / task.minutes)


def without_torch(listed: TaskList) -> TaskList:
    """The list without comparisons with PyTorch, where that is not installed."""

    def alone(task: Task) -> Task:
        if isinstance(task, Training):
            return task
        kept = (word for word in task.arguments if not word.startswith("--against="))
        return task._replace(arguments=tuple(kept))

    return listed._replace(tasks=tuple(map(alone, listed.tasks)))


def needs_data(task: Task) -> bool:
    """Whether a task names the data of the campaign."""
    return any(DATA in argument for argument in task.arguments)


def sweep_of(task: Training, runs: Path, data: str, way: str) -> Sweep:
    """The row's runs below `runs`, and the facts of its table, as `launch.py sweep` has them.

    `way`: of training several seeds as one program, `parallel.seeds`.
    """
    path, _ = configs.find_experiment(task.experiment)
    table = find_table(path, task)
    overrides = [replaced(override, {DATA: data}) for override in task.overrides]
    overrides.append(f"parallel.seeds={way}")
    words = [f"--config={task.experiment}", f"--table={task.table}"]
    words += [*(f"--config.{override}" for override in task.overrides), f"--seeds={task.seeds}"]
    command = f"python launch.py sweep {shlex.join(words)}"
    about = (overrides, task.sweep, command)
    expanded = sweep.expand(str(path), table, runs / task.sweep, task.seeds, "", *about)
    return sweep.only(expanded, [task.row])


def find_table(path: Path, task: Training) -> Table:
    """The table of a task; raises `UserError` where its experiment has none of the name."""
    tables = getattr(configs.load_experiment(path), "TABLES", {})
    if task.table not in tables:
        raise errors.unknown(f"table of {path}", task.table, tables)
    return tables[task.table]


def training_arguments(of_row: Sweep) -> list[str]:
    """Of `launch.py`: trains all seeds of a row as one program."""
    first = of_row.runs[0]
    kept = [word for word in first.arguments if not word.startswith("--workdir=")]
    return [*kept, f"--workdir={first.path.parent}", f"--seeds={len(of_row.runs)}"]


def replaced(argument: str, places: Mapping[str, str]) -> str:
    """An argument with the places of this machine in it."""
    for name, place in places.items():
        argument = argument.replace(name, place)
    return argument
