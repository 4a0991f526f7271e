"""Small archives laid out as their authors publish them."""

import gzip
import io
import pickle
import tarfile

import numpy as np
from PIL import Image


def add_file(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def cifar_binary(path, train, test, names):
    """`cifar-10-binary.tar.gz` of (images, labels) pairs."""

    def record(images, labels):
        planes = np.asarray(images).transpose(0, 3, 1, 2).reshape(len(labels), -1)
        return np.concatenate([np.asarray(labels, np.uint8)[:, None], planes], 1).tobytes()

    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for i, part in enumerate(np.array_split(np.arange(len(train[1])), 5)):
            content = record(train[0][part], train[1][part])
            add_file(tar, f"cifar-10-batches-bin/data_batch_{i + 1}.bin", content)
        add_file(tar, "cifar-10-batches-bin/test_batch.bin", record(*test))
        add_file(tar, "cifar-10-batches-bin/batches.meta.txt", "\n".join(names).encode())


def cifar_python(path, name, train, test, names):
    """`cifar-10-python.tar.gz` or `cifar-100-python.tar.gz`, pickled as by Python 2."""

    def batch(images, labels):
        data = np.asarray(images).transpose(0, 3, 1, 2).reshape(len(labels), -1)
        kind = "labels" if name == "cifar10" else "fine_labels"
        return {b"data": data, kind.encode(): [int(label) for label in labels]}

    if name == "cifar10":
        parts = np.array_split(np.arange(len(train[1])), 5)
        files = {
            f"data_batch_{i + 1}": batch(train[0][part], train[1][part])
            for i, part in enumerate(parts)
        }
        files |= {"test_batch": batch(*test)}
        files |= {"batches.meta": {b"label_names": [word.encode() for word in names]}}
    else:
        files = {"train": batch(*train), "test": batch(*test)}
        files |= {"meta": {b"fine_label_names": [word.encode() for word in names]}}
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for file, content in files.items():
            add_file(tar, f"folder/{file}", pickle.dumps(content, protocol=2))


def idx(folder, prefix, images, labels):
    """The two IDX files of a split."""
    for kind, array in [("images-idx3", images), ("labels-idx1", labels)]:
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        content = header + np.asarray(array, np.uint8).tobytes()
        (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(content, 1))


def svhn(folder, splits):
    """`train_32x32.mat` and the like; the digit 0 is written as 10."""
    from scipy.io import savemat

    for name, (images, labels) in splits.items():
        digits = np.where(np.asarray(labels) == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(folder / f"{name}_32x32.mat", {"X": np.moveaxis(images, 0, -1), "y": digits})


def jpeg(rng, width, height):
    out = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(out, "JPEG")
    return out.getvalue()


# The kit's numbers are not in alphabetical order, and go on after the leaves with inner nodes.
SYNSETS = {1: "n03000000", 2: "n01000000", 3: "n02000000", 4: "n00000001"}
TRUTH = [3, 1, 1, 2]


def imagenet(folder):
    """Train and validation tars and the development kit; the files of each split by name."""
    rng, images = np.random.default_rng(0), {"train": {}, "validation": {}}
    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as outer:
        for number in (1, 2, 3):
            synset, inner_file = SYNSETS[number], io.BytesIO()
            with tarfile.open(fileobj=inner_file, mode="w") as inner:
                for i in range(3):
                    content = jpeg(rng, 20 + i, 30)
                    images["train"][f"{synset}/{synset}_{i}.JPEG"] = content
                    add_file(inner, f"{synset}_{i}.JPEG", content)
            add_file(outer, f"{synset}.tar", inner_file.getvalue())
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as tar:
        for i in reversed(range(len(TRUTH))):
            content = jpeg(rng, 24, 18 + i)
            images["validation"][f"ILSVRC2012_val_{i + 1:08d}.JPEG"] = content
            add_file(tar, f"ILSVRC2012_val_{i + 1:08d}.JPEG", content)
    with tarfile.open(folder / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
        add_file(tar, "ILSVRC2012_devkit_t12/data/meta.mat", meta_mat())
        truth = "".join(f"{number}\n" for number in TRUTH).encode()
        name = "ILSVRC2012_validation_ground_truth.txt"
        add_file(tar, f"ILSVRC2012_devkit_t12/data/{name}", truth)
    return images


def meta_mat():
    """`meta.mat`: a structure for each synset, of which the last is an inner node."""
    from scipy.io import savemat

    names = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")
    synsets = np.empty((len(SYNSETS), 1), [(name, object) for name in names])
    for row, (number, synset) in zip(synsets[:, 0], SYNSETS.items(), strict=True):
        values = (number, synset, "a word", "what it means", 3 if number == 4 else 0)
        for name, value in zip(names, values, strict=True):
            row[name] = value
    out = io.BytesIO()
    savemat(out, {"synsets": synsets})
    return out.getvalue()
