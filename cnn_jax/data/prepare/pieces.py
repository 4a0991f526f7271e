"""A file or folder in pieces that are small enough to be sent, and back, byte for byte.

Beside the pieces stands `NAME.pieces.json` with the size and SHA-256 of the whole and of each. A
folder goes as a `.tar.gz` with its files in order and without times, so that it always makes the
same pieces.
"""

import contextlib
import gzip
import hashlib
import json
import math
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from cnn_jax import files
from cnn_jax.errors import UserError, first_line

LIST = ".pieces.json"
MEGABYTES = 38  # of a piece
AGAIN = "get it again, or split the original again"


def split(source: Path, folder: Path, megabytes: int = MEGABYTES) -> list[Path]:
    """Writes the pieces of a file or folder into `folder`; returns them, the list at the end.

    Raises `UserError` where there is no such file or folder.
    """
    if not source.exists():
        raise UserError(f"there is no file or folder {source}")
    folder.mkdir(parents=True, exist_ok=True)
    name = source.resolve().name + (".tar.gz" if source.is_dir() else "")
    with contextlib.ExitStack() as opened:
        file = opened.enter_context(packed(source) if source.is_dir() else source.open("rb"))
        size = file.seek(0, 2)
        file.seek(0)
        count, total = max(1, math.ceil(size / (megabytes * 10**6))), hashlib.sha256()
        pieces = []
        for number in range(1, count + 1):
            data = file.read(math.ceil(size / count))
            total.update(data)
            piece = folder / f"{name}.piece-{number}-of-{count}"
            files.write_bytes(piece, data)
            pieces.append({"name": piece.name, **facts(len(data), hashlib.sha256(data))})
    whole = {"name": name, "is_folder": source.is_dir(), **facts(size, total), "pieces": pieces}
    files.write_json(folder / f"{name}{LIST}", whole)
    return [folder / p["name"] for p in pieces] + [folder / f"{name}{LIST}"]


def facts(size: int, digest: Any) -> dict[str, Any]:
    """What the list says of the whole, and of each piece."""
    return {"bytes": size, "sha256": digest.hexdigest()}


@contextlib.contextmanager
def packed(folder: Path) -> Iterator[BinaryIO]:
    """A folder as an open `.tar.gz`."""
    with tempfile.TemporaryFile() as file:
        with (
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w") as tar,
        ):
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    entry = tarfile.TarInfo(f"{folder.resolve().name}/{path.relative_to(folder)}")
                    entry.size = path.stat().st_size
                    with path.open("rb") as content:
                        tar.addfile(entry, content)
        yield file


def is_split(folder: Path) -> bool:
    """Whether a folder has pieces to be joined."""
    return folder.is_dir() and any(folder.glob(f"*{LIST}"))


def join(folder: Path, out: Path) -> Path:
    """Joins the pieces in `folder` to the file, or the folder, that they were; returns its path.

    What is in the folder `out` already is left alone where it has the right size.

    Raises:
      UserError: no pieces or those of several things; a piece that is missing or damaged.
    """
    whole = read_list(folder)
    file = out / whole["name"]
    made = file.with_name(file.name.removesuffix(".tar.gz")) if whole["is_folder"] else file
    marker = out / f"{whole['name']}.{whole['sha256'][:16]}"  # of a folder that is complete
    if marker.exists() if whole["is_folder"] else is_whole(file, whole["bytes"]):
        return made
    out.mkdir(parents=True, exist_ok=True)
    with files.replacing(file) as temporary, temporary.open("wb") as target:
        total = hashlib.sha256()
        for piece in whole["pieces"]:
            data = read_piece(folder / piece["name"], piece)
            total.update(data)
            target.write(data)
        if total.hexdigest() != whole["sha256"]:
            raise UserError(f"the pieces in {folder} do not make {whole['name']}: {AGAIN}")
    if whole["is_folder"]:
        unpack(file, out)
        file.unlink()
        marker.touch()
    return made


def unpack(file: Path, out: Path) -> None:
    """Unpacks a folder; raises `UserError` for a tar with files that would lie outside `out`."""
    try:
        with tarfile.open(file) as tar:
            tar.extractall(out, filter="data")
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"cannot unpack {file} ({first_line(error)}): {AGAIN}") from None


def is_whole(file: Path, size: int) -> bool:
    """Whether a file is there, of the size that it should have."""
    return file.is_file() and file.stat().st_size == size


def read_list(folder: Path) -> dict[str, Any]:
    """The list of the pieces in a folder, see `join`."""
    lists = sorted(folder.glob(f"*{LIST}"))
    if len(lists) != 1:
        found = ", ".join(file.name for file in lists) or "none"
        raise UserError(f"{folder} must have one file *{LIST}, beside the pieces; it has {found}")
    try:
        whole = json.loads(lists[0].read_bytes())
        names = [whole["name"], *(piece["name"] for piece in whole["pieces"])]
        for part in (whole, *whole["pieces"]):
            part["bytes"] + 0, part["sha256"] + ""
        whole["is_folder"]
        outside = any(Path(name).name != name or name in ("", "..") for name in names)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{lists[0]} is damaged ({first_line(error)}): {AGAIN}") from None
    if outside:
        raise UserError(f"{lists[0]} names files outside its folder: it is no list of pieces")
    return whole


def read_piece(file: Path, piece: dict[str, Any]) -> bytes:
    """The bytes of a piece; raises `UserError` where it is missing or damaged."""
    if not file.is_file():
        raise UserError(f"the piece {file} is missing: {AGAIN}")
    data = file.read_bytes()
    if len(data) != piece["bytes"]:
        raise UserError(f"{file} has {len(data):,} bytes, not {piece['bytes']:,}: {AGAIN}")
    if hashlib.sha256(data).hexdigest() != piece["sha256"]:
        raise UserError(f"{file} has another checksum than when it was split: {AGAIN}")
    return data
