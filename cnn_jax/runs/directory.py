"""The directory of a run: `config.json`, `environment.json`, `status.json` and the rest."""

import fcntl
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import jax
from ml_collections import ConfigDict

from cnn_jax import config as configs
from cnn_jax.errors import UserError

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy")


class RunDirectory:
    """Opened for training by one process at a time."""

    def __init__(self, path: Path, config: ConfigDict):
        """Makes the directory, or opens it where it has a run of the same config.

        Raises:
          UserError: it cannot be written, another process trains in it, or its run has another
            config, with the difference.
        """
        self.path = path
        is_run = (path / "config.json").exists()
        if path.is_dir() and not is_run and set(os.listdir(path)) - {".lock"}:
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
        if is_run:
            if lines := configs.difference(configs.read_json(path / "config.json"), config):
                raise UserError(
                    f"{path} has a run with another config; choose another --workdir. "
                    f"It differs in {'; '.join(lines)}"
                )
        else:
            write_whole(path / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")
        write_whole(path / "environment.json", json.dumps(environment(), indent=2) + "\n")

    def close(self) -> None:
        """Lets another process in."""
        self._lock.close()

    @property
    def status(self) -> str:
        """ "new", "running" (or killed), "done", "diverged" or "preempted"."""
        return read_status(self.path)["status"]

    def set_status(self, status: str, **facts) -> None:
        """Writes `status.json`."""
        write_whole(self.path / "status.json", json.dumps({"status": status, **facts}) + "\n")


def read_status(path: Path) -> dict:
    """What `set_status` wrote last; {"status": "new"} where it never did."""
    try:
        return json.loads((path / "status.json").read_text())
    except FileNotFoundError:
        return {"status": "new"}


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that nobody, at no moment, reads half of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def environment() -> dict:
    """Commit, versions and devices: with what the numbers were made."""
    return {
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(git("status", "--porcelain")),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in jax.devices()],
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def git(*arguments: str) -> str | None:
    """What git says of the code that is running; None where it is not in a repository."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
