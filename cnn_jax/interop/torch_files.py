"""Arrays out of PyTorch's files, without PyTorch, and without running anything that a file names.

`torch.save` writes a pickle, and the bytes of the tensors beside it: since PyTorch 1.6 as members
of a zip archive, before that one after the other in the same file. A pickle names functions that
are to be called. Here a name stands for a function of this module or, where it is none of those
that make tensors, for `Foreign`, which keeps nothing and does nothing: a file may have a namespace
or a config beside its tensors. The checksums of the archive, which PyTorch skips, are verified.
"""

import collections
import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np

from cnn_jax.errors import UserError

# The two numbers that an old file begins with, each a pickle of its own.
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "BoolStorage": np.dtype(bool),
    "ByteStorage": np.dtype("u1"),
    "CharStorage": np.dtype("i1"),
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "IntStorage": np.dtype("<i4"),
    "LongStorage": np.dtype("<i8"),
    "ShortStorage": np.dtype("<i2"),
}
# Under which training scripts keep the state dict beside all else, the likeliest first.
STATES = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
SPLIT = {"params", "stats"}  # of the port of Wide ResNet: two mappings, one network
DEPTH = 3  # of mappings in which a state dict is looked for


class Storage(NamedTuple):
    """Where the numbers of a tensor are, or of several."""

    key: str
    dtype: np.dtype
    count: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides are in numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


Fetch = Callable[[Storage], bytes]


class Foreign:
    """An object of some other class, whose name a subclass bears."""

    def __new__(cls, *_, **__):
        return super().__new__(cls)

    def __init__(self, *_, **__):
        """Nothing is kept: of arguments, and below of attributes and items."""

    def __call__(self, *_, **__):
        return self

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def add(self, value):
        pass

    append = extend = add


class Unpickler(pickle.Unpickler):
    """Makes `Tensor`s, mappings and plain values; everything else is `Foreign`."""

    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return self._tensor
        if module == "torch._utils" and name.startswith("_rebuild_parameter"):
            return self._parameter
        if (module, name) == ("torch._tensor", "_rebuild_from_type_v2"):
            return self._of_type
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch", "Size"):
            return tuple
        if module == "torch" and name in STORAGES:
            return name  # a file could change the attributes of anything else
        return type(name, (Foreign,), {"__module__": module})

    def persistent_load(self, pid: Any) -> Any:
        kind, what, key, _, count, *part = pid if pid[0] != "module" else (*pid[:2], "", "", 0)
        if kind == "module":  # a class, with its source
            return what
        if kind != "storage" or any(part) or type(key) is not str or type(count) is not int:
            raise ValueError(f"a storage is described by {kind!r}, {key!r}, {count!r}, {part!r}")
        return self.storages.setdefault(key, Storage(key, STORAGES[what], count))

    def _tensor(self, storage, offset, shape, strides, *_) -> Tensor:
        return Tensor(storage, offset, tuple(shape), tuple(strides))

    def _parameter(self, tensor, *_) -> Any:
        return tensor

    def _of_type(self, make, _, arguments, *__) -> Any:
        return make(*arguments)


def read(data: bytes) -> dict[str, np.ndarray]:
    """The state dict in a file of `torch.save`; its arrays share memory with `data`.

    Raises:
      UserError: there is none, or several.
      Exception: the file is damaged; pickles and archives raise almost anything.
    """
    content, fetch = (open_zip if data.startswith(b"PK") else open_old)(io.BytesIO(data))
    state, stored = state_of(content), {}
    for tensor in state.values():  # some share their storage
        if tensor.storage not in stored:
            stored[tensor.storage] = np.frombuffer(fetch(tensor.storage), tensor.storage.dtype)
    return {name: view(tensor, stored[tensor.storage]) for name, tensor in state.items()}


