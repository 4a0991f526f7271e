"""Runs a table of a paper, or a grid over config fields: every row, with several seeds.

Each run is `launch.py train` in DIR/ROW/seed-I, in a process of its own. The same command again
continues runs that were stopped, and leaves finished ones alone. When this process dies, the runs
save and end. With --cluster=slurm each run is a job, which outlives this process.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cnn_jax import config as configs
from cnn_jax import errors
from cnn_jax.commands.arguments import (
    add_config,
    experiment_anywhere,
    experiment_name,
    positive,
    quoted,
)
from cnn_jax.errors import DIVERGED, STOPPED, UserError
from cnn_jax.progress import ProgressBar, print_line

if TYPE_CHECKING:
    from cnn_jax.sweeps.local import Children
    from cnn_jax.sweeps.slurm import Jobs
    from cnn_jax.sweeps.sweep import Sweep
    from cnn_jax.sweeps.tables import Table

LAUNCH = configs.PACKAGE / "__main__.py"  # what starts a run


def add_arguments(add) -> None:
    """The table, the seeds, the directory, and how many runs train at a time."""
    add_config(add)
    add("--table", metavar="NAME", help="of the experiment's TABLES; :variant is added to each row")
    grid = "every combination of these values; may be given again for another field"
    add("--grid", action="append", default=[], metavar="FIELD=A,B", help=grid)
    row = "this row alone; may be repeated"
    add("--only", action="append", default=[], metavar="ROW", help=row)
    add("--seeds", type=positive, default=1, metavar="N", help="runs of each row; default 1")
    add("--workdir", type=Path, metavar="DIR", help="default runs/EXPERIMENT-TABLE")
    parallel = "runs at a time; default one for each GPU, else one"
    add("--parallel", type=positive, metavar="N", help=parallel)
    dry = "trains nothing: prints the rows, their sizes, and how long they will take"
    add("--dry_run", action="store_true", help=dry)
    add("--no_estimate", action="store_true", help="with --dry_run: measures no time")
    commands = "trains nothing: prints the command of each run, for other launchers"
    add("--commands", action="store_true", help=commands)
    add("--cluster", choices=("slurm",), help="submits the runs as a job array, and watches them")
    limit = "after which the run of a job saves and is queued again; default 1440"
    add("--time_limit", type=positive, default=1440, metavar="MINUTES", help=limit)
    add("--nodes", type=positive, default=1, metavar="N", help="of each run on a cluster")
    processes = "of each run on a cluster, on all its nodes; default one for each node"
    add("--processes", type=positive, metavar="N", help=processes)
    gpus = "of each run on a cluster, on all its nodes; default none"
    add("--gpus_per_run", type=positive, default=0, metavar="N", help=gpus)
    more = "for sbatch: --slurm partition=gpu; may be repeated"
    add("--slurm", action="append", default=[], metavar="KEY=VALUE", help=more)


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Trains the runs that are not finished, and says how they ended."""
    from cnn_jax.sweeps import devices, local
    from cnn_jax.sweeps.sweep import write

    sweep = find(arguments)
    if arguments.dry_run:
        parallel = arguments.parallel or len(devices.places(None))
        papers = configs.load_module(arguments.home / "experiments" / "published.py")
        dry_run(sweep, parallel, not arguments.no_estimate, papers.find, console)
        return
    with local.alone_in(sweep.workdir):
        write(sweep)
        if arguments.commands:
            for each in sweep.runs:
                print(arguments.program, *map(quoted, each.arguments))
            return
        train = train_on_slurm if arguments.cluster else train_here
        runs = train(sweep, arguments, console)
    report(sweep, runs, arguments.program, console)


def train_here(sweep: "Sweep", arguments: argparse.Namespace, console: Console) -> "Children":
    """Trains on this machine; returns the runs with their states."""
    from cnn_jax.sweeps import devices, local
    from cnn_jax.sweeps.status_table import StatusTable

    places = devices.places(arguments.parallel)
    children = local.Children(sweep.runs, LAUNCH)
    with StatusTable(children, console) as table:
        local.train(children, places, table.show)
    return children


def train_on_slurm(sweep: "Sweep", arguments: argparse.Namespace, console: Console) -> "Jobs":
    """Submits the runs that are not queued yet, and watches; returns the runs with their states."""
    from cnn_jax.sweeps import slurm
    from cnn_jax.sweeps.status_table import StatusTable

    resources = slurm.Resources(
        minutes=arguments.time_limit,
        nodes=arguments.nodes,
        processes=arguments.processes or arguments.nodes,
        gpus=arguments.gpus_per_run,
        at_once=arguments.parallel,
        more=dict(configs.split_override(pair) for pair in arguments.slurm),
    )
    jobs = slurm.Jobs(sweep, LAUNCH)
    count = jobs.submit(resources)
    print_line(console, f"submitted {count} runs; Ctrl-C ends this command, not the jobs")
    with StatusTable(jobs, console) as table:
        slurm.watch(jobs, table.show)
    return jobs


