"""The directory of a run: `config.json`, `environment.json`, `status.json` and the rest."""

import fcntl
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax import old_names
from cnn_jax.errors import UserError, first_line
from cnn_jax.files import (
    is_temporary,
    read_json,
    read_undamaged,
    remove_leftovers,
    set_aside,
    write_json,
)
from cnn_jax.runs.environment import environment

if TYPE_CHECKING:
    from cnn_jax.data.preprocess import Preprocessing

# What Orbax takes for patterns, and then loses what it wrote; and bytes that are not UTF-8.
UNFIT = re.compile("[][*?\ud800-\udfff]")
STAGES = "stages"  # the runs that `launch.py compress` makes on the way to this one
MEASUREMENTS = "measurements.json"  # numbers by metric that were measured besides training
STATES = ("new", "running", "done", "diverged", "preempted", "failed")
# What a run starts from, and without which nobody can use it.
START = ("config.json", "dataset.json", "preprocessing.npz")
# What must stand in the small files: what is read of them without asking whether it is there.
FIELDS = {
    "dataset.json": ("class_names", "image_shape"),
    "environment.json": ("later",),
    "status.json": ("status",),
}
CONFIG_FIELDS = {
    *("model.name", "data.name", "data.path", "data.image_size", "data.on_error", "data.storage"),
    *("training.duration", "training.batch_size", "view.train.kind", "view.evaluation.kind"),
    *("evaluation.weights", "evaluation.batch_size", "ema.decay", "seed"),
}


class RunDirectory:
    """A run directory that one process has open for training."""

    def __init__(self, path: Path, config: ConfigDict):
        """Makes the directory, or opens it where it has a run of the same config.

        Raises:
          UserError: the directory cannot be written, another process trains in it, or its run has
            another config; the message has the difference.
        """
        self.path = path
        if found := UNFIT.search(str(path.absolute())):
            raise UserError(
                f"no checkpoints can be kept in {path.absolute()}: Orbax takes no {found[0]!r} in "
                "a path; choose another --workdir"
            )
        is_run = (path / "config.json").exists()
        if path.is_dir() and not is_run and any(map(is_foreign, path.iterdir())):
            raise UserError(f"{path} has files that are not a run's; choose another --workdir")
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / ".lock").open("w")  # held while the run is open
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is training in {path}") from None
        except OSError as error:
            raise UserError(
                f"cannot write the run directory {path} ({error.strerror}); "
                "choose another with --workdir=DIR"
            ) from None
        remove_leftovers(path)
        if is_run:
            set_damaged_aside(path, config)
        before = read_config(path) if is_run else config
        lines = configs.difference(before, config)
        # Where its numbers are shown besides may change from one start to the next.
        if lines := [line for line in lines if not line.startswith("logging.")]:
            raise UserError(
                f"{path} has a run with another config; choose another --workdir. "
                f"It differs in {'; '.join(lines)}"
            )
        self.config = config

    def write_start(
        self, dataset: dict, preprocessing: "Preprocessing", compiler_options: dict
    ) -> None:
        """Writes what a run starts from, once its config has proved good.

        Args:
          dataset: what the data set says of itself, such as class names and a checksum.
          preprocessing: as it was fitted to the training images.
          compiler_options: XLA's, for `environment.json`.

        Raises:
          UserError: the run in this directory began with other data.
        """
        from cnn_jax.data import preprocess

        write_json(self.path / "config.json", self.config.to_dict())
        facts, constants = self.path / "dataset.json", self.path / "preprocessing.npz"
        if facts.exists():
            before = read_json(facts)
            if changed := [name for name in dataset if dataset[name] != before.get(name)]:
                raise UserError(
                    f"the data is not what the run in {self.path} began with: {', '.join(changed)} "
                    "changed; give it back its data, or choose another --workdir"
                )
        if not (facts.exists() and constants.exists()):
            preprocess.save(preprocessing, constants)
            write_json(facts, dataset)
        self._add_environment({**environment(), "compiler_options": compiler_options})

    def _add_environment(self, now: dict) -> None:
        """Writes `environment.json`: of the first start, and under "later" of those that differ."""
        path = self.path / "environment.json"
        record = read_json(path) if path.exists() else {**now, "later": []}
        first = {key: value for key, value in record.items() if key != "later"}
        if now != [first, *record["later"]][-1]:
            record["later"].append(now)
        write_json(path, record)

    def close(self) -> None:
        """Lets another process train in the directory."""
        self._lock.close()

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.name

    @property
    def seed(self) -> int:
        """The seed of the config."""
        return self.config.seed

    @property
    def status(self) -> str:
        """One of "new", "running" (or killed), "done", "diverged", "preempted" and "failed".

        A run that lacks a file is not done: the next start writes it.
        """
        status = read_status(self.path)["status"]
        is_whole = all((self.path / name).exists() for name in START)
        return status if is_whole or status != "done" else "running"

    def check_exists(self) -> None:
        """Raises `UserError` where somebody has deleted the directory while the run was in it."""
        if not (self.path / "config.json").exists():
            raise UserError(
                f"{self.path} was deleted while the run was in it; the same command begins anew"
            )

    def set_status(self, status: str, **facts) -> None:
        """Writes `status.json`."""
        self.check_exists()
        write_json(self.path / "status.json", {"status": status, **facts})


def is_foreign(file: Path) -> bool:
    """Whether a run that ended before it had a `config.json` cannot have left this file.

    A directory that is deleted while a checkpoint is written may keep a part of that.
    """
    if file.name == "checkpoints" and file.is_dir():
        return any(one.name.isdecimal() for one in file.iterdir())
    return file.name not in (".lock", STAGES) and not is_temporary(file.name)


def set_damaged_aside(path: Path, config: ConfigDict) -> None:
    """Sets the damaged small files of a run aside, and writes its `config.json` again."""
    from cnn_jax.data import preprocess

    checks = {
        "config.json": lambda: read_config(path),
        "preprocessing.npz": lambda: preprocess.load(path / "preprocessing.npz"),
    }
    for name, fields in FIELDS.items():
        checks[name] = functools.partial(read_json, path / name, *fields)
    for name, check in checks.items():
        try:
            check()
        except FileNotFoundError:
            continue
        except UserError as error:
            # Without its config a run that is killed here could not go on.
            set_aside(path, name, str(error), copies=name == "config.json")
            if name == "config.json":
                write_json(path / name, config.to_dict())


def is_open(path: Path) -> bool:
    """Whether a process trains in this directory now."""
    try:
        with (path / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def read_status(path: Path) -> dict:
    """What `status.json` says; "new" where there is none, "running" where it is damaged."""
    file = path / "status.json"
    if not file.exists():
        return {"status": "new"}
    status = read_undamaged(file, {"status": "running"}, "status")
    return status if status["status"] in STATES else {"status": "running"}


def read_config(path: Path) -> ConfigDict:
    """The locked config of the run in a directory."""
    file = path / "config.json"
    try:
        fields = old_names.config(read_json(file, "model"))
        if lacking := CONFIG_FIELDS - configs.flatten(fields).keys():
            raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
        return ConfigDict(fields).lock()
    except UserError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{file} is damaged: {first_line(error)}") from None


def file_name(text: str) -> str:
    """A text for people, such as the name of a table's row, as the name of a file or folder."""
    return re.sub(r"[^\w.]+", "-", text).strip("-.")
