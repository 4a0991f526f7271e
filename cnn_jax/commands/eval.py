"""Errors of a run, of several as an ensemble, or of weights from elsewhere, over a whole split."""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

import cnn_jax
from cnn_jax import errors
from cnn_jax.commands.arguments import load_config, positive
from cnn_jax.progress import PlainConsole, ProgressBar, print_line

WEIGHTS = ("raw", "ema", "bn", "ema_bn")
SIZES = ("resize", "crop", "sides", "multiple")


def add_arguments(add) -> None:
    """Which weights, which data, which views of it, and where the results go."""
    add("runs", type=Path, nargs="*", metavar="RUN", help="the directory of a run")
    add("--ensemble", action="store_true", help="several RUNs: the mean of their scores")
    add("--step", default="last", help="last, best (lowest validation error), or a number")
    weights = "weights from elsewhere, with --config: a file, torchvision:NAME, hub:OWNER/NAME"
    add("--weights", metavar="WEIGHTS", help=weights)
    add("--config", metavar="FILE[:variant]", help="the network and data of --weights")
    add("--config.FIELD", dest="_", metavar="VALUE", help="changes a field: --config.data.path=DIR")
    add("--weights_of", metavar="LIST", help=f"of {', '.join(WEIGHTS)}, with commas between; "
        "bn: batch statistics measured anew; default those that the run evaluates")  # fmt: skip
    add("--bn_batches", type=positive, default=50, metavar="N", help="training batches for bn")
    add("--split", help="train, validation or test; default test, else validation or train")
    add("--data", metavar="PATH", help="where the data is now; default where the run found it")
    add("--protocol", default="center", help="center, ten_crop, crops_12, crops_144, multi_scale")
    add(
        "--resize", type=positive, metavar="PIXELS", help="shorter side, where there are no --sides"
    )
    add("--resize_to", metavar="shorter|square", help="square: both sides, as Caffe's tools")
    add("--crop", type=positive, metavar="PIXELS", help="side of the crops")
    add("--sides", type=numbers, metavar="LIST", help="shorter sides of crops_144, multi_scale")
    add("--multiple", type=positive, metavar="N", help="multi_scale cuts to multiples of it")
    add("--filter", metavar="NAME", help="for resizing; default that of the evaluation view")
    add("--flip", action="store_true", help="mirror images too")
    add("--average", metavar="softmax|logits", default="softmax", help="over views and RUNs")
    add("--batch", type=positive, metavar="N", help="crops at a time; default evaluation's")
    add("--out", type=Path, metavar="DIR", help="default evaluations/ of the (first) RUN")
    add("--no_logits", action="store_true", help="writes no predictions.npz")
    add("--json", action="store_true", help="prints JSON, for programs")


def numbers(text: str) -> tuple[int, ...]:
    """The numbers in a text such as "224,256"."""
    return tuple(positive(part) for part in text.split(","))


