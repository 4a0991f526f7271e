"""Preparing goes on where it was interrupted, and keeps no half data set nor hides damage."""

import numpy as np
import pytest
from PIL import Image

from cnn_jax.data import listing, tfds_source
from cnn_jax.data.prepare import shards, tfds_writer
from cnn_jax.errors import UserError
from tests.data.prepare.preparing import load, prepare_all, run


def test_an_image_folder_is_prepared_under_any_name_and_stored_file_by_file(birds, tmp_path):
    prepare_all("birds", birds, tmp_path / "tfds", shard_bytes=10_000)
    source = tfds_source.Source("birds", "train", tmp_path / "tfds")
    files = listing.find(birds).splits["train"].paths
    assert [source.encoded(i) for i in range(20)] == [file.read_bytes() for file in files]
    assert source.labels.tolist() == [0] * 10 + [1] * 10 and source.class_names == ("owl", "wren")
    assert len(list((tmp_path / "tfds").rglob("*train.array_record*"))) > 1
    direct, prepared = (
        load("folder", birds, image_size=16),
        load("tfds:birds", tmp_path / "tfds", image_size=16),
    )
    assert prepared.facts() == direct.facts()
    with pytest.raises(UserError, match=r"data\.image_size"):
        load("tfds:birds", tmp_path / "tfds")


