"""Data sets as they are published and as they are prepared here."""

import gzip
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from cnn_jax.data import tfds_source
from cnn_jax.data.decode import BadImage
from cnn_jax.data.prepare import archives, check, pieces, preparation
from cnn_jax.data.stream import sources, views
from cnn_jax.errors import UserError
from tests.data.prepare import archive_files
from tests.data.prepare.preparing import load, pictures, prepare_all, silent
from tests.fuzz import image_cases
from tests.fuzz.fuzzing import CACHE, Case

NAMES = [f"class{i}" for i in range(10)]
ARCHIVE = "cifar-10-{}.tar.gz"


def facts(name, image_size=None):
    """Reads a data set, for training in memory."""
    return lambda folder: load(name, folder / "data", image_size).facts()


def data(folder: Path) -> Path:
    (folder / "data").mkdir(exist_ok=True)
    return folder / "data"


def cifar_binary(folder, seed):
    shown = pictures(10, seed=seed)
    archive_files.cifar_binary(data(folder) / ARCHIVE.format("binary"), shown, shown, NAMES)


def cifar_python(folder, seed):
    shown = pictures(10, seed=seed)
    file = data(folder) / ARCHIVE.format("python")
    archive_files.cifar_python(file, "cifar10", shown, shown, NAMES)


def cifar100(folder, seed):
    shown = pictures(10, seed=seed)
    names, file = [f"fine{i}" for i in range(100)], data(folder) / "cifar-100-python.tar.gz"
    archive_files.cifar_python(file, "cifar100", shown, shown, names)


def unpacked(make):
    """The files in the one archive that `make` writes."""

    def make_unpacked(folder, seed):
        make(folder, seed)
        (file,) = (folder / "data").iterdir()
        with tarfile.open(file) as tar:
            for member in tar:
                content = tar.extractfile(member).read()
                (folder / "data" / Path(member.name).name).write_bytes(content)
        file.unlink()

    return make_unpacked


def plain_tar(folder, seed):
    cifar_python(folder, seed)
    (file,) = (folder / "data").iterdir()
    file.write_bytes(gzip.decompress(file.read_bytes()))


def idx(folder, seed):
    for prefix in ("train", "t10k"):
        archive_files.idx(data(folder), prefix, *pictures(10, (28, 28), seed=seed))


def idx_unpacked(folder, seed):
    idx(folder, seed)
    for file in (folder / "data").iterdir():
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()


def svhn(folder, seed):
    shown = pictures(10, seed=seed)
    archive_files.svhn(data(folder), {"train": shown, "test": shown})


def svhn_packed(folder, seed):
    from scipy.io import savemat

    images, labels = pictures(10, seed=seed)
    labels = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
    content = {"X": np.moveaxis(images, 0, -1), "y": labels}
    for split in ("train", "test"):
        savemat(data(folder) / f"{split}_32x32.mat", content, do_compression=True)


def published(name):
    """Reads published archives, to prepare them."""

    def read(folder):
        found = archives.find(name, folder / "data")
        splits = {}
        for split, examples in found.splits.items():
            images = [(examples.identity(i), examples.encoded(i)) for i in range(len(examples))]
            splits[split] = (examples.labels, images)
        return found.class_names, splits

    return read


def imagenet(folder, seed):
    del seed
    archive_files.imagenet(data(folder))


