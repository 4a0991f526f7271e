"""Activations of all images of a split, batch by batch: in memory, or in files of any size.

A file is NumPy's `.npz`; a folder has a `.npy` for each layer, which `np.load(mmap_mode="r")` maps.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.lib import format as npy

from cnn_jax import files
from cnn_jax.data.preprocess import for_size
from cnn_jax.data.stream import reader
from cnn_jax.errors import UserError
from cnn_jax.evaluation import predict
from cnn_jax.evaluation.target import EvalTarget
from cnn_jax.models.inside import activations
from cnn_jax.training import sharding

PACKED = ".npz"
INDEX, LABELS = "index", "labels"  # of the rows: the numbers of the examples, and their classes
NUMBERS = 2**26  # of all activations of a batch: 256 MiB
CHUNK = 2**20  # bytes that are copied at once

Batch = Mapping[str, np.ndarray]  # `index`, `labels` and activations [n, ...], by name


def stream(
    target: EvalTarget,
    variables: Any,
    layers: Iterable[str] | str,
    split: str | None,
    batch_size: int,
    bad: reader.Bad,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Batch]:
    """The activations of a split by layer, each image once as its evaluation view shows it.

    Args:
      layers: patterns, see `models.inside.activations`.
      split: None is "test", else "validation", else "train".
      batch_size: how many images a batch has at most; fewer where their activations are large.
      bad: takes the reasons for which images were skipped, by example.
      on_progress: called with the number of images that are done, and of all.

    Raises `UserError` for a layer that does not exist, and where no image can be read.
    """
    examples = target.examples(split)[1]
    protocol, mesh = target.protocol("center", {}), sharding.data_mesh(jax.local_devices())
    model, variables = activations.each_block(target.model, variables)
    known = activations.shapes(model, target.image_shape)
    wanted = activations.chosen(known, layers)
    fitting = NUMBERS // sum(int(np.prod(known[name])) for name in wanted)
    pixels = max(1, min(batch_size, fitting)) * target.size**2
    plan = list(predict.plan_batches(examples, protocol, pixels, mesh.size, bad))
    views = predict.read(examples, protocol, plan, target.config.data.threads, bad)
    done, send = 0, sender(target, model, variables, wanted, mesh)
    for rows, computed in predict.ahead(views, send):
        arrays = {name: np.asarray(computed[name])[: len(rows)] for name in wanted}
        batch = {INDEX: rows, LABELS: examples.labels[rows]} | arrays
        good = ~np.isin(rows, list(bad))
        yield batch if good.all() else {name: array[good] for name, array in batch.items()}
        done += len(rows)
        on_progress(done, len(examples.labels))
    if len(bad) == len(examples.labels):
        raise UserError(f"none of {len(bad):,} images can be used: {min(bad.items())[1]}")


def sender(
    target: EvalTarget, model: nn.Module, variables: Any, wanted: tuple[str, ...], mesh: Mesh
) -> Callable[[predict.ViewBatch], tuple[np.ndarray, dict[str, jax.Array]]]:
    """What begins to compute the activations of a batch, and gives its rows and these."""

    def found(variables, preprocessing, views):
        return activations.apply(model, variables, preprocessing(views[:, 0]), wanted)[1]

    compute = target.jit()(found, mesh)
    variables = jax.device_put(variables, sharding.replicated(mesh))
    by_example = NamedSharding(mesh, PartitionSpec("data"))

    def send(batch):
        planned, views = batch
        preprocessing = for_size(target.preprocessing, planned.shape)
        return planned.rows, compute(variables, preprocessing, jax.device_put(views, by_example))

    return send


# --- where they go --------------------------------------------------------------------------------


def in_memory(batches: Iterable[Batch]) -> dict[str, np.ndarray]:
    """All batches, one after the other."""
    parts: dict[str, list[np.ndarray]] = {}
    for batch in batches:
        for name, array in batch.items():
            parts.setdefault(name, []).append(array)
            check_size(name, parts[name][0].shape[1:], array)
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def write(batches: Iterable[Batch], out: Path) -> dict[str, tuple[int, ...]]:
    """Writes each batch when it comes, so that memory holds a few; the shapes of all, by name."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        growing: dict[str, Growing] = {}
        for batch in batches:
            for name, array in batch.items():
                if name not in growing:
                    growing[name] = Growing.create(Path(folder) / f"{name}.npy", name, array)
                growing[name].append(array)
        shapes = {name: (array.close(), *array.shape) for name, array in growing.items()}
        paths = {name: array.path for name, array in growing.items()}
        (pack if out.suffix == PACKED else move)(paths, out)
    return shapes


def pack(arrays: Mapping[str, Path], out: Path) -> None:
    """Puts `.npy` files into one `.npz`, as `np.savez` would; they are gone then."""
    with (
        files.replacing(out) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, path in arrays.items():
            with path.open("rb") as file, archive.open(f"{name}.npy", "w", force_zip64=True) as to:
                shutil.copyfileobj(file, to, CHUNK)
            path.unlink()


def move(arrays: Mapping[str, Path], out: Path) -> None:
    """Puts `.npy` files into a folder, with a folder in it for each block."""
    for name, path in arrays.items():
        place = out / f"{name}.npy"
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)


def opened(out: Path) -> Mapping[str, np.ndarray]:
    """The arrays of a file or folder by name; what is not looked at is not read."""
    if out.suffix == PACKED:
        return np.load(out)
    names = sorted(path.relative_to(out).with_suffix("").as_posix() for path in out.rglob("*.npy"))
    return {name: np.load(out / f"{name}.npy", mmap_mode="r") for name in names}


class Growing(NamedTuple):
    """An array in a `.npy` file that gets longer."""

    path: Path
    name: str
    file: BinaryIO
    kind: np.dtype
    shape: tuple[int, ...]  # of an example

    @classmethod
    def create(cls, path: Path, name: str, like: np.ndarray) -> "Growing":
        path.parent.mkdir(parents=True, exist_ok=True)
        growing = cls(path, name, path.open("wb"), like.dtype, like.shape[1:])
        growing._write_header(0)
        return growing

    def append(self, array: np.ndarray) -> None:
        """Adds examples [n, ...]."""
        check_size(self.name, self.shape, array)
        self.file.write(np.ascontiguousarray(array).data)

    def close(self) -> int:
        """Returns the number of examples."""
        numbers = (self.file.tell() - self._write_header(0)) // self.kind.itemsize
        length = numbers // int(np.prod(self.shape))
        self._write_header(length)
        self.file.close()
        return length

    def _write_header(self, length: int) -> int:
        """Writes the header, in which NumPy leaves room for any length; returns its size."""
        about = {"descr": npy.dtype_to_descr(self.kind), "fortran_order": False}
        self.file.seek(0)
        npy.write_array_header_1_0(self.file, about | {"shape": (length, *self.shape)})
        return self.file.tell()


def check_size(name: str, shape: tuple[int, ...], array: np.ndarray) -> None:
    """Raises `UserError` unless the maps of all images have one size."""
    if array.shape[1:] != shape:
        sizes = " and ".join(f"{height}x{width}" for height, width, *_ in (shape, array.shape[1:]))
        raise UserError(f"the images have several sizes, and {name} maps of {sizes}")
