"""What somebody means who types a field, a flag or a file that there is not."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from cnn_jax import errors
from cnn_jax.errors import UserError

# What other programs call our fields, besides the last part of their names.
FIELDS = {
    **dict.fromkeys(("epochs", "num_epochs", "max_epochs", "n_epochs"), "training.duration"),
    **dict.fromkeys(("steps", "num_steps", "max_steps", "iterations"), "training.duration"),
    **dict.fromkeys(("bs", "batch", "batchsize"), "training.batch_size"),
    **dict.fromkeys(("lr", "learning_rate"), "learning_rate.rate"),
    **dict.fromkeys(("scheduler", "lr_schedule"), "learning_rate.schedule"),
    **dict.fromkeys(("optim", "optimizer"), "optimizer.name"),
    **dict.fromkeys(("model", "arch", "network", "net"), "model.name"),
    **dict.fromkeys(("data", "data_dir", "data_path", "root"), "data.path"),
    "dataset": "data.name",
    "wd": "optimizer.weight_decay",
    "num_workers": "data.workers",
}
TAKES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    **dict.fromkeys((list, tuple), "a list such as \"['a', 'b']\""),
}


def known_word(word: str, names: Sequence[str]) -> str | None:
    """The field that is called so elsewhere, or whose last part this is; of training first."""
    word = word.rpartition(".")[2].replace("-", "_").lower()
    if FIELDS.get(word) in names:
        return FIELDS[word]
    ends = [name for name in names if name.rpartition(".")[2] == word]
    return min(ends, key=lambda name: not name.startswith("training."), default=None)


def close_word(word: str, names: Sequence[str]) -> str | None:
    """The field that is spelled nearly so, or whose last part is."""
    if close := difflib.get_close_matches(word, names, n=1):
        return close[0]
    ends = {name.rpartition(".")[2]: name for name in reversed(names)}
    close = difflib.get_close_matches(word.rpartition(".")[2], ends, n=1)
    return ends[close[0]] if close else None


def unknown_field(field: str, names: Sequence[str], renamed: str | None) -> UserError:
    """The error for a field that is not there: the one that is meant, or those of its group.

    `renamed` is what it is called now, of a field that was there.
    """
    if renamed:
        return UserError(f"unknown config field {field!r} (did you mean {renamed!r}?): renamed", 2)
    if found := known_word(field, names) or close_word(field, names):
        return UserError(f"unknown config field {field!r} (did you mean {found!r}?)", 2)
    group = f"{field.partition('.')[0]}."
    choices = [name for name in names if name.startswith(group)]
    choices = choices or list(dict.fromkeys(name.partition(".")[0] for name in names))
    return errors.unknown("config field", field, choices)


def wrong_value(field: str, text: str, kind: type, is_optional: bool) -> UserError:
    """The error for a text that does not spell a value of the field's type."""
    takes = TAKES.get(kind, kind.__name__) + (" or None" if is_optional else "")
    return UserError(f"config field {field} takes {takes}, not {text!r}", 2)


def unknown_argument(
    command: str, unknown: Sequence[str], flags: Iterable[str], names: Sequence[str]
) -> UserError:
    """The error for the first of the words that a command does not take.

    Args:
      names: of the fields of its config; none where it takes no config.
    """
    word, _, value = unknown[0].partition("=")
    if not word.startswith("-"):
        return unknown_word(command, word, flags, bool(names))
    if not value and unknown[1:] and not unknown[1].startswith("-"):
        value = unknown[1]
    flags, name = list(flags), word.lstrip("-")
    field = known_word(name, names)
    if not field and not difflib.get_close_matches(word, flags, n=1):
        field = close_word(name, names)
    if not field:
        return errors.unknown(f"argument of {command}", unknown[0], flags)
    if field == "training.duration" and value.isdecimal():
        value = f"'{value} {'epochs' if 'epoch' in name else 'steps'}'"
    return UserError(f"{command} has no {word}; write --config.{field}={value or 'VALUE'}", 2)


def unknown_word(command: str, word: str, flags: Iterable[str], has_config: bool) -> UserError:
    """The error for a word that belongs to no flag."""
    if has_config and word.partition(":")[0].endswith(".py"):
        return UserError(f"{command} takes the experiment as --config={word}", 2)
    if has_config and word in ("epochs", "epoch", "steps", "step"):
        return UserError(f"quote what has spaces: --config.training.duration='5 {word}'", 2)
    return errors.unknown(f"argument of {command}", word, flags)


def experiment_like(path: Path, home: Path) -> str:
    """ "; did you mean FILE?" of the experiments below a folder, or how to list them."""
    files = [file.relative_to(home).as_posix() for file in (home / "experiments").rglob("*.py")]
    names = {name: name for name in files} | {Path(name).name: name for name in files}
    for text in (path.as_posix(), path.name):
        if close := difflib.get_close_matches(text, names, n=1, cutoff=0.8):
            return f"did you mean {names[close[0]]}?"
    return "`python launch.py list` shows them"
