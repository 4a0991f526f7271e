"""`launch.py report RUN --page`: what the page of a run shows, in a real browser too."""

import json
import re
import shutil

import numpy as np
import pytest

import cnn_jax
from cnn_jax.analysis import answers_page, run_page
from cnn_jax.analysis.explain import confusion
from cnn_jax.analysis.explain.answers import Answers
from cnn_jax.evaluation import files
from cnn_jax.runs import results
from tests.browser import browse, in_browser
from tests.conftest import launch_here

NAMES = (*(f"class {i}" for i in range(7)), "</script><b>")


@pytest.fixture(scope="module")
def answers(request):
    predictions = request.getfixturevalue("predictions")
    return Answers(predictions, NAMES, lambda i: np.full((4, 4, 1), i, np.uint8))


@pytest.fixture(scope="module")
def html(dense_run, answers):
    run = cnn_jax.load_run(dense_run)
    told = answers_page.sections(answers, "test split", images=True)
    return run_page.of_run(run, ["python launch.py eval RUN"], told)


def blocks(html):
    """The data of a page: the blocks of each section, by its title."""
    data = re.search(r'type="application/json">(.*?)</script>', html)[1]
    sections = json.loads(data, parse_constant=pytest.fail)["sections"]
    return {section["title"]: section["blocks"] for section in sections}


def test_the_page_loads_nothing_and_no_name_ends_its_data(html):
    assert not re.search(r"""(src|href)\s*=\s*["']?(http|//)|@import|fetch\(|XMLHttp""", html)
    assert "</script><b>" not in html and "\\u003c/script>\\u003cb>" in html


def test_the_page_has_the_numbers_of_the_run(html, dense_run):
    run = cnn_jax.load_run(dense_run)
    items = {label: value for label, value, _ in blocks(html)["Result"][0]["items"]}
    assert items["test error"] == f"{100 * run.summary['test']['top1_error']:.2f} %"
    assert items["trained"] == "3 epochs"
    lines = {line["split"]: line["columns"] for line in blocks(html)["Curves"][0]["lines"]}
    own = run.history[run.history["split"] == "validation"]
    assert lines["validation"]["step"] == list(own["step"])
    np.testing.assert_allclose(lines["validation"]["loss"], own["loss"], rtol=1e-4)
    assert "learning_rate" in lines["train"] and "learning_rate" not in lines["validation"]


def test_the_page_has_every_field_and_where_the_run_was(html):
    fields, where = blocks(html)["Configuration"][0], blocks(html)["Environment"][0]
    assert ["model.name", "lenet"] in fields["rows"] and fields["filter"]
    assert "packages.jax" in dict(where["rows"]) and dict(where["rows"])["devices"] == "cpu"


def test_the_page_has_the_errors_of_the_answers(html, answers):
    found = blocks(html)
    matrix, table = [group[1] for group in found["What it takes for what"][1]["blocks"]]
    assert np.sum(matrix["counts"]) == len(answers.predictions.labels)
    assert [row[0] for row in table["rows"]] == list(NAMES[:7])
    (diagram,), (bins,) = found["How sure it may be"][1]["blocks"]
    assert sum(diagram["count"]) == 60 and sum(int(row[1]) for row in bins["rows"]) == 60
    worst = found["The worst answers"][1]["items"]
    assert len(worst) == 24 and worst[0][0].startswith("data:image/png;base64,")
    assert worst[0][1] == answers.text(int(np.argmax(answers.losses)))


def test_of_many_classes_the_page_has_the_most_confused(answers, monkeypatch):
    monkeypatch.setattr(confusion, "NAMED", 7)
    (_, table) = answers_page.taken_for(answers)
    assert table["rows"][0][2] == max((row[2] for row in table["rows"]), key=int)


def test_a_long_curve_is_thinned_to_means_of_neighbors():
    lines = [
        {"split": "train", "step": i, "epoch": i / 10, "seconds": 1.0, "loss": float(i)}
        for i in range(1, 1203)
    ]
    thin = run_page.thinned(lines)
    assert len(thin) == 401 and thin[0] == pytest.approx(
        {"split": "train", "step": 3, "epoch": 0.2, "seconds": 1.0, "loss": 2.0}
    )
    assert thin[-1]["step"] == 1202 and thin[-1]["loss"] == 1201.5


