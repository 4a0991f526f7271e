"""A prepared data set as TFDS opens it, of which no file makes TFDS run code of others."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnn_jax.errors import UserError, first_line

# What a `features.json` may name. TFDS imports the module of any other feature, whatever it is.
FEATURES = {
    f"tensorflow_datasets.core.features.{feature}"
    for feature in {
        "audio_feature.Audio",
        "bounding_boxes.BBoxFeature",
        "class_label_feature.ClassLabel",
        "feature.Tensor",
        "features_dict.FeaturesDict",
        "image_feature.Image",
        "labeled_image.LabeledImage",
        "scalar.Scalar",
        "sequence_feature.Sequence",
        "tensor_feature.Tensor",
        "text_feature.Text",
    }
}


@contextlib.contextmanager
def reading(place: Path) -> Iterator[None]:
    """Whatever is raised because files of a prepared data set are damaged becomes a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # TFDS, json and protobuf raise about anything
        raise UserError(
            f"cannot read {place}: one of its .json or .txt files is damaged "
            f"({type(error).__name__}: {first_line(error)}); copy it there again, or prepare the "
            "data set again"
        ) from None


def check_features(place: Path) -> None:
    """Raises `UserError` where a file names a feature that is not one of `FEATURES`."""
    for file in (place / "features.json", place / "dataset_info.json"):
        for name in named_features(json.loads(file.read_text(encoding="utf-8"))):
            if name not in FEATURES:
                raise UserError(
                    f"{file} has the feature {name!r}, whose code is not TFDS's own: labeled "
                    "images need none such"
                )


def named_features(content: Any) -> Iterator[str]:
    """The classes that TFDS makes features of, at any depth of what was JSON."""
    if isinstance(content, list):
        for value in content:
            yield from named_features(value)
    elif isinstance(content, dict):
        # Old files have "type" beside "content", which may be JSON as text.
        named = ("pythonClassName", "python_class_name", "type" if "content" in content else None)
        for key, value in content.items():
            if isinstance(value, str) and key in named:
                yield value
            elif isinstance(value, str) and key == "content":
                yield from named_features(json.loads(value))
            else:
                yield from named_features(value)


def open_builder(place: Path):
    """TFDS's read-only builder of a prepared data set.

    Raises:
      UserError: it is damaged, or does not consist of labeled images in ArrayRecord files.
    """
    import tensorflow_datasets as tfds

    with reading(place):
        check_features(place)
        builder = tfds.builder_from_directory(place)
        if builder.info.file_format.value != "array_record":
            raise UserError(
                f"{place} is of {builder.info.file_format.value} files, which need TensorFlow; "
                "prepare it with file_format='array_record'"
            )
        found = dict(builder.info.features.items())
        image, label = found.get("image"), found.get("label")
        is_image = isinstance(image, tfds.features.Image)
        if not (is_image and isinstance(label, tfds.features.ClassLabel)):
            what = f"{place} has no 'image' (Image) and 'label' (ClassLabel)"
            raise UserError(f"{what}: {list(found)}")
        if len(label.names) != label.num_classes:
            raise ValueError(f"{len(label.names)} names of {label.num_classes} classes")
    return builder


def shards(builder, split: str) -> list[tuple[Path, int]]:
    """The files that a split should have, and the number of records in each."""
    info = builder.info.splits[split]
    return list(zip([Path(file) for file in info.filepaths], info.shard_lengths, strict=True))


def check_counts(builder, split: str) -> None:
    """Raises `UserError` where `dataset_info.json` has another number of a shard's records.

    TFDS reads no more of them than it says, so the others would be lost without a word.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    for file, expected in shards(builder, split):
        if (found := ArrayRecordReader(str(file)).num_records()) != expected:
            raise UserError(
                f"the shard {file} has {found:,} records, and dataset_info.json beside it says "
                f"{expected:,}: get both again"
            )
