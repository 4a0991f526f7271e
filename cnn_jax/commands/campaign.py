"""Measures an accelerator for as long as it is rented: checks, speed, the papers' CIFAR tables.

Runs the tasks of a list in the order of value per minute, as many as fit in --budget. The same
command goes on after a kill, or in the next hour. What was measured is packed after each task into
OUT/campaign.json.gz, which `report` reads.
"""

import argparse
import importlib.util
import json
import os
import re
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cnn_jax import config as configs
from cnn_jax import data, wheels
from cnn_jax.accelerators import campaign as campaigns
from cnn_jax.accelerators import campaign_pack, campaign_tasks
from cnn_jax.accelerators.campaign import LEAST_SECONDS, Campaign, Clock, Places
from cnn_jax.accelerators.campaign_tasks import Task, Training
from cnn_jax.analysis import pack
from cnn_jax.cluster import preemption
from cnn_jax.commands.arguments import quoted
from cnn_jax.data.prepare import pieces
from cnn_jax.errors import UserError
from cnn_jax.files import cache_folder
from cnn_jax.progress import print_line
from cnn_jax.sweeps.local import alone_in
from cnn_jax.sweeps.status_table import duration

TASKS, WORKDIR = Path("experiments/campaign.py"), Path("runs/campaign")
UNITS = (3600, 60, 1)  # seconds of h, m, s
SAVING = 60.0  # seconds before the end, or a twentieth of the time: the last training saves


def add_arguments(add) -> None:
    """The time, the data, the list, and the places of what comes of it."""
    add("--budget", type=budget, metavar="TIME", help="of this command: 55m, 1h30m, 600s")
    cifar = "CIFAR-10: archive, folder, or the folder of its pieces (`launch.py data split`)"
    add("--data", type=Path, metavar="DATA", help=cifar)
    add("--out", type=Path, metavar="DIR", help="of the pack; default the workdir")
    add("--workdir", type=Path, default=WORKDIR, metavar="DIR", help=f"default {WORKDIR}")
    add("--tasks", type=Path, default=TASKS, metavar="FILE", help=f"the list; default {TASKS}")
    after = "what this has is not run again: of a machine of the same kind that is gone"
    add("--after", type=Path, metavar="PACK", help=after)
    add("--dry_run", action="store_true", help="runs nothing: prints the order, with prices")
    add("--retry", action="store_true", help="runs the tasks that have failed once more")
    add("--price", metavar="TASK", help="prints what a training takes, of some steps here")
    add("--wheels", type=Path, metavar="DIR", help="packages that are not installed here")
    add("--make_wheels", type=Path, metavar="DIR", help="downloads them, and does nothing else")


