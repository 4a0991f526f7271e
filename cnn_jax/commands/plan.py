"""What a recipe needs on GPUs or TPUs that need not be here: memory, speed at best, duration.

Everything is counted from the network's layers, then compiled for the target, which needs its
compiler as a package. The speed is an upper bound: nothing is measured.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from cnn_jax import config as configs
from cnn_jax.commands.arguments import add_config, load_config
from cnn_jax.commands.sweep import find_table
from cnn_jax.errors import UserError
from cnn_jax.progress import PlainConsole, ProgressBar, print_line

if TYPE_CHECKING:
    from cnn_jax.accelerators.costs import Job
    from cnn_jax.accelerators.targets import Target
    from cnn_jax.sweeps.tables import Row

GIGA = 1e9


def add_arguments(add) -> None:
    """The recipe, or a table of it; the devices; how long to compile."""
    add_config(add)
    target = "gpu:h100:8, gpu:h100:2x8 (two hosts), tpu:v5e:2x2, ..."
    add("--target", required=True, metavar="TARGET", help=target)
    add("--table", metavar="NAME", help="a line for each row of the experiment's table; counted")
    add("--analytic", action="store_true", help="counts only, and compiles nothing")
    minutes = "after which no compilation is waited for; default 4"
    add("--minutes", type=float, default=4.0, metavar="M", help=minutes)
    file = "the text of a GpuTargetConfigProto, of another GPU than XLA would be told of"
    add("--target_config", type=Path, metavar="FILE", help=file)
    add("--json", action="store_true", help="prints JSON, for programs")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Prints a table for the recipe, or for the rows of a table."""
    import jax

    from cnn_jax.accelerators import gpu_configs, targets

    jax.config.update("jax_platforms", "cpu")  # an accelerator that is here stays others'
    target = targets.parse(arguments.target)
    if arguments.target_config:
        if target.platform != "gpu":
            raise UserError(f"--target_config is of GPUs, and the target is {target}", 2)
        gpu_configs.read(arguments.target_config)
    if arguments.minutes <= 0:
        raise UserError(f"--minutes={arguments.minutes:g}: it must be more than 0", 2)
    if arguments.table:
        plan_table(arguments, target, console)
    else:
        plan_recipe(arguments, target, console)


def plan_recipe(arguments: argparse.Namespace, target: "Target", console: Console) -> None:
    """Prints what is counted beside what the compiler tells."""
    from cnn_jax.accelerators import costs

    job = costs.count(load_config(arguments), target)
    result = {
        "config": arguments.config,
        "overrides": arguments.overrides,
        **facts(job),
        "counted": costs.conclude(job, job.costs),
    }
    if not arguments.analytic:
        result |= compile_it(arguments, job, PlainConsole(stderr=True))
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        show(result, console)


def facts(job: "Job") -> dict[str, Any]:
    """What is planned, as JSON values."""
    chip, config = job.target.chip, job.parts.config
    return {
        "target": str(job.target),
        "devices": job.target.devices,
        "device_memory": chip.memory,
        "network": config.model.to_dict(),
        "batch_size": config.training.batch_size,
        "streamed": config.data.storage == "stream",
        **{name: getattr(job.size, name) for name in ("parameters", "multiply_adds", "steps")},
    }


def compile_it(arguments: argparse.Namespace, job: "Job", console: Console) -> dict[str, Any]:
    """The part of the result that the compiler tells, or why it does not."""
    from cnn_jax.accelerators import compile_process, costs, topologies

    batch, unit = job.parts.plan.batch_size, job.unit
    other = batch // 2 // unit * unit or 2 * unit
    order = compile_process.Order(
        experiment=arguments.config,
        overrides=arguments.overrides,
        target=str(job.target),
        target_config=str(arguments.target_config) if arguments.target_config else None,
        batches=(batch, other),
        seconds=60 * arguments.minutes,
    )
    print_line(console, f"compiling for {job.target}, {arguments.minutes:g} minutes at most")
    answer = compile_process.ask(order, topologies.environment(job.target))
    if not answer.programs:
        compiles = False if answer.refused else None  # None: nobody knows
        return {"compiles": compiles, "not_compiled": answer.reason}
    compiled = costs.conclude(job, costs.told(job, answer.programs))
    return {"compiles": True, "compiled": compiled, "programs": answer.programs}