def test_answers_are_taken_of_the_latest_evaluation_with_logits(dense_run, answers, tmp_path):
    run = cnn_jax.load_run(shutil.copytree(dense_run, tmp_path / "run"))
    assert answers_page.saved_answers(run) is None
    about = {"split": "test", "protocol": "center", "weights": "raw", "step": 57}
    for name, with_logits in (("first", True), ("second", False)):
        result = {"files": name, **about}
        folder = run.path / results.FOLDER
        files.write(folder, result, answers.predictions, NAMES, with_logits=with_logits)
    found, what = answers_page.saved_answers(run)
    assert what == "test split, protocol center, weights raw, step 57"
    assert found.class_names == NAMES
    np.testing.assert_array_equal(found.predictions.logits, answers.predictions.logits)
    with pytest.raises(LookupError, match="not kept"):
        found.view(3)


@pytest.mark.parametrize(
    ("seconds", "text"), [(48, "48 s"), (210, "3.5 min"), (7200, "2.0 h"), (43_560, "12.1 h")]
)
def test_times_are_said_as_people_say_them(seconds, text):
    assert run_page.duration(seconds) == text


def test_the_command_writes_the_page_with_images_of_the_data(dense_run, tmp_path):
    done = launch_here("report", dense_run, "--page", "--pictures", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    found = blocks((tmp_path / "page.html").read_text())
    words = found["What it takes for what"][0]["text"]
    error = cnn_jax.load_run(dense_run).summary["test"]["top1_error"]
    assert words == f"{round(360 * error)} of 360 wrong: test split, step 60."
    assert len(found["The worst answers"][1]["items"]) == 24


def test_a_run_without_numbers_has_a_page_and_what_is_no_run_has_none(dense_run, tmp_path):
    run = tmp_path / "a run"
    run.mkdir()
    shutil.copy(dense_run / "config.json", run)
    done = launch_here("report", run, "--page")
    assert done.returncode == 0, done.stderr
    found = blocks((run / "report/page.html").read_text())
    assert set(found) == {"Curves", "Configuration", "Environment", "Go on with it"}
    assert found["Go on with it"][0]["lines"][0].endswith(f" eval '{run}'")
    done = launch_here("report", tmp_path, "--page")
    assert done.returncode == 1 and "is not a run" in done.stderr and str(run) in done.stderr
    assert launch_here("report", "--page").returncode == 2
    assert launch_here("report", run, run, "--page", f"--out={tmp_path}").returncode == 2


# What a person does: points at the error's chart, sorts the classes twice, searches a field.
ACTS = """<script>
addEventListener("load", () => setTimeout(() => {
  const box = document.querySelector(".charts svg").getBoundingClientRect();
  const at = { clientX: box.right - 12, clientY: box.top + 50, bubbles: true };
  document.querySelector(".charts svg").dispatchEvent(new PointerEvent("pointermove", at));
  const heads = [...document.querySelectorAll("th button")];
  const sort = heads.find(one => one.textContent === "error, %");
  sort.click(); sort.click();
  const field = document.querySelector("input[type=search]");
  field.value = "MODEL.NAME"; field.dispatchEvent(new Event("input"));
}, 1000));
</script></body>"""


@in_browser
def test_the_page_shows_points_sorts_and_searches_in_a_browser(html, tmp_path, dense_run):
    page = tmp_path / "page.html"
    page.write_text(html.replace("</body>", ACTS))
    elements, console = browse(page, tmp_path / "user", theme="#dark")
    assert not console
    assert 'data-theme="dark"' in elements
    charts = re.findall(r'<div class="chart"><h3>(.*?)</h3>', elements)
    assert charts[:2] == ["top-1 error, %", "loss"] and "learning rate" in charts
    first = elements.partition('<div class="chart">')[2].partition('<div class="chart">')[0]
    assert first.count('class="curve"') == 3 and first.count('<circle class="mark"') == 3
    tip = re.search(r'<div id="tip".*?<b>(.*?)</b>(.*?)</div></div>', elements)
    assert tip[1] == "epoch 3" and "validation" in tip[2]
    errors = re.search(r"<td>class \d</td>.*?</tbody>", elements)[0]
    errors = [float(text) for text in re.findall(r'<td class="number">([\d.]+\.\d\d)</td>', errors)]
    assert len(errors) == 7 and errors == sorted(errors, reverse=True)
    shown = re.findall(r"<tr><td>([\w.]+)</td>", elements.partition("search the fields")[2])
    assert shown[0] == "model.name" and "model.variant" not in shown
    assert elements.count('<rect class="cell"') == 64 and '<rect class="bin"' in elements
    assert "&lt;/script&gt;&lt;b&gt;" in elements


@in_browser
def test_the_page_of_a_run_without_numbers_says_so(dense_run, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copy(dense_run / "config.json", tmp_path / "run")
    run = cnn_jax.load_run(tmp_path / "run")
    (tmp_path / "page.html").write_text(run_page.of_run(run, []))
    elements, console = browse(tmp_path / "page.html", tmp_path / "user")
    assert not console and "There are no numbers yet." in elements