def open_zip(file: BinaryIO) -> tuple[Any, Fetch]:
    """The pickled value of a zip archive, and what gives the bytes of a storage."""
    archive = zipfile.ZipFile(file)
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED:  # which PyTorch never does
            raise ValueError(f"{member.filename} is compressed")
    (pickled,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
    folder = pickled.removesuffix("data.pkl")
    order = f"{folder}byteorder"
    check_order(order not in archive.namelist() or archive.read(order) == b"little")
    content = checked(io.BytesIO(archive.read(pickled))).load()
    return content, lambda storage: archive.read(f"{folder}data/{storage.key}")


def open_old(file: BinaryIO) -> tuple[Any, Fetch]:
    """The same of a file from before PyTorch 1.6, where the storages follow the pickles."""
    for number in (MAGIC, PROTOCOL):
        if checked(file).load() != number:
            raise UserError("it is a pickle, but none of PyTorch's")
    check_order(checked(file).load()["little_endian"])
    unpickler = checked(file)
    content, found = unpickler.load(), {}
    for key in checked(file).load():
        storage = unpickler.storages[key]
        if (count := int.from_bytes(file.read(8), "little")) != storage.count:
            raise ValueError(f"storage {key} has {count} numbers, not {storage.count}")
        found[storage] = file.read(count * storage.dtype.itemsize)
    return content, found.__getitem__


def check_order(is_little: bool) -> None:
    """Raises `UserError` for files of the few machines whose numbers begin with the high byte."""
    if not is_little:
        raise UserError("it is of a machine with another order of bytes")


def checked(file: BinaryIO) -> Unpickler:
    """What loads the pickle that begins here, once its instructions prove harmless to memory."""
    start = file.tell()
    for count, (instruction, argument, _) in enumerate(pickletools.genops(file)):
        # Python makes room for as many values as the highest number that one is kept under.
        if "PUT" in instruction.name and argument > count:
            raise ValueError(f"value number {argument} after {count} instructions")
    file.seek(start)
    return Unpickler(file)


def view(tensor: Tensor, flat: np.ndarray) -> np.ndarray:
    """The array of a tensor in its storage [n]."""
    _, offset, shape, strides = tensor
    if not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
        raise ValueError(f"a tensor of shape {shape}, strides {strides} at {offset}")
    if 0 in shape:
        return np.zeros(shape, flat.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if len(flat) != tensor.storage.count or math.prod(shape) > len(flat) or last >= len(flat):
        raise ValueError(f"a tensor of shape {shape} at {offset} of {len(flat)} numbers")
    steps = [step * flat.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps, writeable=False)


def state_of(content: Any) -> dict[str, Tensor]:
    """The only state dict in what a file holds, or the one under the likeliest name."""
    found = state_dicts(content)
    named = {path.rpartition("/")[2]: state for path, state in found.items()}
    if named.keys() >= SPLIT:
        return {name: tensor for part in sorted(SPLIT) for name, tensor in named[part].items()}
    for name in STATES:
        for path in found:
            if path.rpartition("/")[2] == name:
                return found[path]
    if len(found) > 1:
        names = ", ".join(path.removeprefix("/") for path in list(found)[:4])
        raise UserError(f"it has several state dicts ({names}): save the right one alone")
    if found:
        return next(iter(found.values()))
    inside = [content[name] for name in STATES if name in content] if is_mapping(content) else []
    for value in (content, *inside):
        if isinstance(value, Foreign):
            whole = f"{type(value).__module__}.{type(value).__qualname__}"
            raise UserError(
                f"it is a whole pickled network ({whole}), which only its own code can read: save "
                "its weights there, torch.save(network.state_dict(), FILE)"
            )
    raise UserError("it has no state dict: it does not map names to arrays")


def state_dicts(content: Any) -> dict[str, dict[str, Tensor]]:
    """The state dicts in mappings of mappings, by the names that lead to them: "/net/weights"."""
    found, seen, level = {}, set(), {"": content}
    for _ in range(DEPTH):
        below = {}
        for path, mapping in level.items():
            if not is_mapping(mapping) or id(mapping) in seen:
                continue
            seen.add(id(mapping))
            named = {k: v for k, v in mapping.items() if type(k) is str}
            if own := {k: v for k, v in named.items() if isinstance(v, Tensor)}:
                found[path] = own
            below |= {f"{path}/{k}": v for k, v in named.items() if is_mapping(v)}
        level = below
    if len(found) > 1:
        found.pop("", None)  # numbers such as the best error, beside the state dict
    return found


def is_mapping(value: Any) -> bool:
    """Whether state dicts may be in it."""
    return isinstance(value, Mapping)