def budget(text: str) -> float:
    """The seconds of 55m, 1h30m or 600s."""
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    numbers = parts.groups(default="0") if parts else ()
    seconds = sum(int(number) * unit for number, unit in zip(numbers, UNITS, strict=False))
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 55m, 1h30m or 600s")
    return float(seconds)


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Runs the campaign, or prints what it would do."""
    if arguments.make_wheels:
        make_wheels(arguments, console)
        return
    listed = campaign_tasks.read(arguments.tasks)
    if not importlib.util.find_spec("torchvision"):
        listed = campaign_tasks.without_torch(listed)
    before = pack.read(arguments.after) if arguments.after else None
    about = (arguments.tasks, find_data(arguments), dict(os.environ), before)
    campaign = Campaign(listed, Places(arguments.workdir, *about))
    if arguments.price:
        print_price(campaign, arguments.price)
    elif arguments.dry_run:
        console.print(dry_run(campaign, arguments.budget))
    elif arguments.budget is None:
        raise UserError("how long? --budget=55m; --dry_run prints what there is to run", 2)
    else:
        run_campaign(campaign, arguments, console)


def make_wheels(arguments: argparse.Namespace, console: Console) -> None:
    """Downloads the wheels and prints them."""
    made = wheels.download(arguments.make_wheels, arguments.home / "requirements.txt")
    for file in made:
        print_line(console, f"{file}: {file.stat().st_size / 1e6:.2f} MB")


def find_data(arguments: argparse.Namespace) -> str | None:
    """The path of the data; pieces are joined in the cache folder first."""
    if arguments.data is None:
        return None
    path = arguments.data.expanduser()
    if not path.exists():
        raise UserError(f"--data: there is no {path}")
    if pieces.is_split(path):
        path = pieces.join(path, cache_folder("joined"))
    return str(path.absolute())


def print_price(campaign: Campaign, name: str) -> None:
    """Measures a training of the list, and prints what was found as JSON."""
    from cnn_jax.accelerators import campaign_price
    from cnn_jax.files import keep_compiled

    task = campaign.listed.find(name)
    if not isinstance(task, Training):
        raise UserError(f"{name} is a check, whose price stands in the list", 2)
    keep_compiled()
    config = campaign.sweep_of(task).runs[0].config
    ways = campaign.journal["ways"].get(task.sweep)
    seeds = (task.seeds, campaign.listed.at_once(task))
    print(json.dumps(campaign_price.measure(config, *seeds, [ways] if ways else None)))


def dry_run(campaign: Campaign, seconds: float | None) -> Table:
    """The tasks in order with their prices, and which of them fit in the time."""
    left = float("inf") if seconds is None else time_to_use(seconds)
    waiting = campaign.waiting()
    title = f"{len(waiting)} of {len(campaign.listed.tasks)} tasks are left"
    if not campaign.listed.is_measured:
        title += "; prices of the list are estimates, not measured"
    table = Table("task", "state", "takes", "known by", "in this time", title=title)
    for task in campaign.listed.tasks:
        price, source = campaign.price(task)
        state, fits = campaign.status(task), ""
        if task not in waiting and state == "waiting":
            state = "needs --data"
        elif task in waiting and seconds is not None:
            fits = "yes" if price <= left else "no"
            left -= price if price <= left else 0
        table.add_row(task.name, state, duration(price), source, fits)
    return table


def time_to_use(seconds: float) -> float:
    """A budget without the time in which the last training saves."""
    return seconds - min(SAVING, seconds / 20)


def run_campaign(campaign: Campaign, arguments: argparse.Namespace, console: Console) -> None:
    """Runs what fits; packs what was measured after each task, and at the end."""
    file = (arguments.out or arguments.workdir) / pack.NAME
    with alone_in(arguments.workdir, "campaign"), preemption.listening() as stop:
        stop.can_save = True  # whatever comes, the journal and the runs are whole
        if arguments.retry:
            campaign.forget_failures()
        check_budget(campaign, time_to_use(arguments.budget))
        check_data(campaign)
        clock = campaigns.Clock(time_to_use(arguments.budget))
        report = Report(campaign, clock, file, console)
        try:
            campaigns.run(campaign, clock, stop, report.on_end)
        finally:
            report.pack()
            console.print(dry_run(campaign, None))
    print_line(console, f"what was measured is in {file}; a checkout takes it in with")
    print_line(console, f"  {arguments.program} report {quoted(file)} --record")


def check_budget(campaign: Campaign, seconds: float) -> None:
    """Raises `UserError` where no task can be begun in the time, with those that need the least."""
    waiting = sorted(campaign.waiting(), key=lambda task: campaign.price(task)[0])
    if not waiting or campaign.price(waiting[0])[0] <= seconds:
        return
    if seconds >= LEAST_SECONDS and any(isinstance(task, Training) for task in waiting):
        return
    some = (f"{task.name} ({duration(campaign.price(task)[0])})" for task in waiting[:3])
    text = "no task that is left fits in the --budget; those that need the least: "
    raise UserError(text + ", ".join(some), 2)


def check_data(campaign: Campaign) -> None:
    """Reads the data once, so that a wrong --data is told before the first task."""
    for task in campaign.waiting():
        if isinstance(task, Training) and campaign_tasks.needs_data(task):
            group = campaign.sweep_of(task).runs[0].config.data
            configs.call(data.open, "data", group)
            return


class Report:
    """What a person sees of a campaign, and the pack that is sent home."""

    def __init__(self, campaign: Campaign, clock: Clock, file: Path, console: Console):
        self._campaign, self._clock, self._file, self._console = campaign, clock, file, console

    def on_end(self, task: Task, seconds: float) -> None:
        """Prints how a task ended, and packs."""
        entry = self._campaign.journal["tasks"][task.name]
        about = f"{entry['status']} after {duration(seconds)}"
        why = f"  ({entry['message']})" if entry["message"] else ""
        left = f"{duration(max(self._clock.left, 0))} left"
        print_line(self._console, f"{task.name}: {about}, {left}{why}")
        self.pack()

    def pack(self) -> None:
        """Writes the pack, and says where it is too large."""
        size = campaign_pack.write(self._campaign, self._file) / 1e6
        if size > pack.MEGABYTES:
            print_line(self._console, f"note: {self._file} has {size:.1f} MB")