def find(arguments: argparse.Namespace) -> "Sweep":
    """The runs that the arguments ask for.

    Raises `UserError` where they ask for none, or for what the experiment does not have.
    """
    from cnn_jax.sweeps.sweep import expand, only

    file, variant = configs.find_experiment(arguments.config)
    if bool(arguments.table) == bool(arguments.grid):
        raise UserError("name --table=NAME, or --grid FIELD=A,B; `launch.py list` shows tables", 2)
    if arguments.grid:
        from cnn_jax.sweeps import grid

        title = experiment_anywhere(arguments)
        table, name, added = grid.table(arguments.grid, title, variant), "grid", ""
    else:
        table, name, added = find_table(file, arguments.table), arguments.table, variant
    name = f"{experiment_name(arguments)}-{name}"
    sweep = expand(
        str(file),
        table,
        arguments.workdir or Path("runs") / name,
        arguments.seeds,
        added,
        arguments.overrides,
        name,
        command(arguments),
    )
    return only(sweep, arguments.only) if arguments.only else sweep


def command(arguments: argparse.Namespace) -> str:
    """The command of this sweep for any machine; the path of the data is replaced."""
    fields = ["data.path=DATA" if o.startswith("data.path=") else o for o in arguments.overrides]
    words = [
        f"--config={experiment_anywhere(arguments)}",
        *([f"--table={arguments.table}"] if arguments.table else []),
        *(f"--grid={grid}" for grid in arguments.grid),
        *(f"--config.{field}" for field in fields),
        f"--seeds={arguments.seeds}",
    ]
    return f"python launch.py sweep {' '.join(map(quoted, words))}"


def find_table(file: Path, name: str) -> "Table":
    """The table `name` of an experiment file; raises `UserError` where there is none."""
    tables = getattr(configs.load_experiment(file), "TABLES", {})
    if not tables:
        raise UserError(f"{file} has no TABLES; sweep over its fields with --grid FIELD=A,B", 2)
    if name not in tables:
        raise errors.unknown(f"table of {file}", name, tables)
    return tables[name]


def dry_run(
    sweep: "Sweep", parallel: int, measure: bool, find_published: Callable, console: Console
) -> None:
    """Prints a line for each row: its runs, its size, and how long one of them takes.

    `find_published` is that of experiments/published.py, for the sizes that papers print.
    """
    from rich.table import Table

    from cnn_jax.bench.estimate import Estimates
    from cnn_jax.files import keep_compiled
    from cnn_jax.sweeps.status_table import duration

    keep_compiled()
    estimates, total = Estimates(), 0.0
    columns = ("row", "runs", "parameters (published)", "multiply-adds (published)")
    columns += ("steps", "a run takes", "paper")
    table = Table(*columns, title=sweep.facts["title"])
    published = {row["name"]: row["published"] for row in sweep.facts["rows"]}
    # A row that shares the runs of an earlier one takes no time of its own.
    rows = list(dict.fromkeys(run.row for run in sweep.runs))
    with ProgressBar(console) as bar:
        for done, name in enumerate(rows):
            bar.show("row", done, len(rows), name)
            runs = [run for run in sweep.runs if run.row == name]
            printed = ", ".join(f"{metric} {value}" for metric, value in published[name].items())
            try:
                size = estimates.size(runs[0].config)
                seconds = estimates.seconds(runs[0].config) if measure else None
            except UserError as error:
                table.add_row(name, str(len(runs)), str(error), "", "", "", printed)
                continue
            papers = find_published(runs[0].config.model.to_dict(), size.classes, size.image)
            quantities = ("parameters", "multiply_adds")
            counts = [beside(getattr(size, name), name, papers) for name in quantities]
            counts.append(f"{size.steps:,}")
            takes = "" if seconds is None else duration(seconds)
            total += (seconds or 0) * len(runs)
            table.add_row(name, str(len(runs)), *counts, takes, printed)
    console.print(table)
    if total:
        text = f"{len(sweep.runs)} runs, {parallel} at a time: about {duration(total / parallel)}"
        print_line(console, f"{text}, from a few steps of each network on this machine")


def beside(count: int, quantity: str, papers: Sequence[Any]) -> str:
    """A count, and in brackets the first that a paper has of this quantity."""
    printed = next((f" ({size})" for size in papers if size.quantity == quantity), "")
    return f"{count:,}{printed}"


def report(sweep: "Sweep", runs: "Children | Jobs", program: str, console: Console) -> None:
    """Prints what to do next; raises `UserError` where runs failed, stopped or diverged."""
    print_line(console, f"the runs are in {sweep.workdir}; beside the paper:")
    print_line(console, f"  {program} report {quoted(sweep.workdir)}")
    for state, code in (("failed", 1), ("stopped", STOPPED), ("diverged", DIVERGED)):
        ended = [run for run, ended_as in runs.states.items() if ended_as == state]
        if ended:
            why = f"{ended[0].name}: {runs.messages.get(ended[0], '')}, see {ended[0].log}"
            raise UserError(f"{len(ended)} of {len(runs.states)} runs {state}; {why}", code)
