"""A sweep: the runs of a table with several seeds, and its directory with `sweep.json`."""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import errors
from cnn_jax.config import load_config
from cnn_jax.errors import UserError
from cnn_jax.files import is_temporary, set_aside, write_json
from cnn_jax.runs import sweep_file
from cnn_jax.runs.directory import file_name
from cnn_jax.sweeps.tables import Row, Table

# What `sweep.json` says of the table.
FACTS = ("title", "protocol", "statistic", "axis", "tolerance", "runs", "protocols", "full", "note")


@dataclass(frozen=True, eq=False)
class SweepRun:
    """A run of a sweep: a row with a seed, or several rows whose networks are the same."""

    rows: tuple[str, ...]
    seed: int
    path: Path
    config: ConfigDict
    arguments: tuple[str, ...]  # of `launch.py`
    protocols: tuple[Mapping[str, Any], ...]  # by which it is evaluated when it is trained

    @property
    def row(self) -> str:
        """The first of its rows."""
        return self.rows[0]

    @property
    def name(self) -> str:
        """For a person: `WRN-10-1 seed 0`."""
        return f"{self.row} seed {self.seed}"

    @property
    def log(self) -> Path:
        """The file for its output."""
        return self.path.with_name(f"{self.path.name}.log")


@dataclass(frozen=True)
class Sweep:
    """The runs of a table, and what `sweep.json` says of them."""

    workdir: Path
    runs: tuple[SweepRun, ...]
    facts: dict[str, Any]


def expand(
    experiment: str,
    table: Table,
    workdir: Path,
    seeds: int,
    added: str = "",
    overrides: Sequence[str] = (),
    name: str = "sweep",
    command: str = "",
) -> Sweep:
    """The runs of a table, row by row.

    A row whose config another row has, of this table or of a sweep beside `workdir`, takes the runs
    of that row.

    Args:
      experiment: the recipe's file.
      seeds: runs of each row, with the seeds from its `config.seed` on.
      added: words of a variant for all rows, such as "fast".
      overrides: `field=value` for all rows, after those of the row.
      name: of the sweep in the registry of results.
      command: of the sweep, for people.

    Raises:
      UserError: an unknown variant or field, a wrong value, or rows with the same folder.
    """
    rows, runs = [], {}
    shared = folders_beside(workdir)
    for row in table.rows():
        variant = join(row.variant, added)
        pairs = [*as_text(row.overrides), *overrides]
        config, paper = configs_of_row(experiment, row, variant, pairs)
        folder = shared.setdefault(digest(config.to_dict()), file_name(row.name))
        rows.append(facts_of_row(row, folder, config, paper))
        protocols = tuple((table.protocols if row.protocols is None else row.protocols).values())
        command_line = [table.command, f"--config={experiment}:{variant}"]
        command_line += [f"--config.{pair}" for pair in pairs]
        place = Path(os.path.normpath(workdir / folder))
        for run in runs_of_row(row.name, config, place, seeds, command_line, protocols):
            runs[run.path] = merged(runs[run.path], run) if run.path in runs else run
    check_names(rows)
    facts = {field: getattr(table, field) for field in FACTS}
    facts = {"name": name, **facts, "command": command, "seeds": seeds, "rows": rows}
    return Sweep(workdir, tuple(runs.values()), as_json(facts))


def facts_of_row(row: Row, folder: str, config: ConfigDict, paper: ConfigDict) -> dict[str, Any]:
    """What `sweep.json` says of a row."""
    facts = {
        "name": row.name,
        "folder": folder,
        "published": row.published,
        "config": config.to_dict(),
        "paper": paper.to_dict(),
    }
    own = {"runs": row.runs, "protocols": row.protocols}
    return facts | {name: value for name, value in own.items() if value is not None}


def folders_beside(workdir: Path) -> dict[str, str]:
    """The folders of the rows of this sweep and of those beside it, by the config's digest.

    They are relative to `workdir`. A sweep that cannot be read has none.
    """
    found: dict[str, str] = {}
    for file in [workdir / sweep_file.NAME, *sorted(workdir.parent.glob(f"*/{sweep_file.NAME}"))]:
        with contextlib.suppress(UserError, OSError):
            for row in sweep_file.read(file.parent)["rows"]:
                folder = os.path.relpath(file.parent / row["folder"], workdir)
                found.setdefault(digest(row["config"]), folder)
    return found


