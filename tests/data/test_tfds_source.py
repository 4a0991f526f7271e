"""Prepared data sets, ours and others, are read and checked; what is wrong is named."""

import io
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from cnn_jax.data import dataset, tfds_source
from cnn_jax.errors import UserError
from tests.conftest import ROOT
from tests.data.prepare.preparing import load, pictures, prepare_all, run


def test_importing_cnn_jax_and_its_data_does_not_import_tfds():
    code = "import sys, cnn_jax, cnn_jax.data; assert 'tensorflow_datasets' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_source_is_pickled_and_read_from_threads(birds, tmp_path):
    prepare_all("birds", birds, tmp_path / "tfds", shard_bytes=10_000)
    source = tfds_source.Source("birds", "train", tmp_path / "tfds")
    expected = [source.encoded(i) for i in range(20)]
    copy = pickle.loads(pickle.dumps(source))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(copy.encoded, list(range(20)) * 5)) == expected * 5
    assert (copy.labels == source.labels).all()


def test_an_unknown_prepared_data_set_lists_those_there_are(birds, tmp_path):
    prepare_all("birds", birds, tmp_path / "tfds")
    with pytest.raises(UserError, match="did you mean 'birds'"):
        load("tfds:bird", tmp_path / "tfds")
    with pytest.raises(UserError, match=r"unknown version of birds '3\.0\.0'.*1\.0\.0"):
        load("tfds:birds:3.0.0", tmp_path / "tfds")
    with pytest.raises(UserError, match=r"unknown split of .*birds/1\.0\.0 'extra'"):
        load("tfds:birds+extra", tmp_path / "tfds")


def test_a_missing_shard_is_named_by_loading_and_by_checking(birds, tmp_path, capsys):
    place, _ = prepare_all("birds", birds, tmp_path / "tfds", shard_bytes=10_000)
    missing = sorted(place.glob("birds-train.array_record-*"))[1]
    missing.unlink()
    with pytest.raises(UserError, match=f"1 of .* shards of train are missing, first {missing}"):
        load("tfds:birds", tmp_path / "tfds")
    code, out, err = run(capsys, "check", "birds", f"--data_dir={tmp_path / 'tfds'}")
    assert code == 1 and f"the shard {missing} is missing" in err and err.count("\n") == 1
    assert "good images in place of 20" in out


def test_checking_names_a_shard_that_was_cut_off_and_one_with_other_bytes(birds, tmp_path, capsys):
    place, _ = prepare_all("birds", birds, tmp_path / "tfds", shard_bytes=10_000)
    cut, changed, *_ = sorted(place.glob("birds-train.array_record-*"))
    cut.write_bytes(cut.read_bytes()[:1000])
    content = bytearray(changed.read_bytes())
    content[2000] ^= 255
    changed.write_bytes(content)
    code, out, _ = run(capsys, "check", "birds", f"--data_dir={tmp_path / 'tfds'}")
    assert code == 1 and f"{cut} has 0 records" in out and f"{changed} is damaged" in out
    with pytest.raises(UserError, match=r"cannot read train\[.*data check"):
        source = tfds_source.Source("birds", "train", tmp_path / "tfds")
        [source.encoded(i) for i in range(20)]


def test_a_data_set_that_stock_tfds_wrote_is_read_and_checked(tmp_path, capsys):
    import tensorflow_datasets as tfds

    images, labels = pictures(30, (8, 8, 3), classes=3)

    class Stock(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("2.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(8, 8, 3)),
                "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
                "coarse": tfds.features.Scalar(np.int64),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, manager):
            del manager
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                out = io.BytesIO()
                Image.fromarray(image).save(out, "PNG")
                yield i, {"image": io.BytesIO(out.getvalue()), "label": int(label), "coarse": 0}

    builder = Stock(data_dir=tmp_path)
    builder.download_and_prepare(file_format="array_record")
    split = load("tfds:stock", tmp_path).splits["train"]
    stored = list(builder.as_data_source("train"))
    assert (split.images == np.stack([example["image"] for example in stored])).all()
    assert split.labels.tolist() == [example["label"] for example in stored]
    assert sorted(split.labels) == sorted(labels) and (split.labels != labels).any()
    code, out, _ = run(capsys, "check", "stock", f"--data_dir={tmp_path}")
    assert code == 0 and "8x8" in out


def test_records_of_a_foreign_data_set_that_its_own_description_forgets_are_told(birds, tmp_path):
    place, _ = prepare_all("birds", birds, tmp_path)
    for ours in ("labels.npz", "preparation.json"):  # TFDS writes neither
        (place / ours).unlink()
    info = place / "dataset_info.json"
    content = json.loads(info.read_text())
    (train,) = (split for split in content["splits"] if split["name"] == "train")
    train["shardLengths"][0] = str(int(train["shardLengths"][0]) - 1)
    info.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"has 20 records, and dataset_info.json beside it says 19"):
        load("tfds:birds", tmp_path)


def test_a_data_set_too_large_for_the_memory_is_refused(birds, tmp_path, monkeypatch):
    prepare_all("birds", birds, tmp_path)
    monkeypatch.setattr(dataset, "MEMORY_LIMIT", 1000)
    with pytest.raises(UserError, match="too much to hold in memory: .*data.storage=stream"):
        load("tfds:birds", tmp_path, image_size=16)


def test_checking_names_labels_beside_the_shards_that_are_others(birds, tmp_path, capsys):
    place, _ = prepare_all("birds", birds, tmp_path)
    np.savez(place / "labels.npz", train=np.zeros(20, np.int32), test=np.array([0, 0, 1, 1]))
    code, _, err = run(capsys, "check", "birds", f"--data_dir={tmp_path}")
    assert code == 1 and "labels.npz has other labels than the shards" in err