def image_folder(folder, seed, suffixes=("png", "png", "png")):
    """Two splits of two classes, with an image of each suffix."""
    random = np.random.default_rng(seed)
    for split in ("train", "test"):
        for name in ("owl", "wren"):
            place = folder / split / name
            place.mkdir(parents=True)
            for i, suffix in enumerate(suffixes):
                pixels = random.integers(0, 256, (9, 8 + i, 3), np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.{suffix}", lossless=True)
    return folder


def mixed_folder(folder, seed):
    image_folder(folder / "data", seed, ("png", "jpg", "webp", "gif", "bmp", "tif"))


def read_views(folder):
    """Reads an image folder as a stream does."""
    found, random = sources.folder(folder / "data", None), np.random.default_rng(0)
    view = views.create(**image_cases.CENTER, decoder="pillow", dct_scaling=False)
    images = {s: [view(o.encoded(i), random) for i in range(len(o))] for s, o in found.items()}
    return images, {s: (o.class_names, o.labels, o.channels) for s, o in found.items()}


def listed_folder(folder, seed):
    image_folder(folder / "data", 0)
    names = ("owl an owl", "wren", "eagle") if seed else ("owl", "wren a wren")
    (folder / "data" / "synsets.tsv").write_text("\n".join(names))
    (folder / "lists").mkdir()
    left_out = ("1.png", "owl/0.png") if seed else ("0.png", "owl/2.png")
    (folder / "lists" / "exclude.txt").write_text("\n".join(left_out))


def read_listed(folder):
    found = sources.folder(folder / "data", None, folder / "lists" / "exclude.txt")
    about = {s: (one.class_names, one.labels, len(one)) for s, one in found.items()}
    return about, {s: [one.encoded(i) for i in range(len(one))] for s, one in found.items()}


def cached_folder(folder, seed):
    """The cache that a first reading leaves, from which the next one reads."""
    from cnn_jax.data.folder import decode_all, fingerprint, write_cache
    from cnn_jax.data.listing import find

    root = image_folder(folder / "data", 0)
    files = {split: found.paths for split, found in find(root).splits.items()}
    file = folder / CACHE / "folders" / f"{fingerprint(root, files, 8)}.npz"
    random = np.random.default_rng(seed)
    images = decode_all(files, (8, 8))
    write_cache(file, {s: random.permuted(own) if seed else own for s, own in images.items()})


def mosaics(folder, seed):
    random = np.random.default_rng(seed)
    for split in ("train", "test"):
        (data(folder) / split).mkdir()
        for name in NAMES:
            mosaic = Image.fromarray(random.integers(0, 256, (32, 64, 3), np.uint8))
            mosaic.save(folder / "data" / split / f"{name}.webp", lossless=True)


def prepared(folder, seed):
    """A data set as `launch.py data prepare` leaves it."""
    with tempfile.TemporaryDirectory() as published:
        root = image_folder(Path(published) / "birds", seed)
        prepare_all("birds", root, folder / "data", shard_bytes=1500)


def read_stream(folder):
    found = tfds_source.sources("birds", folder / "data")
    about = {s: (one.class_names, one.channels, one.labels) for s, one in found.items()}
    return about, {s: [one.encoded(i) for i in range(len(one))] for s, one in found.items()}


def read_check(folder):
    names, splits, problems = check.check("birds", folder / "data", silent)
    if problems:
        raise UserError(problems[0])
    return names, {split: vars(found) for split, found in splits.items()}


def read_preparation(folder):
    return preparation.read(folder / "data" / "birds" / "1.0.0")


def split_file(folder, seed):
    with tempfile.TemporaryDirectory() as other:
        (Path(other) / "source").write_bytes(np.random.default_rng(seed).bytes(2500))
        pieces.split(Path(other) / "source", folder / "data", megabytes=0.001)


def split_folder(folder, seed):
    with tempfile.TemporaryDirectory() as other:
        pieces.split(image_folder(Path(other) / "birds", seed), folder / "data", megabytes=0.001)


def read_joined(folder):
    made = pieces.join(folder / "data", folder / "out")
    found = [made] if made.is_file() else sorted(made.rglob("*.png"))
    return [(file.relative_to(folder).as_posix(), file.read_bytes()) for file in found]


JSON = ("dataset_info", "features")
SHARDS, LABELS = "**/*array_record*", "**/labels.npz"
CASES = (
    Case("CIFAR-10 binary tar.gz", cifar_binary, facts("cifar10"), checksum=True),
    Case("CIFAR-10 python tar.gz", cifar_python, facts("cifar10"), checksum=True),
    Case("CIFAR-100 python tar.gz", cifar100, facts("cifar100"), checksum=True),
    Case("CIFAR-10 tar", plain_tar, facts("cifar10")),
    Case("CIFAR-10 binary batches", unpacked(cifar_binary), facts("cifar10")),
    Case("CIFAR-10 pickles", unpacked(cifar_python), facts("cifar10")),
    Case("CIFAR-100 pickles", unpacked(cifar100), facts("cifar100")),
    Case("CIFAR-10 mosaics", mosaics, facts("cifar10")),
    Case("IDX gzip", idx, facts("mnist"), checksum=True),
    Case("IDX", idx_unpacked, facts("mnist")),
    Case("SVHN mat", svhn, published("svhn_cropped")),
    Case("SVHN mat, compressed", svhn_packed, published("svhn_cropped"), checksum=True),
    Case("ImageNet tars", imagenet, published("imagenet2012"), "data/*.tar"),
    Case("ImageNet kit tar.gz", imagenet, published("imagenet2012"), "data/*.gz", checksum=True),
    Case("image folder", mixed_folder, facts("folder", 8)),
    Case("image folder, streamed", mixed_folder, read_views, errors=(UserError, BadImage)),
    Case("synsets.tsv", listed_folder, read_listed, "data/synsets.tsv"),
    Case("list of images left out", listed_folder, read_listed, "lists/*"),
    Case("cache npz", cached_folder, facts("folder", 8), f"{CACHE}/**/*.npz", checksum=True),
    Case("TFDS shards", prepared, facts("tfds:birds", 8), SHARDS, checksum=True),
    Case("TFDS shards, streamed", prepared, read_stream, SHARDS, checksum=True),
    Case("TFDS labels.npz", prepared, facts("tfds:birds", 8), LABELS, checksum=True),
    *(Case(f"TFDS {n}.json", prepared, facts("tfds:birds", 8), f"**/{n}.json") for n in JSON),
    Case("TFDS names of labels", prepared, facts("tfds:birds", 8), "**/*.txt"),
    Case("TFDS data check", prepared, read_check),
    Case("TFDS preparation.json", prepared, read_preparation, "**/preparation.json", checksum=True),
    Case("pieces of a file", split_file, read_joined, "data/*piece-*", checksum=True),
    Case("pieces of a folder", split_folder, read_joined, "data/*piece-*", checksum=True),
    Case("list of pieces", split_file, read_joined, "data/*.json"),
)
