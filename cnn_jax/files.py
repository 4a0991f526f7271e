"""Files: where things are kept that can be made again, how a file is written whole, and checksums.

Arrays have a checksum each, so that a part of a checkpoint can be verified, too.
"""

import contextlib
import json
import os
import shutil
import time
import uuid
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax.errors import UserError, first_line

DAMAGED = "damaged"  # the folder beside a damaged file that this is moved into
TEMPORARY = ".tmp"  # how the names of files that are being written end


def cache_folder(name: str) -> Path:
    """The folder of one kind of thing below `$CNN_JAX_CACHE`, else `~/.cache/cnn_jax`.

    It need not exist.
    """
    return Path(os.environ.get("CNN_JAX_CACHE") or Path.home() / ".cache" / "cnn_jax") / name


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a name to write a file under, and then puts that file in the place of `path`.

    After a kill or a power failure `path` is the old file or the new one, never a part of one; a
    part may be left under the temporary name, see `remove_leftovers`. Where the block raises,
    `path` stays as it was. Several processes may write the same path: each has a name of its own.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{TEMPORARY}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Returns once a file, or the list of the files in a folder, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file, see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a file in UTF-8, see `replacing`."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a JSON value, see `replacing`."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name as NumPy's `.npz`, see `replacing`."""
    # A file, as `savez` appends ".npz" to names that end otherwise.
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_json(path: Path, *names: str) -> Any:
    """The value in a JSON file, with `names` an object that has these fields.

    Raises `UserError` where the file is damaged.
    """
    try:
        value = json.loads(path.read_bytes())
        if names and not isinstance(value, dict):
            raise ValueError("it is no JSON object")
        if lacking := [name for name in names if name not in value]:
            raise ValueError(f"it lacks {', '.join(lacking)}")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {first_line(error)}") from None
    return value


def read_undamaged(path: Path, otherwise: Any, *names: str) -> Any:
    """`read_json`; `otherwise` where there is no file, and with a warning where it is damaged."""
    try:
        return read_json(path, *names)
    except FileNotFoundError:
        return otherwise
    except UserError as error:
        warnings.warn(f"{error}; going on without it", stacklevel=2)
        return otherwise


def set_aside(folder: Path, name: str, reason: str, copies: bool = False) -> None:
    """Moves the damaged file or folder `name` of a folder into its `DAMAGED`, and warns.

    With `copies` it stays where it is, too, so that it can be replaced at one blow.
    """
    target = folder / DAMAGED / Path(name).name
    target.parent.mkdir(exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    (shutil.copyfile if copies else os.replace)(folder / name, target)
    warnings.warn(f"{reason}; it is in {target.parent} now, and the run goes on", stacklevel=3)


def is_temporary(name: str) -> bool:
    """Whether a file of this name was being written by `replacing`."""
    return name.endswith(TEMPORARY)


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left half written; only where no other process may write."""
    for file in folder.glob(f".*{TEMPORARY}"):
        file.unlink()


def keep_compiled() -> None:
    """Keeps compiled programs in `$CNN_JAX_CACHE`, else `~/.cache/cnn_jax`, or where JAX says."""
    import jax

    if jax.config.jax_compilation_cache_dir:
        return
    folder = cache_folder("compiled")
    drop_broken(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def drop_broken(folder: Path) -> None:
    """Removes compiled programs that a kill cut short: JAX warns of them, and never replaces them.

    Each entry is read once: those older than the file "checked" were whole then.
    """
    stamp = folder / "checked"
    since = stamp.stat().st_mtime if stamp.exists() else 0.0
    now = time.time()
    for entry in folder.glob("*-cache"):
        with contextlib.suppress(OSError):  # another process may have removed it
            if entry.stat().st_mtime >= since and is_cut_short(entry.read_bytes()):
                entry.unlink()
    with contextlib.suppress(OSError):  # no folder yet, or not ours to write
        stamp.touch()
        os.utime(stamp, (now, now))


def is_cut_short(content: bytes) -> bool:
    """Whether a zlib stream (which begins with 0x78) lacks its end; True of an empty file too."""
    if content and content[0] != 0x78:
        return False
    stream = zlib.decompressobj()
    try:
        stream.decompress(content)
    except zlib.error:
        return True
    return not stream.eof


def checksum(tree: Any) -> int:
    """CRC-32 of the bytes of all leaves, in the order of the tree."""
    import jax

    value = 0
    for leaf in jax.tree.leaves(tree):
        value = zlib.crc32(np.ascontiguousarray(leaf), value)
    return value


def checksums(tree: Any) -> dict[str, int]:
    """CRC-32 of each array, of its type and its shape, by its path such as "params/fc/kernel"."""
    import jax

    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        kind = zlib.crc32(f"{leaf.dtype} {np.shape(leaf)}".encode())
        data = np.ascontiguousarray(leaf).view(np.uint8)
        found[jax.tree_util.keystr(path, simple=True, separator="/")] = zlib.crc32(data, kind)
    return found


def verify(tree: Any, expected: dict[str, int], branches: Sequence[str] | None = None) -> None:
    """Raises `ValueError` where an array is missing, or is not the one that was saved.

    Args:
      tree: a state, or some `branches` of one.
      expected: the checksums of all arrays of the state.
    """
    found = checksums(tree)
    if branches is not None:
        expected = {n: value for n, value in expected.items() if n.partition("/")[0] in branches}
    for name in expected.keys() | found.keys():
        if expected.get(name) != found.get(name):
            raise ValueError(f"{name} is not what was saved")


def checksum_of(facts: dict[str, Any]) -> int:
    """CRC-32 of what becomes JSON, whatever the order of its fields."""
    return zlib.crc32(json.dumps(facts, sort_keys=True).encode())