class Opened(NamedTuple):
    """The network and the weights that the arguments name."""

    target: Any  # an `EvalTarget`
    variables: Callable[[str], Any]  # "raw" or "ema" -> variables, or None where there are none
    default: str  # "raw" or "ema", where --weights_of is not given
    title: str
    about: dict[str, Any]  # stands in each result
    files: str  # the end of the folders' names


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Evaluates, writes the results, and prints a table or JSON."""
    from cnn_jax.files import keep_compiled

    keep_compiled()
    check(arguments)
    if arguments.data:
        arguments.overrides.append(f"data.path={arguments.data}")
    members = [open_run(run, arguments) for run in arguments.runs] or [open_weights(arguments)]
    evaluate_opened(members, arguments, console)


def run_once(run: Path, arguments: argparse.Namespace, console: Console) -> None:
    """Evaluates a trained run as the arguments say, unless it has been evaluated so already."""
    from cnn_jax.runs import results

    arguments = argparse.Namespace(**vars(arguments) | {"runs": [run]})
    check(arguments)
    opened = open_run(run, arguments)
    settings = choose_protocol(arguments, opened.target).settings
    found = results.read(run / results.FOLDER)
    if not results.of_last_step(found, settings, cnn_jax.load_run(run).summary, opened.default):
        evaluate_opened([opened], arguments, console)


def evaluate_opened(opened: list[Opened], arguments: argparse.Namespace, console: Console) -> None:
    """Evaluates one network, or several as an ensemble; writes the results, and prints them."""
    from cnn_jax.evaluation import ensemble
    from cnn_jax.evaluation.evaluate import evaluate

    members = [
        ensemble.Member(
            one.title, one.target, arguments.split, choose_protocol(arguments, one.target)
        )
        for one in opened
    ]
    ensemble.check_alike(members)
    weights = [choose_weights(arguments, one) for one in opened]
    folder, found = folder_of(arguments), []
    if folder:  # first, as it may not be writable
        folder.mkdir(parents=True, exist_ok=True)
    # Standard output is the JSON's alone.
    with ProgressBar(PlainConsole(stderr=True) if arguments.json else console) as bar:
        for (_, target, split, protocol), own in zip(members, weights, strict=True):
            batch_size = arguments.batch or target.config.evaluation.batch_size
            about = (target, own, target.examples(split)[1], protocol, batch_size)
            found.append(evaluate(*about, lambda *counts: bar.show("view", *counts)))
    whole, of_whole = as_one(opened), ensemble.combine(found, arguments.average)
    entries = write(whole, members[0], of_whole, folder, not arguments.no_logits)
    if arguments.json:
        print(json.dumps(entries, indent=1))
    else:
        show(whole.title, entries, of_whole[2], folder, console)


def write(
    opened: Opened, member: Any, found: tuple, folder: Path | None, with_logits: bool
) -> list[dict[str, Any]]:
    """Writes the results, if there is a folder for them; returns one for each kind of weights.

    Args:
      member: an `ensemble.Member`, whose split and protocol they are of.
      found: what `ensemble.combine` returned.
    """
    from cnn_jax.evaluation import files

    (split, _), protocol = member.target.examples(member.split), member.protocol
    results_by_weights, predictions, _ = found
    entries = []
    for name, values in results_by_weights.items():
        stem = f"{split}-{protocol.short}-{name}-{opened.files}"
        entry = {"files": stem, "split": split, **opened.about, "weights": name}
        how = {"protocol": protocol.name, "settings": protocol.settings, "views": protocol.about}
        entries.append(entry | how | values)
        if folder:
            tables = (predictions[name], member.target.class_names)
            files.write(folder, entries[-1], *tables, with_logits=with_logits)
    return entries


def as_one(members: list[Opened]) -> Opened:
    """What results tell of a network, or of an ensemble: the data and classes of all are alike."""
    if len(members) == 1:
        return members[0]
    digest = hashlib.blake2b("".join(m.title for m in members).encode(), digest_size=4)
    return members[0]._replace(
        title=" + ".join(member.title for member in members),
        about={"ensemble": [member.about | {"run": member.title} for member in members]},
        files=f"ensemble-{len(members)}-{digest.hexdigest()}",
    )


def folder_of(arguments: argparse.Namespace) -> Path | None:
    """Where the results go, by default into the first run; a compressed network is a file."""
    from cnn_jax.runs import results

    if arguments.out or not (arguments.runs and arguments.runs[0].is_dir()):
        return arguments.out
    return arguments.runs[0] / results.FOLDER


def check(arguments: argparse.Namespace) -> None:
    """Raises `UserError` unless the arguments name runs or a file of weights."""
    if bool(arguments.runs) == bool(arguments.weights):
        raise errors.UserError("eval takes a RUN, or --weights=FILE with --config=FILE", 2)
    if arguments.ensemble != (len(arguments.runs) > 1):
        raise errors.UserError("several RUNs are evaluated as one, and only with --ensemble", 2)
    if arguments.runs and arguments.config:
        raise errors.UserError("a RUN has a config of its own: leave --config out", 2)
    if arguments.weights and not arguments.config:
        raise errors.UserError("--weights=FILE needs --config=FILE, which has its network", 2)


def open_run(run: Path, arguments: argparse.Namespace) -> Opened:
    """Opens a checkpoint of a run."""
    from cnn_jax.evaluation.target import of_run

    opened = cnn_jax.load_run(run)
    target = of_run(opened, arguments.overrides)
    step = opened.find_step(arguments.step)
    return Opened(
        target,
        lambda kind: opened.variables(step, kind),
        opened.config.evaluation.weights,
        f"{run}, step {step:,}",
        {"step": step},
        f"step-{step}",
    )


def open_weights(arguments: argparse.Namespace) -> Opened:
    """Opens weights from elsewhere: a file sees the config's images, what has a name its own."""
    from cnn_jax.evaluation.target import of_config
    from cnn_jax.interop import read
    from cnn_jax.runs import pretrained

    config, name = load_config(arguments), arguments.weights
    if config.preprocessing.mean == "weights" and config.init.weights is None:
        config.init.weights = name
    target, path = of_config(config), pretrained.found(name)
    if path.is_file() and not pretrained.is_run(path):
        variables = read.variables(path, target.model, target.image_shape)
        expects = pretrained.weights(name)[1]
        for line in pretrained.deviations(expects, config.model, target.preprocessing):
            print(line, file=sys.stderr)
    else:
        run = pretrained.load(name)
        variables = run.variables()
        read.checked(Path(name), target.model, target.image_shape, variables)
        target = target._replace(preprocessing=run.preprocessing)
    stem = path.stem if path.exists() else "".join(c if c.isalnum() else "-" for c in name)
    return Opened(target, {"raw": variables}.get, "raw", name, {"file": name}, stem)


