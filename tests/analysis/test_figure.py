"""The figure says what is drawn: whose numbers, how many runs, how long they trained."""

import pytest
from matplotlib.figure import Figure

from cnn_jax.analysis import comparison, figure
from tests.analysis.making import record


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws records of a table; gives the only axes of the picture."""

    def draw(*records):
        pictures = []
        save = Figure.savefig
        monkeypatch.setattr(Figure, "savefig", lambda f, *a, **k: (pictures.append(f), save(f, *a)))
        ((facts, own),) = comparison.tables(records)
        figure.draw(facts, comparison.lines(own), own, tmp_path / "figure.png")
        (axes,) = pictures[0].axes
        return axes

    return draw


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_axes_and_protocol_are_named(drawn):
    axes = drawn(record("k=1", 0, 5.0, 4.0, axis="model.width"))
    assert axes.get_xlabel() == "model.width" and axes.get_ylabel() == "test, top-1 error, %"
    assert "three epochs" in axes.figure.get_supxlabel()


def test_the_legend_has_the_statistic_and_the_number_of_runs(drawn):
    axes = drawn(*(record(f"k={k}", s, 5.0, 4.0) for k, s in ((1, 0), (1, 1), (2, 0))))
    assert labels(axes) == ["paper", "ours, median of 1 to 2 runs, the recipe in full", "each run"]


def test_recipes_of_different_length_are_told_apart(drawn):
    shortened = [["shortened: 1 of 200 epochs"], ["shortened: 9 of 200 epochs"], []]
    axes = drawn(*(record("k=1", i, 5.0, 4.0, d) for i, d in enumerate(shortened)))
    names = [*(departed[0] for departed in shortened[:2]), "the recipe in full"]
    assert labels(axes) == ["paper", *(f"ours, median of n = 1, {name}" for name in names)]
    colors = [line.get_color() for line in axes.lines[1:]]
    assert len(set(colors)) == 3
    assert [line.get_markerfacecolor() == "white" for line in axes.lines[1:]] == [True, True, False]
