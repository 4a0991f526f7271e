"""What a campaign measured, in one file that is sent home: `campaign.json.gz`.

A JSON value, gzipped: the device, each task and how it ended, the JSON of its benchmarks, the last
lines of each log, and the records of its runs; no checkpoints.
"""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from cnn_jax import files
from cnn_jax.errors import UserError, first_line

NAME = "campaign.json.gz"
PARTS = ("device", "environment", "tasks", "benchmarks", "logs", "records")
MEGABYTES = 10  # that a pack should stay below


def is_pack(file: Path) -> bool:
    """Whether a file is called like one."""
    return file.name.endswith(".json.gz")


def write(file: Path, **parts: Any) -> int:
    """Writes the parts that `PARTS` names; returns the size of the file in bytes.

    Equal parts make equal bytes. After a kill the file is the old one or the new one.
    """
    text = json.dumps({name: parts[name] for name in PARTS})
    data = gzip.compress(text.encode(), mtime=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(file, data)
    return len(data)


def read(file: Path) -> dict[str, Any]:
    """The parts; raises `UserError` for a file that is no pack."""
    try:
        pack = json.loads(gzip.decompress(file.read_bytes()))
        if lacking := [part for part in PARTS if part not in pack]:
            raise KeyError(f"it lacks {', '.join(lacking)}")
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
        zlib.error,
    ) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{file} is no pack of a campaign ({reason})") from None
    return pack
