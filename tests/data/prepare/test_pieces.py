"""Pieces give back every byte, and a lost or damaged one is told."""

import json

import numpy as np
import pytest

from cnn_jax.data.prepare import pieces
from cnn_jax.errors import UserError
from tests.conftest import launch_here


@pytest.fixture
def archive(tmp_path):
    """2.5 MB of noise."""
    file = tmp_path / "cifar.tar.gz"
    file.write_bytes(np.random.default_rng(0).bytes(2_500_000))
    return file


def test_a_file_comes_back_byte_for_byte_of_pieces_of_the_given_size(archive, tmp_path):
    *made, _ = pieces.split(archive, tmp_path / "pieces", megabytes=1)
    assert len(made) == 3 and max(piece.stat().st_size for piece in made) <= 10**6
    assert pieces.is_split(tmp_path / "pieces") and not pieces.is_split(tmp_path)
    back = pieces.join(tmp_path / "pieces", tmp_path / "back")
    assert back.name == archive.name and back.read_bytes() == archive.read_bytes()


def test_a_folder_makes_the_same_pieces_each_time_and_comes_back(tmp_path):
    for name in ("train/cat/1.png", "train/dog/2.png", "test/cat/1.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(name.encode())
    first, second = (pieces.split(tmp_path / "images", tmp_path / f"pieces-{i}") for i in (1, 2))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    back = pieces.join(tmp_path / "pieces-1", tmp_path / "back")
    assert back == tmp_path / "back" / "images"
    found = {str(f.relative_to(back)): f.read_bytes() for f in back.rglob("*.png")}
    assert found["train/dog/2.png"] == b"train/dog/2.png" and len(found) == 3
    (back / "train/dog/2.png").unlink()
    assert pieces.join(tmp_path / "pieces-1", tmp_path / "back") == back  # nothing is done twice


def damage(folder, what):
    piece = sorted(folder.glob("*.piece-*"))[1]
    if what == "lost":
        piece.unlink()
    elif what == "cut":
        piece.write_bytes(piece.read_bytes()[:-1])
    else:
        piece.write_bytes(piece.read_bytes()[:-1] + b"\n")


@pytest.mark.parametrize(
    "what,message",
    [
        ("lost", "piece-2-of-3 is missing"),
        ("cut", "piece-2-of-3 has 833,333 bytes, not 833,334"),
        ("changed", "piece-2-of-3 has another checksum"),
    ],
)
def test_a_damaged_piece_is_told_and_nothing_is_written(archive, tmp_path, what, message):
    pieces.split(archive, tmp_path / "pieces", megabytes=1)
    damage(tmp_path / "pieces", what)
    with pytest.raises(UserError, match=message):
        pieces.join(tmp_path / "pieces", tmp_path / "back")
    assert not list((tmp_path / "back").iterdir())


def test_a_list_that_is_none_is_told(tmp_path):
    with pytest.raises(UserError, match="must have one file .*it has none"):
        pieces.join(tmp_path, tmp_path)
    (tmp_path / "x.pieces.json").write_text(json.dumps({"name": "../x", "pieces": []}))
    with pytest.raises(UserError, match="is damaged"):
        pieces.join(tmp_path, tmp_path)
    whole = {"name": "../x", "pieces": [], "is_folder": False, "bytes": 0, "sha256": ""}
    (tmp_path / "x.pieces.json").write_text(json.dumps(whole))
    with pytest.raises(UserError, match="names files outside its folder"):
        pieces.join(tmp_path, tmp_path)
    with pytest.raises(UserError, match="there is no file or folder"):
        pieces.split(tmp_path / "nothing", tmp_path)


def test_the_commands_split_and_join(archive, tmp_path):
    places = f"--out={tmp_path / 'pieces'}", f"--out={tmp_path / 'back'}"
    done = launch_here("data", "split", archive, places[0], "--megabytes=2")
    assert done.returncode == 0 and "cifar.tar.gz.piece-2-of-2: 1.2 MB" in done.stdout
    done = launch_here("data", "join", tmp_path / "pieces", places[1])
    assert "cifar.tar.gz: joined, every byte as it was" in done.stdout
    assert (tmp_path / "back" / archive.name).read_bytes() == archive.read_bytes()
