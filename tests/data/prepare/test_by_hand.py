"""Counts, names and bounds of a preparation, each computed by hand."""

import hashlib
import io
import tarfile
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from cnn_jax.data import tfds_source
from cnn_jax.data.prepare import (
    archives,
    check,
    imagenet,
    images,
    preparation,
    shards,
    svhn,
    tfds_writer,
)
from cnn_jax.data.prepare.check import SplitFacts
from cnn_jax.errors import UserError
from tests.data.prepare.archive_files import add_file


def test_facts_count_classes_sizes_and_pixels():
    facts = SplitFacts(classes=4, channels=2)
    assert (facts.counts.tolist(), facts.mean, facts.std) == ([0, 0, 0, 0], 0, 0)
    facts.add(np.array([[[0, 10], [4, 10]]], np.uint8), 3, 100)
    facts.add(np.array([[[8, 255]], [[4, 5]]], np.uint8), 1, 20)
    assert (facts.counts.tolist(), facts.labels) == ([0, 1, 0, 1], [3, 1])
    assert (facts.nbytes, facts.pixels, facts.sizes) == (120, 4, {(1, 2): 1, (2, 1): 1})
    assert facts.mean.tolist() == [4, 70]
    np.testing.assert_allclose(facts.std, [8**0.5, np.std([10, 10, 255, 5])])


def planned(count, nbytes, shard_bytes):
    examples = type("Examples", (), {"nbytes": nbytes, "__len__": lambda self: count})()
    published = types.SimpleNamespace(splits={"train": examples})
    return list(tfds_writer.plan_shards("birds", published, "train", shard_bytes))


def test_shards_are_of_one_size_and_named_as_by_tfds():
    name = "birds-train.array_record-{:05d}-of-00004"
    ends = [(0, 2), (2, 5), (5, 8), (8, 10)]
    assert planned(10, 100, 30) == [(name.format(i), range(*end)) for i, end in enumerate(ends)]
    sizes = {(10, 100, 100): 1, (10, 101, 100): 2, (3, 100, 1): 3, (10, 0, 1): 1}
    sizes[600, 10**6, 1] = 512
    assert {key: len(planned(*key)) for key in sizes} == sizes
    assert tfds_writer.split_of("my-birds-train.array_record-00000-of-00004") == "train"


def test_the_shape_of_all_images_has_the_most_channels_and_no_side_that_differs():
    assert tfds_writer.common_shape({(4, 5, 1), (4, 6, 3)}) == [4, None, 3]
    assert tfds_writer.common_shape({(4, 6, 1)}) == [4, 6, 1]
    assert tfds_writer.common_shape(set()) == [None, None, 1]


def test_a_digest_is_of_the_lengths_and_the_bytes_of_the_records():
    digest = shards.Digest()
    for record in (b"ab", b"", b"c"):
        digest.add(record)
    stored = b"".join(n.to_bytes(8, "little") + r for n, r in [(2, b"ab"), (0, b""), (1, b"c")])
    sha256 = hashlib.sha256(stored).hexdigest()
    assert digest.facts() == {"examples": 3, "bytes": 3, "sha256": sha256}


@pytest.mark.parametrize("count", [0, 1, shards.TASK, shards.TASK + 1])
def test_threads_take_every_item_once_and_keep_the_order(count):
    with ThreadPoolExecutor(2) as pool:
        found = list(shards.in_threads(pool, lambda item: -item, range(count)))
    assert found == [-item for item in range(count)]


def test_records_are_read_in_order_a_chunk_at_a_time_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "CHUNK", 2)
    file, records = tmp_path / "shard", [b"a", b"bc", b"", b"d", b"e"]
    facts = shards.write(file, records)
    assert (facts["examples"], facts["bytes"]) == (5, 5)
    assert list(shards.read(file, 5)) == [records[:2], records[2:4], records[4:]]
    for count in (4, 6):
        with pytest.raises(UserError, match=f"has 5 records in place of {count}"):
            list(shards.read(file, count))
    shards.verify(file, facts)
    with pytest.raises(UserError, match="another checksum"):
        shards.verify(file, facts | {"sha256": "0"})
    with pytest.raises(UserError, match="is missing"):
        list(shards.read(tmp_path / "other", 5))


@pytest.mark.parametrize("name", ["Birds", "1birds", "my-birds", "birds/a", "birds "])
def test_a_name_that_tfds_cannot_take_is_refused(name, tmp_path):
    file = tmp_path / "train" / "cat" / "1.png"
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(UserError, match="cannot name a data set"):
        archives.find(name, tmp_path)
    assert archives.find("birds_2", tmp_path).class_names == ("cat",)


def test_a_name_of_nothing_published_needs_an_image_folder(tmp_path):
    with pytest.raises(UserError, match="unknown data set 'birds'.*or any name"):
        archives.find("birds", tmp_path)
    with pytest.raises(UserError, match="mnist: there is no .*nowhere"):
        archives.find("mnist", tmp_path / "nowhere")


