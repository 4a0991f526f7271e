"""A table as runs: the config and the directory of each, and `sweep.json`, which tells it all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import errors
from cnn_jax.analysis import run_records
from cnn_jax.config import load_config
from cnn_jax.errors import UserError
from cnn_jax.files import is_temporary, write_json
from cnn_jax.runs.directory import file_name
from cnn_jax.sweeps.tables import Row, Table

SHORTENED = ("fast", "short", "smoke")  # the variants of a recipe that are not the paper's


@dataclass(frozen=True, eq=False)
class SweepRun:
    """A run of the sweep: a row with a seed."""

    row: str
    seed: int
    path: Path
    config: ConfigDict
    arguments: tuple[str, ...]  # of `launch.py`

    @property
    def name(self) -> str:
        """For a person: `WRN-10-1 seed 0`."""
        return f"{self.row} seed {self.seed}"

    @property
    def log(self) -> Path:
        """The file that takes what it prints."""
        return self.path.with_name(f"{self.path.name}.log")


@dataclass(frozen=True)
class Sweep:
    """All runs, and what `sweep.json` says of them."""

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

    Args:
      experiment: the recipe's file.
      seeds: runs of each row, with the seeds from its `config.seed` on.
      added: words of a variant for all rows, such as "fast".
      overrides: `field=value` for all rows, after those of the row.
      name: of the sweep in the registry of results.
      command: that makes the sweep, for people.

    Raises:
      UserError: a variant, field or value that cannot be, or rows that cannot be told apart.
    """
    runs, rows = [], []
    for row in table.rows():
        variant = join(row.variant, added)
        pairs = [*as_text(row.overrides), *overrides]
        try:
            config = load_config(f"{experiment}:{variant}", pairs)
            paper = papers_config(experiment, row)
        except UserError as error:
            raise UserError(f"row {row.name!r}: {error}", error.exit_code) from error
        folder = file_name(row.name)
        for seed in range(config.seed, config.seed + seeds):
            own = config.copy_and_resolve_references()
            own.seed = seed
            path = workdir / folder / f"seed-{seed}"
            given = [f"--config.{pair}" for pair in (*pairs, f"seed={seed}")]
            arguments = ("train", f"--config={experiment}:{variant}", *given, f"--workdir={path}")
            runs.append(SweepRun(row.name, seed, path, own.lock(), arguments))
        rows.append(
            {
                "name": row.name,
                "folder": folder,
                "published": dict(row.published),
                "config": config.to_dict(),
                "paper": paper.to_dict(),
            }
        )
    check_names(rows)
    facts = {field: getattr(table, field) for field in Table._fields if field != "rows"}
    facts = {"name": name, **facts, "command": command, "seeds": seeds, "rows": rows}
    return Sweep(workdir, tuple(runs), facts)


def papers_config(experiment: str, row: Row) -> ConfigDict:
    """What the paper did for this row, whatever is run: neither shortened nor changed.

    How long it trained is the recipe's word and not the row's, so that a row cannot shorten it.
    """
    variant = ",".join(word for word in row.variant.split(",") if word not in SHORTENED)
    own = {field: v for field, v in row.overrides.items() if field != "training.duration"}
    return load_config(f"{experiment}:{variant}", as_text(own))


def join(*variants: str) -> str:
    """The words of several variants, each once."""
    return ",".join(dict.fromkeys(word for v in variants for word in v.split(",") if word))


def as_text(overrides: Mapping[str, Any]) -> list[str]:
    """`field=value` as on the command line."""
    return [f"{k}={v if isinstance(v, str) else repr(v)}" for k, v in overrides.items()]


def check_names(rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises `UserError` where there are no rows, or two have one folder."""
    folders: dict[str, str] = {}
    for row in rows:
        folder, name = row["folder"], row["name"]
        if not folder or folder in folders:
            other = f" as {folders[folder]!r} has" if folder in folders else ""
            raise UserError(f"the row {name!r} has the folder name {folder!r}{other}: rename it")
        folders[folder] = name
    if not folders:
        raise UserError("the table has no rows")


def only(sweep: Sweep, names: Sequence[str]) -> Sweep:
    """The runs of some rows alone; `facts` still has all."""
    known = [row["name"] for row in sweep.facts["rows"]]
    for name in names:
        if name not in known:
            raise errors.unknown("row", name, known)
    return Sweep(sweep.workdir, tuple(r for r in sweep.runs if r.row in names), sweep.facts)


def write(sweep: Sweep) -> None:
    """Makes the directory with its `sweep.json`, or opens that of the same sweep.

    More seeds than before are the same sweep, and so is a table whose printed numbers changed.

    Raises:
      UserError: the directory has another sweep, or something else.
    """
    file = sweep.workdir / run_records.SWEEP
    facts = dict(sweep.facts)
    if file.exists():
        before = run_records.read_sweep(sweep.workdir)
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
    """Whether a file is there that no sweep leaves before its `sweep.json` is whole."""
    return name != ".lock" and not is_temporary(name)


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """A text for each row that one sweep alone has, and for each field in which another differs."""
    texts = [f"the row {name!r}, which is only there" for name in there if name not in here]
    texts += [f"the row {name!r}, which is only here" for name in here if name not in there]
    both = [{name: rows[name] for name in there if name in here} for rows in (there, here)]
    changed = configs.changes(*both)
    return texts + [f"{name}: {old} there, {new} here" for name, (old, new) in changed.items()]


def settings(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a sweep that sweep: the configs of its rows."""
    return {row["name"]: row["config"] for row in facts["rows"]}
