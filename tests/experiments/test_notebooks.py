"""The notebooks run from the first cell to the last, and are kept with what they then show."""

import json

import pytest

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "experiments" / "notebooks").glob("*.ipynb"))
SQUEEZENET = "squeezenet_deep_compression/compressed_SqueezeNet.net"
by_name = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    """The cells of code, as JSON."""
    cells = json.loads(notebook.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_there_is_one_for_each_thing_that_people_do():
    assert [path.stem for path in NOTEBOOKS] == [
        *("analyse_run", "compare_bypasses", "compare_widths", "compression", "pretrained"),
        "quickstart",
    ]


@by_name
def test_a_notebook_is_kept_as_it_ran_without_an_error(notebook):
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert notebook.stat().st_size < 500_000


@by_name
def test_a_notebook_begins_with_what_installs_the_package_where_it_is_missing(notebook):
    first = "".join(code_cells(notebook)[0]["source"])
    assert "%pip install" in first and 'find_spec("cnn_jax")' in first


@pytest.mark.slow
@by_name
def test_a_notebook_runs(notebook, tmp_path, monkeypatch, request):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    if notebook.stem == "pretrained":
        weights = request.getfixturevalue("shared_data") / SQUEEZENET
        monkeypatch.setenv("WEIGHTS", str(weights))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(notebook, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=300, resources=where).execute()