def test_images_in_memory_are_stored_as_pngs_with_split_and_number():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    for stored in (pixels, pixels[..., :1]):
        examples = images.ArrayExamples(stored, np.array([1, 0]), "test")
        assert (len(examples), examples.nbytes) == (2, stored.nbytes)
        assert examples.identity(1) == "test/00001" and examples.labels.tolist() == [1, 0]
        image = np.asarray(Image.open(io.BytesIO(examples.encoded(1))))
        assert (image == stored[1].squeeze()).all()


def test_files_and_members_of_a_tar_are_stored_as_they_are(tmp_path):
    file = tmp_path / "cat" / "1.png"
    file.parent.mkdir()
    file.write_bytes(b"abc")
    examples = images.FileExamples([file, file], np.array([0, 1]))
    assert (len(examples), examples.nbytes, examples.identity(1)) == (2, 6, "cat/1.png")
    assert examples.encoded(0) == b"abc"
    places = imagenet.as_places([(0, 1), (1, 2)])
    assert imagenet.as_places([]).shape == (0, 2)
    examples = images.TarExamples(file, ["a", "b"], places, np.array([0, 1]))
    assert (len(examples), examples.nbytes, examples.identity(1)) == (2, 3, "b")
    assert [examples.encoded(i) for i in range(2)] == [b"a", b"bc"]


def test_validation_images_have_the_labels_in_the_order_of_their_names(tmp_path):
    with tarfile.open(tmp_path / "val.tar", "w") as tar:
        for name in ("b.JPEG", "._b.JPEG", "a.JPEG"):
            add_file(tar, name, name.encode())
    found = imagenet.index_validation(tmp_path / "val.tar", np.array([7, 5]))
    assert [found.identity(i) for i in range(2)] == ["a.JPEG", "b.JPEG"]
    assert found.encoded(1) == b"b.JPEG" and found.labels.tolist() == [7, 5]
    with pytest.raises(UserError, match="has 2 images and .* 3 labels"):
        imagenet.index_validation(tmp_path / "val.tar", np.array([7, 5, 1]))


def test_notes_are_kept_for_the_same_files_and_begun_anew_for_others(tmp_path):
    place = tmp_path / "1.0.0.incomplete"
    facts = {"examples": 1, "sha256": "", "bytes": 2, "shape": [1, 1, 3], "skipped": []}
    notes = preparation.begin(place, ["a"])
    assert notes == {"made_from": ["a"], "shards": {}} == preparation.read(place)
    notes["shards"]["one"] = facts
    preparation.write(place, notes)
    (place / "one").touch()
    assert preparation.begin(place, ["a"]) == notes and (place / "one").exists()
    assert preparation.of_complete(place, ["a"]) == notes
    with pytest.raises(UserError, match="made from other files"):
        preparation.of_complete(place, ["b"])
    assert preparation.begin(place, ["b"])["shards"] == {} and not (place / "one").exists()
    assert preparation.read(tmp_path) == {"made_from": None, "shards": {}}


@pytest.mark.parametrize("shape", [(32, 32, 3, 2), (32, 3, 32, 2), (31, 32, 3, 2)])
@pytest.mark.parametrize("labels", [[1, 10], [0, 1], [11, 1], [1]])
def test_the_digits_of_svhn_are_1_to_10_of_images_of_32_pixels(shape, labels, tmp_path):
    from scipy.io import savemat

    file, x = tmp_path / "train_32x32.mat", np.arange(np.prod(shape)).reshape(shape)
    savemat(file, {"X": x.astype(np.uint8), "y": np.array(labels)[:, None]})
    if shape == (32, 32, 3, 2) and labels == [1, 10]:
        found, digits = svhn.read_mat(file)
        assert digits.tolist() == [1, 0] and (found == np.moveaxis(x, 3, 0).astype(np.uint8)).all()
    else:
        with pytest.raises(UserError, match="get the file again"):
            svhn.read_mat(file)


def test_a_data_set_is_prepared_again_from_other_files_errors_or_sizes(tmp_path, monkeypatch):
    asked, published = [], types.SimpleNamespace(class_names=(), fingerprint=lambda: "files")

    def of_complete(final, made_from):
        asked.append((final, made_from))
        return "notes"

    monkeypatch.setattr(tfds_writer.preparation, "of_complete", of_complete)
    final = tmp_path / "birds" / "1.0.0"
    final.mkdir(parents=True)
    made = tfds_writer.prepare("birds", published, tmp_path, on_error="skip", report=print)
    assert made == (final, "notes") and asked == [(final, ["files", "skip", 2**26])]
    with pytest.raises(UserError, match="unknown on_error 'leave'"):
        tfds_writer.prepare("birds", published, tmp_path, on_error="leave", report=print)


@pytest.mark.parametrize("fact", sorted(preparation.FACTS))
def test_notes_of_a_shard_that_lacks_a_fact_are_damaged(fact, tmp_path):
    facts = dict.fromkeys(preparation.FACTS - {fact}, 0)
    preparation.write(tmp_path, {"made_from": [], "shards": {"one": facts}})
    with pytest.raises(UserError, match="is damaged .*a shard lacks a fact"):
        preparation.read(tmp_path)