def show(result: dict[str, Any], console: Console) -> None:
    """Prints a line for each quantity, counted and compiled."""
    network = result["network"]
    print_line(
        console,
        f"{result['config']}: {network['name']}, {result['parameters']:,} parameters, "
        f"{result['multiply_adds']:,} multiply-adds an image, {network['dtype']}; "
        f"batch {result['batch_size']}, {result['steps']:,} steps; {result['target']}",
    )
    columns = [name for name in ("counted", "compiled") if name in result]
    table = Table("of a step, and of each device", *columns)
    texts = [cells(result[name], result) for name in columns]
    for quantity in texts[-1] | texts[0]:
        table.add_row(quantity, *(text.get(quantity, "") for text in texts))
    console.print(table)
    if reason := result.get("not_compiled"):
        says = "the compiler refuses it" if result["compiles"] is False else "not compiled"
        print_line(console, f"{says}: {reason}")
    if "compiled" in result:
        times = ((p["batch_size"], p["compiling_seconds"]) for p in result["programs"])
        lines = ", ".join(f"batch {batch} in {seconds:.0f} s" for batch, seconds in times)
        print_line(console, f"it compiles: {lines}")
    if result["streamed"]:
        rate = result[columns[-1]]["images_per_second"]
        print_line(console, f"for that the hosts must read and decode {rate:,.0f} images/s")


def cells(found: dict[str, Any], result: dict[str, Any]) -> dict[str, str]:
    """The numbers of a column as text, by quantity; without those that are zero or not known."""
    limit, fits = result["device_memory"], "fits" if found["fits"] else "does not fit"
    texts = {
        "arithmetic": f"{found['flops'] / 1e12:,.3f} TFLOP",
        "memory traffic": f"{found['bytes'] / GIGA:,.2f} GB",
        "memory traffic of an image": f"{found['bytes_per_image'] / 1e6:,.1f} MB",
    }
    if found["all_reduced_bytes"]:
        texts["added up over devices"] = f"{found['all_reduced_bytes'] / 1e6:,.1f} MB"
    if found["kernels"]:
        texts["kernels"] = f"{found['kernels']:,.0f}"
    return {
        **texts,
        "memory": f"{found['memory_bytes'] / GIGA:.2f} of {limit / GIGA:.1f} GB, {fits}",
        "largest batch": f"{found['largest_batch']:,}",
        **{f"least time, {k}": f"{1e3 * s:,.3f} ms" for k, s in found["seconds"].items() if s},
        "images/s at best": f"{found['images_per_second']:,.0f}, limited by {found['limit']}",
        "the recipe in full": f"{takes(found)}, {found['device_hours']:,.3g} device-hours",
    }


def takes(found: dict[str, Any]) -> str:
    """How long the recipe takes."""
    from cnn_jax.sweeps.status_table import duration

    days = found["days"]
    return f"{days:,.1f} days" if days >= 2 else duration(86400 * days)


def find(arguments: argparse.Namespace) -> list["Row"]:
    """The rows of `--table`; none without. Raises `UserError` for a table that there is not."""
    if not arguments.table:
        return []
    file, _ = configs.find_experiment(arguments.config)
    return list(find_table(file, arguments.table).rows())


def plan_table(arguments: argparse.Namespace, target: "Target", console: Console) -> None:
    """Prints a line for each row of a table of the experiment, counted."""
    from cnn_jax.accelerators import costs
    from cnn_jax.sweeps import sweep

    file, variant = configs.find_experiment(arguments.config)
    rows, results = find(arguments), []
    with ProgressBar(PlainConsole(stderr=True) if arguments.json else console) as bar:
        for done, row in enumerate(rows):
            bar.show("row", done, len(rows), row.name)
            pairs = [*sweep.as_text(row.overrides), *arguments.overrides]
            try:
                config = configs.load_config(f"{file}:{sweep.join(row.variant, variant)}", pairs)
                job = costs.count(config, target)
                result = {**facts(job), "counted": costs.conclude(job, job.costs)}
            except UserError as error:
                result = {"error": str(error)}
            results.append({"row": row.name, **result})
    if arguments.json:
        print(json.dumps({"target": str(target), "rows": results}, indent=1))
    else:
        show_rows(results, target, console)


def show_rows(results: list[dict[str, Any]], target: "Target", console: Console) -> None:
    """Prints a line for each row."""
    columns = ("row", "parameters", "multiply-adds", "batch", "MB an image", "GB a device")
    columns += ("largest batch", "images/s at best", "limit", "takes", "device-hours")
    table = Table(*columns, title=f"counted, on {target}")
    for result in results:
        if "error" in result:
            table.add_row(result["row"], result["error"])
            continue
        found = result["counted"]
        table.add_row(
            result["row"],
            f"{result['parameters']:,}",
            f"{result['multiply_adds']:,}",
            f"{result['batch_size']:,}",
            f"{found['bytes_per_image'] / 1e6:,.1f}",
            f"{found['memory_bytes'] / GIGA:,.2f}{'' if found['fits'] else ', does not fit'}",
            f"{found['largest_batch']:,}",
            f"{found['images_per_second']:,.0f}",
            found["limit"],
            takes(found),
            f"{found['device_hours']:,.3g}",
        )
    console.print(table)
