"""The pictures of docs/drawings.md are what its commands draw, and the papers' networks."""

import pytest

from tests.analysis.draw import reading
from tests.conftest import ROOT, launch_here
from tests.pages import read

PAGE = ROOT / "docs/drawings.md"
FOLDER = ROOT / "docs/drawings"
COMMANDS = {
    word.rpartition("/")[2]: command[2:]
    for command in read(PAGE).commands()
    for word in command
    if word.startswith("--out=docs/drawings/")
}
# Of He et al., Figure 3; Zagoruyko & Komodakis, Table 2; Szegedy et al.; Iandola et al., Figure 2:
# convolutions and linear layers, sums, and dotted arrows, two for each projection.
COUNTS = {
    "resnet_34.svg": (16 + 3 + 34 + 34 + 3, 16, 2 * 3),
    "residual_units.svg": (2 + 3, 2, 0),
    "wide_blocks.svg": (2 + 3, 2, 2),
    "wide_variants.svg": (3 + 2 + 2 + 3 + 2 + 3, 6, 0),
    "inception_modules.svg": (7 + 4 + 10 + 6 + 9, 0, 0),
    "inception_v3.svg": (94 + 2 + 2, 0, 0),
    "fire.svg": (3, 0, 0),
    "squeezenet_bypasses.svg": (3 * (2 + 8 * 4) + 4, 4 + 8, 2 * 4),
}


def test_every_picture_has_its_command():
    assert sorted(COMMANDS) == sorted(path.name for path in FOLDER.iterdir()) == sorted(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_pictures_have_the_layers_sums_and_dotted_shortcuts_of_the_papers(name):
    nodes, edges = reading.drawn((FOLDER / name).read_text())
    layers = sum(text.count("conv,") + text.startswith("fc ") for text in nodes.values())
    layers += sum(4 for text in nodes.values() if text.startswith("fire"))  # two lines of two
    sums = list(nodes.values()).count("+")
    assert (layers, sums, list(edges.values()).count("dotted")) == COUNTS[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_pictures_are_what_their_commands_draw(name, tmp_path, monkeypatch):
    pytest.importorskip("pygraphviz")
    monkeypatch.chdir(ROOT)
    words = [word for word in COMMANDS[name] if not word.startswith("--out=")]
    done = launch_here(*words, f"--out={tmp_path / name}")
    assert done.returncode == 0, done.stderr
    expected = reading.drawn((FOLDER / name).read_text())
    assert reading.drawn((tmp_path / name).read_text()) == expected