def test_what_an_interrupted_preparation_was_writing_is_removed(tmp_path, monkeypatch):
    removed = []
    monkeypatch.setattr(preparation.files, "remove_leftovers", removed.append)
    for _ in range(2):
        preparation.begin(tmp_path / "birds", ["a"])
    assert removed == [tmp_path / "birds"]


def test_published_labels_are_of_the_classes():
    examples = images.ArrayExamples(np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 2]), "train")
    with pytest.raises(UserError, match="train has label 2, but there are 2"):
        archives.Published(("a", "b"), {"train": examples}, [])


def test_one_process_prepares_a_data_set(tmp_path):
    place = tmp_path / "tfds" / "birds"
    with tfds_writer.alone(place):
        assert place.is_dir()
        with (
            pytest.raises(UserError, match="another process is preparing"),
            tfds_writer.alone(place),
        ):
            pass
    with tfds_writer.alone(place):
        pass


@pytest.mark.parametrize("channels", [1, 3])
def test_a_check_counts_the_good_images_of_each_split(channels, tmp_path, monkeypatch):
    told, progress = ["a line"], []
    names, shape = types.SimpleNamespace(names=["a", "b"]), (None, None, channels)
    infos = {s: types.SimpleNamespace(num_examples=n) for s, n in {"train": 0, "test": 2}.items()}
    features = {"label": names, "image": types.SimpleNamespace(shape=shape)}
    builder = types.SimpleNamespace(info=types.SimpleNamespace(features=features, splits=infos))

    def check_shard(builder, file, examples, expected, facts):
        assert (file, examples, expected) == (tmp_path / "shard", 5, {"sha256": "0"})
        return told

    notes = {"shards": {"shard": {"sha256": "0"}}}
    monkeypatch.setattr(check.preparation, "read", lambda place: notes)
    monkeypatch.setattr(check.tfds_builder, "shards", lambda *_: [(tmp_path / "shard", 5)])
    monkeypatch.setattr(check, "check_shard", check_shard)
    class_names, splits, problems = check.check_splits(
        "birds", tmp_path, tmp_path, builder, lambda *what: progress.append(what)
    )
    assert class_names == ("a", "b")
    assert {(facts.classes, facts.channels) for facts in splits.values()} == {(2, channels)}
    assert problems == ["a line", "a line", "test has 0 good images in place of 2"]
    assert progress == [(f"check {split}, shard", 1, 1) for split in ("train", "test")]


def test_no_deviation_is_that_of_less_than_nothing():
    # Rounded, the mean of the squares of three equal values is less than the square of the mean.
    total = np.array([7 * 0.1])
    facts = SplitFacts(1, 1, pixels=3, totals=total, squares=total**2 / 3)
    assert facts.squares / 3 - facts.mean**2 < 0 and facts.std.tolist() == [0]


@pytest.mark.parametrize("channels,mode", [(1, "L"), (3, "RGB")])
def test_a_record_is_decoded_in_the_colors_of_its_data_set(channels, mode, monkeypatch, tmp_path):
    def decode_bytes(encoded, name, size, mode):
        asked.append((encoded, name, size, mode))
        return "pixels"

    asked = []
    example = {"image": b"abc", "label": 1, "id": b"cat/1.png"}
    features = types.SimpleNamespace(deserialize_example_np=lambda record, decoders: example)
    monkeypatch.setattr(check.folder, "decode_bytes", decode_bytes)
    facts = SplitFacts(2, channels)
    found = check.decode(features, tmp_path / "shard", facts, (5, b"record"))
    assert found == ("pixels", 1, 3)
    assert asked == [(b"abc", "cat/1.png (record 5 of shard)", None, mode)]
    for label in (-1, 2):
        example["label"] = label
        told = check.decode(features, tmp_path / "shard", facts, (5, b"record"))
        assert told.endswith(f"has label {label}, but there are 2 classes")


def test_an_unpacked_development_kit_is_read_and_a_file_it_lacks_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.mat").write_bytes(b"meta")
    assert imagenet.read_member(tmp_path, "data/meta.mat") == b"meta"
    with pytest.raises(UserError, match="has no data/truth.txt. imagenet2012 is"):
        imagenet.read_member(tmp_path, "data/truth.txt")


def test_a_name_without_a_version_is_the_newest_one(tmp_path):
    for version in ("1.0.0", "10.0.0", "9.0.1"):
        (tmp_path / "birds" / version).mkdir(parents=True)
        (tmp_path / "birds" / version / "dataset_info.json").touch()
    assert tfds_source.locate("birds", tmp_path) == tmp_path / "birds" / "10.0.0"
    assert tfds_source.locate("birds:9.0.1+extra", tmp_path) == tmp_path / "birds" / "9.0.1"
    for name in ("birds:9.0.2", "bird", "bi rds"):
        with pytest.raises(UserError):
            tfds_source.locate(name, tmp_path)
