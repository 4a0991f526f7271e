"""`launch.py report`: its files, its check, the registry, and the page in a real browser."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest

from cnn_jax.analysis import registry, run_records
from cnn_jax.errors import UserError
from cnn_jax.runs import metrics
from cnn_jax.runs.environment import is_flag
from tests.analysis.making import record
from tests.browser import browse, in_browser
from tests.conftest import ROOT, launch_here


def report(*arguments):
    return launch_here("report", *arguments)


def write(folder, *records):
    folder.mkdir()
    for number, one in enumerate(records):
        (folder / f"{number}.json").write_text(json.dumps(one))
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of two tables; one name tries to end the script."""
    runs = [
        record(f"k={k}", s, 9 - k + s / 5, 8.0 - k, axis="model.width")
        for k in (1, 2, 4)
        for s in (0, 1)
    ]
    runs.append(record("</script><b>", 0, 5.0, title="Table 2"))
    folder = write(tmp_path_factory.mktemp("report") / "runs", *runs)
    done = report(folder, f"--out={folder.parent}/out")
    assert done.returncode == 0, done.stderr
    return folder.parent / "out" / "report.html"


def test_every_file_of_a_report_is_there_and_tells_the_numbers(page):
    names = {file.name for file in page.parent.iterdir()}
    assert names == {"report.md", "report.csv", "report.html", "figure-1.png", "figure-2.png"}
    text = (page.parent / "report.md").read_text()
    assert "| k=1 | test/top1_error | 7 | 8.10 | +1.10 | above | 2 | 8.10 ± 0.14 |" in text
    assert (page.parent / "report.csv").read_text().count("\n") == 5


