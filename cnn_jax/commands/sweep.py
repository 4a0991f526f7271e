"""Runs a table of a paper, or a grid over config fields: every row, with several seeds.

Each run is `launch.py train` in DIR/ROW/seed-I, in a process of its own. What is done is not run
again, and what was stopped goes on. When this process dies, the runs save and end. With
--cluster=slurm each run is a job, which outlives this process.
"""

import argparse
import shlex
from pathlib import Path

from rich.console import Console

import cnn_jax
from cnn_jax import config as configs
from cnn_jax import errors
from cnn_jax.commands.arguments import (
    add_config,
    experiment_anywhere,
    experiment_name,
    positive,
)
from cnn_jax.errors import UserError
from cnn_jax.sweeps.sweep import Sweep, expand, only
from cnn_jax.sweeps.tables import Table

LAUNCH = Path(cnn_jax.__file__).with_name("__main__.py")  # what starts a run


def add_arguments(add) -> None:
    """Which table, how many seeds, where, and how many runs at a time."""
    add_config(add)
    add("--table", metavar="NAME", help="of the experiment's TABLES; :variant is added to each row")
    grid = "every combination of these values; may be given again for another field"
    add("--grid", action="append", default=[], metavar="FIELD=A,B", help=grid)
    add(
        "--only", action="append", default=[], metavar="ROW", help="this row alone; may be repeated"
    )
    add("--seeds", type=positive, default=1, metavar="N", help="runs of each row; default 1")
    add("--workdir", type=Path, metavar="DIR", help="default runs/EXPERIMENT-TABLE")
    parallel = "runs at a time; default one for each GPU, else one"
    add("--parallel", type=positive, metavar="N", help=parallel)
    dry = "runs nothing: prints the runs, their size, and the time that they will take"
    add("--dry_run", action="store_true", help=dry)
    add("--no_estimate", action="store_true", help="with --dry_run: measures no time")
    commands = "runs nothing: prints the command of each run, for other launchers"
    add("--commands", action="store_true", help=commands)
    add("--cluster", choices=("slurm",), help="submits the runs as a job array, and watches them")
    limit = "of a job, after which its run saves and is queued again; default 1440"
    add("--time_limit", type=positive, default=1440, metavar="MINUTES", help=limit)
    add("--nodes", type=positive, default=1, metavar="N", help="of each run on a cluster")
    processes = "of each run on a cluster, on all its nodes; default one for each node"
    add("--processes", type=positive, metavar="N", help=processes)
    gpus = "of each run on a cluster, on all its nodes; default none"
    add("--gpus_per_run", type=positive, default=0, metavar="N", help=gpus)
    more = "for sbatch: --slurm partition=gpu; may be repeated"
    add("--slurm", action="append", default=[], metavar="KEY=VALUE", help=more)


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Trains what is left to train, and tells how it went."""
    from cnn_jax.sweeps import devices, local
    from cnn_jax.sweeps.sweep import write

    sweep = find(arguments)
    if arguments.dry_run:
        parallel = arguments.parallel or len(devices.places(None))
        dry_run(sweep, parallel, not arguments.no_estimate, console)
        return
    with local.alone_in(sweep.workdir):
        write(sweep)
        if arguments.commands:
            print("\n".join(f"{arguments.program} {shlex.join(r.arguments)}" for r in sweep.runs))
            return
        train = on_slurm if arguments.cluster else here
        runs = train(sweep, arguments, console)
    report(sweep, runs, arguments.program, console)


def here(sweep: Sweep, arguments: argparse.Namespace, console: Console):
    """Trains on this machine; gives the runs with their states."""
    from cnn_jax.sweeps import devices, local
    from cnn_jax.sweeps.status_table import LiveTable

    places = devices.places(arguments.parallel)
    children = local.Children(sweep.runs, LAUNCH)
    with LiveTable(children, console) as live:
        local.train(children, places, live.show)
    return children


def on_slurm(sweep: Sweep, arguments: argparse.Namespace, console: Console):
    """Submits what is not in the queue yet, and watches; gives the runs with their states."""
    from cnn_jax.sweeps import slurm
    from cnn_jax.sweeps.status_table import LiveTable

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
    console.print(f"submitted {count} runs; Ctrl-C ends this, not the jobs", highlight=False)
    with LiveTable(jobs, console) as live:
        slurm.follow(jobs, live.show)
    return jobs


def find(arguments: argparse.Namespace) -> Sweep:
    """The runs that the arguments ask for.

    Raises `UserError` where they ask for none, or for what the experiment does not have.
    """
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
    """The command that makes this sweep, on any machine: its data lies elsewhere there."""
    fields = ["data.path=DATA" if o.startswith("data.path=") else o for o in arguments.overrides]
    words = [
        f"--config={experiment_anywhere(arguments)}",
        *([f"--table={arguments.table}"] if arguments.table else []),
        *(f"--grid={grid}" for grid in arguments.grid),
        *(f"--config.{field}" for field in fields),
        f"--seeds={arguments.seeds}",
    ]
    return f"python launch.py sweep {shlex.join(words)}"


def find_table(file: Path, name: str) -> Table:
    """The table of that name in an experiment file."""
    tables = getattr(configs.load_experiment(file), "TABLES", {})
    if not tables:
        raise UserError(f"{file} has no TABLES; sweep over its fields with --grid FIELD=A,B", 2)
    if name not in tables:
        raise errors.unknown(f"table of {file}", name, tables)
    return tables[name]


def dry_run(sweep: Sweep, parallel: int, measure: bool, console: Console) -> None:
    """Prints a line for each row: what is different in it, its size, and the time of a run."""
    from rich import table as rich

    from cnn_jax.bench.estimate import Estimates
    from cnn_jax.sweeps.status_table import duration
    from cnn_jax.training import compiler

    compiler.enable_cache()
    estimates, total = Estimates(), 0.0
    columns = ("row", "runs", "parameters", "multiply-adds", "steps", "a run takes", "paper")
    table = rich.Table(*columns, title=sweep.facts["title"])
    published = {row["name"]: row["published"] for row in sweep.facts["rows"]}
    for name in dict.fromkeys(run.row for run in sweep.runs):
        runs = [run for run in sweep.runs if run.row == name]
        printed = ", ".join(f"{metric} {value}" for metric, value in published[name].items())
        try:
            with console.status(f"{name}: a few steps" if measure else name):
                size = estimates.size(runs[0].config)
                seconds = estimates.seconds(runs[0].config) if measure else None
        except UserError as error:
            table.add_row(name, str(len(runs)), str(error), "", "", "", printed)
            continue
        counts = (f"{count:,}" for count in (size.parameters, size.multiply_adds, size.steps))
        takes = "" if seconds is None else duration(seconds)
        total += (seconds or 0) * len(runs)
        table.add_row(name, str(len(runs)), *counts, takes, printed)
    console.print(table)
    if total:
        text = f"{len(sweep.runs)} runs, {parallel} at a time: about {duration(total / parallel)}"
        console.print(f"{text}, from a few steps of each network on this machine", highlight=False)


def report(sweep: Sweep, children, program: str, console: Console) -> None:
    """What to do next; raises `UserError` where runs failed or diverged."""
    console.print(
        f"the runs are in {sweep.workdir}; beside the paper:\n  {program} report {sweep.workdir}",
        highlight=False,
        soft_wrap=True,
    )
    for state, code in (("failed", 1), ("stopped", 75), ("diverged", 3)):
        names = [run.name for run, s in children.states.items() if s == state]
        if names:
            first = next(r for r, s in children.states.items() if s == state)
            why = f"; {first.name}: {children.messages.get(first, '')}, see {first.log}"
            raise UserError(f"{len(names)} of {len(children.states)} runs {state}{why}", code)