def choose_protocol(arguments: argparse.Namespace, target: Any) -> Any:
    """The protocol that the arguments name."""
    given = {name: value for name in SIZES if (value := getattr(arguments, name)) is not None}
    options = {"flip": arguments.flip, "average": arguments.average}
    if arguments.filter:
        options["filter"] = arguments.filter
    if arguments.resize_to:
        if arguments.resize_to not in ("shorter", "square"):
            raise errors.unknown("--resize_to", arguments.resize_to, ("shorter", "square"))
        options["square"] = arguments.resize_to == "square"
    return target.protocol(arguments.protocol, given, **options)


def choose_weights(arguments: argparse.Namespace, opened: Opened) -> dict[str, Any]:
    """The variables that `--weights_of` names, by its words.

    Raises `UserError` for an unknown word, or weights that are not there.
    """
    from cnn_jax.evaluation.batch_stats import reestimate

    target, chosen = opened.target, {}
    for kind in (arguments.weights_of or opened.default).split(","):
        if kind not in WEIGHTS:
            raise errors.unknown("--weights_of", kind, WEIGHTS)
        chosen[kind] = opened.variables("ema" if kind.startswith("ema") else "raw")
        if chosen[kind] is None:
            raise errors.UserError(
                f"a file has no {kind} weights: say --weights_of=raw, bn or raw,bn", 2
            )
    for kind, variables in chosen.items():
        if kind.endswith("bn"):
            batches = target.training_batches(arguments.bn_batches)
            chosen[kind] = reestimate(target.model, variables, batches, target.jit())
    return chosen


def show(
    title: str, entries: list[dict], bad: dict[int, str], folder: Path | None, console: Console
) -> None:
    """Prints the protocol, a row for each kind of weights, and what was skipped."""
    first = entries[0]
    print_line(console, f"{title}, {first['protocol']}: {first['views']}")
    columns = ("split", "weights", "loss", "top-1 error", "top-5 error", "right", "right in 5")
    table = Table(*columns, "examples")
    for entry in entries:
        table.add_row(
            entry["split"],
            entry["weights"],
            f"{entry['loss']:.4f}",
            f"{entry['top1_error']:.2%}",
            f"{entry['top5_error']:.2%}",
            f"{entry['top1_right']:,}",
            f"{entry['top5_right']:,}",
            f"{entry['examples']:,}",
        )
    console.print(table)
    for reason in list(bad.values())[:20]:
        print_line(console, f"skipped: {reason}")
    if bad:
        print_line(console, f"{len(bad):,} images were skipped, and are not among the examples")
    if folder:
        print_line(console, f"classes, confusions and logits are in {folder}")