def digest(config: Mapping[str, Any]) -> str:
    """The same for equal configs."""
    text = json.dumps(config, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def merged(first: SweepRun, second: SweepRun) -> SweepRun:
    """One run for two rows, evaluated by the protocols of both."""
    protocols = [p for p in second.protocols if p not in first.protocols]
    flags = (evaluation_flag(protocol) for protocol in protocols)
    return dataclasses.replace(
        first,
        rows=(*first.rows, *second.rows),
        arguments=(*first.arguments, *flags),
        protocols=(*first.protocols, *protocols),
    )


def evaluation_flag(protocol: Mapping[str, Any]) -> str:
    """The flag of `launch.py train` that evaluates the trained network by a protocol."""
    words = [f"--protocol={protocol['name']}"]
    for name in ("resize", "crop", "sides", "multiple", "average", "filter"):
        value = protocol.get(name)
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
            words.append(f"--{name}={text}")
    words += ["--resize_to=square"] if protocol.get("square") else []
    words += ["--flip"] if protocol.get("flip") else []
    return f"--evaluate={' '.join(words)}"


def configs_of_row(
    experiment: str, row: Row, variant: str, pairs: Sequence[str]
) -> tuple[ConfigDict, ConfigDict]:
    """The config of a row with the overrides `pairs`, and the paper's own."""
    try:
        return load_config(f"{experiment}:{variant}", pairs), papers_config(experiment, row)
    except UserError as error:
        raise UserError(f"row {row.name!r}: {error}", error.exit_code) from error


def runs_of_row(
    name: str,
    config: ConfigDict,
    folder: Path,
    seeds: int,
    command_line: Sequence[str],
    protocols: tuple[Mapping[str, Any], ...],
) -> list[SweepRun]:
    """The runs of a row with the seeds from `config.seed` on; `command_line` makes its config."""
    runs = []
    for seed in range(config.seed, config.seed + seeds):
        own = config.copy_and_resolve_references()
        own.seed = seed
        path = folder / f"seed-{seed}"
        arguments = (*command_line, f"--config.seed={seed}", f"--workdir={path}")
        arguments += tuple(map(evaluation_flag, protocols))
        runs.append(SweepRun((name,), seed, path, own.lock(), arguments, protocols))
    return runs


def papers_config(experiment: str, row: Row) -> ConfigDict:
    """The paper's own config of a row, without what is added to it for all rows.

    The duration is always the recipe's, so that a row cannot shorten it.
    """
    own = {field: v for field, v in row.overrides.items() if field != "training.duration"}
    return load_config(f"{experiment}:{row.variant}", as_text(own))


def join(*variants: str) -> str:
    """The words of several variants, each once."""
    return ",".join(dict.fromkeys(word for v in variants for word in v.split(",") if word))


def as_text(overrides: Mapping[str, Any]) -> list[str]:
    """`field=value` as on the command line."""
    return [f"{k}={v if isinstance(v, str) else repr(v)}" for k, v in overrides.items()]


def as_json(value: Any) -> Any:
    """The value as JSON has it: mappings of any kind are objects."""
    return json.loads(json.dumps(value, default=dict))


def check_names(rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises `UserError` where there are no rows, or two rows have the same name of a folder."""
    names: dict[str, str] = {}
    for row in rows:
        folder, name = file_name(row["name"]), row["name"]
        if not folder or folder in names:
            other = f" as {names[folder]!r} has" if folder in names else ""
            raise UserError(
                f"the row {name!r} has the folder name {folder!r}{other}: rename the row"
            )
        names[folder] = name
    if not names:
        raise UserError("the table has no rows")


def only(sweep: Sweep, names: Sequence[str]) -> Sweep:
    """The sweep with the runs of some rows alone; `facts` keeps all rows."""
    known = [row["name"] for row in sweep.facts["rows"]]
    for name in names:
        if name not in known:
            raise errors.unknown("row", name, known)
    runs = tuple(run for run in sweep.runs if set(run.rows) & set(names))
    return Sweep(sweep.workdir, runs, sweep.facts)


def write(sweep: Sweep) -> None:
    """Writes `sweep.json`, or checks that the one in the directory is of the same sweep.

    The number of seeds and the published numbers may differ. A damaged one is written again.

    Raises:
      UserError: the directory has another sweep, or other files.
    """
    file = sweep.workdir / sweep_file.NAME
    facts = dict(sweep.facts)
    if file.exists():
        try:
            before = sweep_file.read(sweep.workdir)
        except UserError as error:
            set_aside(sweep.workdir, file.name, str(error), copies=True)
            before = facts
        if lines := difference(settings(before), settings(facts)):
            raise UserError(
                f"{sweep.workdir} has another sweep; choose another --workdir. "
                f"It differs in {'; '.join(lines)}"
            )
        facts["seeds"] = max(facts["seeds"], before["seeds"])
    elif sweep.workdir.is_dir() and any(is_foreign(f.name) for f in sweep.workdir.iterdir()):
        raise UserError(f"{sweep.workdir} has files that are not a sweep's; choose another")
    write_json(file, facts)


def is_foreign(name: str) -> bool:
    """Whether a file of this name comes from something other than a sweep."""
    return name != ".lock" and not is_temporary(name)


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """A text for each row that only one sweep has, and for each field that differs in a row."""
    texts = [f"the row {name!r}, which is only there" for name in there if name not in here]
    texts += [f"the row {name!r}, which is only here" for name in here if name not in there]
    both = [{name: rows[name] for name in there if name in here} for rows in (there, here)]
    changed = configs.changes(*both)
    return texts + [f"{name}: {old} there, {new} here" for name, (old, new) in changed.items()]


def settings(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The configs of a sweep's rows, which two equal sweeps have in common."""
    return {row["name"]: row["config"] for row in facts["rows"]}
