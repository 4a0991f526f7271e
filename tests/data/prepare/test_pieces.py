"""Pieces give back every byte, and a lost or damaged one is told."""

import hashlib
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


@pytest.mark.parametrize("size,count", [(0, 1), (10**6, 1), (10**6 + 1, 2), (2 * 10**6, 2)])
def test_the_list_has_the_size_and_the_checksum_of_the_whole_and_of_each_piece(
    size, count, tmp_path
):
    content = np.random.default_rng(0).bytes(size)
    (tmp_path / "noise").write_bytes(content)
    *made, listed = pieces.split(tmp_path / "noise", tmp_path / "pieces", megabytes=1)
    found = json.loads(listed.read_bytes())
    names = [f"noise.piece-{i}-of-{count}" for i in range(1, count + 1)]
    assert [file.name for file in made] == [piece["name"] for piece in found["pieces"]] == names
    assert (found["name"], found["is_folder"]) == ("noise", False)
    parts = [file.read_bytes() for file in made]
    for part, facts in zip([content, *parts], [found, *found["pieces"]], strict=True):
        assert facts["bytes"] == len(part)
        assert facts["sha256"] == hashlib.sha256(part).hexdigest()
    assert b"".join(parts) == content


def test_a_file_of_the_right_size_is_left_alone_and_another_one_written(archive, tmp_path):
    pieces.split(archive, tmp_path / "pieces", megabytes=1)
    back = tmp_path / "back" / archive.name
    back.parent.mkdir()
    for size, is_left in ((2_500_000, True), (2_499_999, False)):
        back.write_bytes(bytes(size))
        assert pieces.join(tmp_path / "pieces", tmp_path / "back") == back
        assert (back.read_bytes() == bytes(size)) == is_left
    assert back.read_bytes() == archive.read_bytes()


def test_of_a_folder_nothing_but_its_files_and_a_marker_is_left(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(b"1")
    *_, listed = pieces.split(tmp_path / "images", tmp_path / "pieces")
    pieces.join(tmp_path / "pieces", tmp_path / "back")
    digest = json.loads(listed.read_bytes())["sha256"][:16]
    found = sorted(file.name for file in (tmp_path / "back").iterdir())
    assert found == ["images", f"images.tar.gz.{digest}"]


@pytest.mark.parametrize("name", ["..", "", "a/b", "/a"])
@pytest.mark.parametrize("of_a_piece", [False, True])
def test_no_list_names_a_file_outside_its_folder(name, of_a_piece, tmp_path):
    facts = {"bytes": 0, "sha256": ""}
    piece = {"name": name if of_a_piece else "piece", **facts}
    whole = {"name": "whole" if of_a_piece else name, "is_folder": False, "pieces": [piece]}
    (tmp_path / "x.pieces.json").write_text(json.dumps(whole | facts))
    with pytest.raises(UserError, match="names files outside its folder"):
        pieces.join(tmp_path, tmp_path)
    for file in ("a", "b"):
        (tmp_path / f"{file}.pieces.json").touch()
    with pytest.raises(UserError, match="it has a.pieces.json, b.pieces.json, x.pieces.json"):
        pieces.join(tmp_path, tmp_path)


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