def test_the_page_is_self_contained(page):
    text = page.read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(http|//)|@import|fetch\(|XMLHttp""", text)


def test_numbers_that_are_not_finite_are_left_out_of_the_page(tmp_path):
    broken = record("a", 0, 5.0)
    broken["evaluations"][-1]["loss"] = math.nan
    broken["evaluations"][-1]["top1_error"] = math.inf
    done = report(write(tmp_path / "runs", broken), f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report.html").read_text()
    data = re.search(r'type="application/json">(.*?)</script>', text)[1]
    (section,) = json.loads(data, parse_constant=pytest.fail)["sections"]
    (curves,) = [block for block in section["blocks"] if block["kind"] == "curves"]
    last = {name: values[-1] for name, values in curves["lines"][-1]["columns"].items()}
    assert last["epoch"] == 3 and last["loss"] is None and last["top1_error"] is None


@in_browser
def test_the_page_opens_in_a_browser_without_an_error_and_shows_the_curves(page, tmp_path):
    elements, console = browse(page, tmp_path)
    assert not console
    curves = re.findall(r'<path class="curve" d="(M[^"]*)"', elements)
    assert len(curves) == 2 * 4, "error and loss of each row, the mean of its runs"
    assert all(curve.count("L") == 2 for curve in curves), "a point for each evaluation"
    assert elements.count('aria-pressed="true"') == 4, "a button for each row"
    assert "&lt;/script&gt;&lt;b&gt;" in elements


@in_browser
def test_a_page_with_an_error_would_be_noticed(page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("function ticks", "function tocks"))
    _, console = browse(broken, tmp_path / "user")
    assert any("ticks is not defined" in line for line in console)


def test_check_fails_where_a_result_of_the_recipe_leaves_its_tolerance(tmp_path):
    good = write(tmp_path / "good", record("a", 0, 5.5, 5.2))
    assert report(good, "--check").returncode == 0
    short = write(tmp_path / "short", record("a", 0, 50.0, 5.2, ["shortened: 1 of 200 epochs"]))
    assert report(short, "--check").returncode == 0
    bad = write(tmp_path / "bad", record("a", 0, 5.8, 5.2))
    done = report(bad, "--check")
    assert done.returncode == 1
    assert done.stderr == "error: out of tolerance: a: 5.80, paper 5.2\n"


def test_a_run_and_its_record_give_the_same_report(tiny_run, tmp_path):
    (of_run,) = run_records.find(tiny_run)
    (file,) = registry.record([of_run], tmp_path)
    assert run_records.find(tmp_path / "experiments") == [json.loads(json.dumps(of_run))]
    assert file.stat().st_size < 20_000
    assert of_run["recipe"]["deviations"] == ["a run of no table"]


def test_training_between_evaluations_is_averaged(tiny_run):
    rows = metrics.by_evaluations(tiny_run)
    lines = [line for line in metrics.read(tiny_run) if line["split"] == "train"]
    first = [line["loss"] for line in lines if line["epoch"] <= 1]
    assert [row["split"] for row in rows][:2] == ["train", "validation"]
    assert rows[0]["loss"] == pytest.approx(sum(first) / len(first))


def test_what_is_no_record_is_one_line(tmp_path):
    without_title = record("a", 0, 5.0)
    del without_title["recipe"]["title"]
    for name, text in {"x": "{}", "y": "[1]", "z": json.dumps(without_title)}.items():
        (tmp_path / f"{name}.json").write_text(text)
    for number, text in enumerate(('{"rows": ', "[]", '{"rows": [{"name": "a"}]}')):
        (tmp_path / f"sweep-{number}").mkdir()
        (tmp_path / f"sweep-{number}" / "sweep.json").write_text(text)
    paths = [*tmp_path.glob("*.json"), *tmp_path.glob("sweep-*"), tmp_path / "none"]
    for path in [*paths, Path(ROOT / "cnn_jax" / "sweeps")]:
        done = report(path, f"--out={tmp_path}/out")
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and str(path) in done.stderr
    assert len(paths) == 7


def test_a_run_whose_config_is_damaged_is_one_line(tiny_run, tmp_path):
    copy = shutil.copytree(tiny_run, tmp_path / "run")
    (copy / "config.json").write_text("{\n")
    done = report(copy)
    assert done.returncode == 1 and f"{copy / 'config.json'} is damaged" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["environment.json", "status.json", "evaluations/results.json"])
def test_a_run_is_reported_without_what_can_be_done_without(name, tiny_run, tmp_path):
    copy = shutil.copytree(tiny_run, tmp_path / "run")
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text("{\n")
    with pytest.warns(UserWarning, match=f"{name} is damaged"):
        assert report(copy, f"--out={tmp_path}/out").returncode == 0


def test_a_record_tells_no_folder_of_the_machine(tiny_run, tmp_path):
    copy = shutil.copytree(tiny_run, tmp_path / "run")
    config = json.loads((copy / "config.json").read_text())
    config["data"]["path"] = f"{tmp_path}/images of mine"
    (copy / "config.json").write_text(json.dumps(config))
    environment = json.loads((copy / "environment.json").read_text())
    environment["flags"] = {"XLA_FLAGS": f"--xla_a=1 --xla_dump_to={tmp_path}/dump --xla_b=2"}
    (copy / "environment.json").write_text(json.dumps(environment))
    (run,) = run_records.find(copy)
    assert str(tmp_path.parent) not in json.dumps(run)
    assert run["config"]["data"]["path"] == "images of mine"
    assert run["environment"]["flags"]["XLA_FLAGS"] == "--xla_a=1 --xla_dump_to=dump --xla_b=2"
    other = {name: value for name, value in run["config"].items() if name != "data"}
    assert other == {name: value for name, value in config.items() if name != "data"}


def test_what_a_record_tells_of_the_environment_is_no_secret():
    assert is_flag("XLA_FLAGS") and is_flag("TF_CPP_MIN_LOG_LEVEL")
    assert not [
        name for name in ("TF_TOKEN_a_b", "TF_VAR_password", "TF_CLI_CONFIG") if is_flag(name)
    ]


@pytest.mark.parametrize(
    "text", ["B(3,3)/2", "10 / 2", "test/top1_error", "a/b/c.py:20", "../there/x", "https://a.b/c"]
)
def test_what_is_no_absolute_path_stays_as_it_is(text):
    assert run_records.portable({"a": [text, f"see {text}"]}) == {"a": [text, f"see {text}"]}


def test_a_record_never_takes_the_place_of_another_runs(tmp_path):
    first, other = record("a 1", 0, 5.0), record("a 1", 0, 9.0)
    (file,) = registry.record([first], tmp_path)
    assert registry.record([first | {"status": "done"}], tmp_path) == [file]
    other["config"]["model"]["width"] = 7
    with pytest.raises(UserError, match=r"a-1-seed-0\.json is .* another model\.width"):
        registry.record([record("b", 0, 5.0), other], tmp_path)
    assert json.loads(file.read_text()) == first
    assert list(file.parent.iterdir()) == [file], "nothing was written"


def test_a_recorded_run_without_the_published_metric_has_an_empty_cell(tmp_path):
    run = record("a", 0, 5.0, published={"crops_144/top1_error": 4.0})
    registry.record([run], tmp_path)
    assert "| a | crops_144/top1_error |  | 4 | no result | 3 |" in registry.block(tmp_path)


def test_every_command_that_made_a_table_stands_above_it(tmp_path):
    runs = [record("a", seed, 5.0, command=f"python command {seed}") for seed in (0, 1)]
    assert report(write(tmp_path / "runs", *runs), f"--out={tmp_path}").returncode == 0
    text = (tmp_path / "report.md").read_text()
    assert "`python command 0`\n\n`python command 1`\n" in text


def test_readme_and_page_are_made_of_the_recorded_results():
    for made, file in (
        (registry.overview(ROOT), "README.md"),
        (registry.block(ROOT), registry.PAGE),
    ):
        assert made in (ROOT / file).read_text(), (
            "python launch.py report experiments/results --record makes it anew"
        )


def test_results_are_made_anew_between_their_marks_and_nowhere_else(tmp_path):
    (tmp_path / "docs").mkdir()
    files = [tmp_path / name for name in (registry.README, registry.PAGE)]
    for file in files:
        file.write_text(f"before\n{registry.BEGIN}\nold\n{registry.END}\nafter\n")
    runs = [record(f"k={k}", 0, 9.0 - k, 8.0 - k) for k in range(1, 9)]
    runs += [record("b", 0, 5.0, title="Table 2"), record("r", 0, 5.0, 5.2, title="Table 3")]
    registry.record(runs, tmp_path)
    registry.renew(tmp_path)
    readme, page = (file.read_text() for file in files)
    assert "| Table 1: k=2 | test/top1_error 7.00 (6) | 1 | in full | above |" in readme
    assert "Table 2" not in readme  # the paper prints no number
    first = next(line for line in readme.splitlines() if line.startswith("| Table"))
    assert first.startswith("| Table 3: r ") and "| reproduced |" in first
    assert "| k=8 | test/top1_error | 1.00 | 0 |" in page
    for text in (readme, page):
        assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    files[1].write_text("no marks")
    with pytest.raises(UserError, match="results.md lacks the lines"):
        registry.renew(tmp_path)


def test_no_recorded_result_leaves_its_tolerance(tmp_path):
    done = report(ROOT / "experiments" / "results", "--check", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
