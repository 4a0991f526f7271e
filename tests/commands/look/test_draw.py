"""`launch.py draw`: what it draws, by which names, and its mistakes in one line."""

import pytest

from tests.analysis.draw import reading
from tests.conftest import ROOT, launch_here

pytest.importorskip("pygraphviz")
WRN = "experiments/wide_resnet/cifar.py"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def draw(tmp_path):
    def run(*arguments):
        done = launch_here("draw", f"--out={tmp_path}/drawing.svg", *arguments)
        assert done.returncode == 0, done.stderr
        text = (tmp_path / "drawing.svg").read_text()
        return text, *reading.drawn(text), done

    return run


def test_networks_that_need_no_data_stand_side_by_side(draw):
    configs = [f"--config={WRN}:10-1", f"--config={WRN}:10-2"]
    text, nodes, edges, done = draw(*configs, "--config.model.dropout=0.3", "--level=stage")
    assert len(nodes) == 2 * 6 and len(edges) == 2 * 5
    assert all(f">wide_resnet/cifar:10&#45;{width}<" in text for width in (1, 2))
    assert "12 nodes, 10 edges" in done.stdout and done.stderr == ""


def test_rows_of_a_grid_are_drawn_by_their_names(draw):
    grid = ["--grid", "model.block=B(3,3),B(3,1)", "--only=conv2/block2"]
    text, nodes, _, _ = draw(f"--config={WRN}:16-4", *grid)
    convs = [name for name in nodes if "/conv" in name]
    assert convs == [f"{row}:conv2/block2/conv{number}" for row in (0, 1) for number in (1, 2)]
    assert "block=B(3,1)" in text


def test_parts_of_one_network_are_called_by_their_paths_or_by_titles(draw):
    parts = [f"--config={WRN}:10-1", "--only=conv2/block1", "--only=conv3/block1"]
    text, nodes, _, _ = draw(*parts, "--activations", "--columns=1")
    assert ">conv3/block1<" in text and "1:conv3/block1/bn1" in nodes
    text, *_ = draw(*parts, "--title=one", "--title=two")
    assert ">two<" in text and ">conv3/block1<" not in text


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--level=stages"], "unknown level 'stages' (did you mean 'stage'?)"),
        (["--only=conv2/blok1"], "unknown path in the network 'conv2/blok1' (did you mean 'conv2/"),
        (["--title=a", "--title=b"], "2 --title for 1 drawings: give one for each"),
        (["--table=table_2", "--grid", "seed=1,2"], "--table or --grid, either goes with one --c"),
        (["--table=table_22"], "did you mean 'table_2'?"),
        (["--config.model.depht=16"], "did you mean 'model.depth'?"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, tmp_path):
    done = launch_here("draw", f"--config={WRN}:10-1", f"--out={tmp_path}/a.svg", *arguments)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_an_unknown_suffix_is_told_before_anything_is_traced(tmp_path):
    done = launch_here("draw", f"--out={tmp_path}/drawing.jpg")
    assert done.returncode == 2 and "choose from: svg, pdf, png" in done.stderr