def test_an_interrupted_preparation_goes_on_with_the_next_shard(birds, tmp_path, monkeypatch):
    whole, _ = prepare_all("birds", birds, tmp_path / "whole", shard_bytes=10_000)
    written, write = [], tfds_writer.ShardWriter.write

    def write_until_interrupted(self, file, indices):
        if len(written) == 2:
            file.with_name(f".{file.name}.0.tmp").write_bytes(b"half")  # as a kill would leave it
            raise KeyboardInterrupt
        written.append(file.name)
        return write(self, file, indices)

    monkeypatch.setattr(tfds_writer.ShardWriter, "write", write_until_interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_all("birds", birds, tmp_path / "tfds", shard_bytes=10_000)
    with pytest.raises(UserError, match="its preparation .* was interrupted; do it again"):
        load("tfds:birds", tmp_path / "tfds")
    first = list(written)
    monkeypatch.setattr(
        tfds_writer.ShardWriter, "write", lambda *a: written.append(a[1].name) or write(*a)
    )
    place, notes = prepare_all("birds", birds, tmp_path / "tfds", shard_bytes=10_000)
    assert len(first) == 2 and len(written) == len(set(written)) == len(notes["shards"])
    for file in whole.glob("*.array_record-*"):
        assert (place / file.name).read_bytes() == file.read_bytes()
    assert len(list(place.glob("*.array_record-*"))) == len(written)


def test_an_interrupted_preparation_of_files_that_have_changed_starts_over(
    birds, tmp_path, monkeypatch
):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tfds_writer, "verify", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare_all("birds", birds, tmp_path / "tfds")
    monkeypatch.undo()
    Image.new("RGB", (9, 9), "white").save(birds / "train" / "owl" / "0.png")
    prepare_all("birds", birds, tmp_path / "tfds")
    source = tfds_source.Source("birds", "train", tmp_path / "tfds")
    assert source.encoded(0) == (birds / "train" / "owl" / "0.png").read_bytes()


def test_a_shard_that_does_not_read_back_is_named_and_written_anew(birds, tmp_path, monkeypatch):
    def damage(place, *_):
        file = min(place.glob("birds-train.array_record-*"))
        content = bytearray(file.read_bytes())
        content[2000] ^= 255
        file.write_bytes(content)
        verify(place, *_)

    # One that is left out makes the first shard shorter than those after it.
    (birds / "train" / "owl" / "0000.png").write_bytes(b"no image")
    verify = tfds_writer.verify
    monkeypatch.setattr(tfds_writer, "verify", damage)
    with pytest.raises(UserError, match=r"birds-train\.array_record.* is damaged .*write it anew"):
        prepare_all("birds", birds, tmp_path / "tfds", shard_bytes=10_000, on_error="skip")
    monkeypatch.undo()
    prepare_all("birds", birds, tmp_path / "tfds", shard_bytes=10_000, on_error="skip")
    (birds / "train" / "owl" / "0000.png").unlink()
    direct = load("folder", birds, image_size=16)
    assert load("tfds:birds", tmp_path / "tfds", image_size=16).facts() == direct.facts()


def test_prepared_from_other_files_is_not_written_over(birds, tmp_path):
    prepare_all("birds", birds, tmp_path / "tfds")
    Image.new("RGB", (9, 9)).save(birds / "train" / "owl" / "new.png")
    with pytest.raises(UserError, match="is there, made from other files"):
        prepare_all("birds", birds, tmp_path / "tfds")


def test_a_damaged_image_is_named_or_left_out_and_counted(birds, tmp_path, capsys):
    damaged = birds / "train" / "owl" / "3.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    arguments = ["prepare", "birds", f"--from={birds}", f"--data_dir={tmp_path / 'tfds'}"]
    code, _, err = run(capsys, *arguments)
    assert code == 1 and "owl/3.png" in err and err.count("\n") == 1
    code, out, _ = run(capsys, *arguments, "--on_error=skip")
    assert code == 0 and "train: 19 images" in out and "1 damaged left out" in out
    source = tfds_source.Source("birds", "train", tmp_path / "tfds")
    assert len(source) == 19 and source.labels.tolist() == [0] * 9 + [1] * 10
    assert run(capsys, "check", "birds", f"--data_dir={tmp_path / 'tfds'}")[0] == 0


def test_a_cmyk_jpeg_is_stored_as_it_is_and_one_of_32_bits_is_named(birds, tmp_path):
    odd = birds / "test" / "owl" / "0.png"
    Image.new("CMYK", (8, 8), (10, 20, 30, 40)).save(odd, "JPEG")
    prepare_all("birds", birds, tmp_path / "cmyk")
    source = tfds_source.Source("birds", "test", tmp_path / "cmyk")
    assert source.encoded(0) == odd.read_bytes() and source.channels == 3
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(odd, "TIFF")
    with pytest.raises(UserError, match=r"owl/0\.png .*of 32 bits.*--on_error=skip"):
        prepare_all("birds", birds, tmp_path / "deep")


@pytest.mark.parametrize(
    "arguments,message",
    [
        (
            ["prepare", "cifar-10", "--from=."],
            "unknown data set 'cifar-10' (did you mean 'cifar10'",
        ),
        (["prepare", "cifar10"], "name the folder that has the files of cifar10 with --from=DIR"),
        (["prepare", "cifar10", "--from=nowhere"], "there is no nowhere"),
        (["prepare", "cifar10", "--from=."], "name the file, or its folder, with --from=PATH"),
        (["prepare", "mnist", "--from=."], "put them into one folder and name it with --from=FOLD"),
        (["check", "birds", "--data_dir=nowhere"], "there are no prepared data sets in nowhere"),
        (["chek", "birds"], "did you mean 'check'"),
    ],
)
def test_a_mistake_of_the_data_command_is_one_line(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code in (1, 2) and message in err and err.count("\n") == 1


def test_what_is_prepared_here_is_read_by_tfds_itself(birds, tmp_path):
    import tensorflow_datasets as tfds

    prepare_all("birds", birds, tmp_path)
    source = tfds.data_source("birds", data_dir=tmp_path, split="test")
    assert [example["label"] for example in source] == [0, 0, 1, 1]
    expected = np.asarray(Image.open(birds / "test" / "wren" / "1.png"))
    assert (source[3]["image"] == expected).all()
    info = tfds.builder("birds", data_dir=tmp_path, try_gcs=False).info
    assert info.supervised_keys == ("image", "label") and info.disable_shuffling


@pytest.mark.parametrize("name", ["a\nb", " a", "a ", "\udcff", "a\u2028b"])
def test_a_class_that_tfds_cannot_list_is_named_before_anything_is_written(birds, tmp_path, name):
    (birds / "train" / "owl").rename(birds / "train" / name)
    (birds / "test" / "owl").rename(birds / "test" / name)
    with pytest.raises(UserError, match="cannot be named in a TFDS data set.*rename its folder"):
        prepare_all("birds", birds, tmp_path / "tfds")
    assert not (tmp_path / "tfds").exists()


def test_names_with_odd_characters_are_prepared(birds, tmp_path):
    for split in ("train", "test"):
        (birds / split / "owl").rename(birds / split / "[b] \u00e4, {x}")
        (birds / split / "wren" / "0.png").rename(birds / split / "wren" / "\udcff\n[b].png")
    prepare_all("birds", birds, tmp_path / "tfds")
    assert load("tfds:birds", tmp_path / "tfds", image_size=8).class_names[0] == "[b] \u00e4, {x}"


def test_a_record_has_its_fields_in_one_order_so_that_shards_are_the_same_bytes_anywhere(
    birds, tmp_path
):
    place, notes = prepare_all("birds", birds, tmp_path / "tfds")
    name, facts = next(iter(notes["shards"].items()))
    (record, *_) = next(shards.read(place / name, facts["examples"]))
    assert record.index(b"\x02id") < record.index(b"\x05image") < record.index(b"\x05label")
