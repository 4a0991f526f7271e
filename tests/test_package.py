"""What is installed: ranges that are true, one new module name, experiments found from anywhere."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

import cnn_jax
from cnn_jax import config as configs
from cnn_jax.commands import command_line
from cnn_jax.errors import UserError
from cnn_jax.runs import environment
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RANGES = {need.name: need for need in map(Requirement, PROJECT["dependencies"])}
RECIPE = """
from cnn_jax.config import choose
from cnn_jax.experiments import quickstart
from . import widths

VARIANTS = {"recipe": ("mine",)}


def get_config(variant=""):
    choose(variant, VARIANTS)
    config = quickstart.get_config()
    config.model.width = widths.WIDTH
    return config
"""


def exact():
    pairs = re.findall(r"^(\S+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)
    return dict(pairs)


def test_what_is_tested_lies_within_the_ranges():
    assert exact().keys() == RANGES.keys()
    assert not [name for name, version in exact().items() if version not in RANGES[name].specifier]


def test_every_extra_of_jax_has_the_range_of_jax():
    extras = {need for needs in PROJECT["optional-dependencies"].values() for need in needs}
    assert {"jax[cuda13]", "jax[tpu]"} <= extras  # no range of their own


def test_the_version_is_the_same_everywhere():
    version = PROJECT["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == version


def test_cnn_jax_is_the_command_line_of_launch():
    module, _, function = PROJECT["scripts"]["cnn-jax"].partition(":")
    assert module == command_line.__name__ and callable(getattr(command_line, function))


def test_a_message_names_the_program_by_which_it_was_started(capsys):
    assert command_line.main(["--help"], "cnn-jax") == 0
    assert command_line.main(["train", "--config=nowhere"], "cnn-jax") == 2
    output = capsys.readouterr()
    assert "`cnn-jax list`" in output.err
    assert "  cnn-jax train --config=" in output.out and "launch.py" not in output.out


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from cnn_jax.commands import command_line; command_line.main(['--help']); "
        "heavy = {'jax', 'flax', 'pandas', 'torch', 'rich', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_sweeps_can_start_it_by_its_path_from_any_folder(tmp_path):
    script = Path(cnn_jax.__file__).with_name("__main__.py")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, script, "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "usage: python -m cnn_jax" in done.stdout


def test_our_experiments_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = cnn_jax.load_config("experiments/resnet/cifar10.py:56", ["seed=3"])
    assert (config.model.depth, config.seed) == (56, 3)


def test_a_file_of_the_working_directory_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path / "experiments" / "quickstart.py")
    assert cnn_jax.load_config("experiments/quickstart.py").model.width == 7


def write_recipe(file, width=7):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(RECIPE)
    (file.parent / "widths.py").write_text(f"WIDTH = {width}\n")


def test_experiments_of_two_folders_do_not_meet(tmp_path):
    path, modules = list(sys.path), {name for name in sys.modules if "experiments" in name}
    for width, folder in ((3, tmp_path / "a"), (5, tmp_path / "b")):
        write_recipe(folder / "mine.py", width)
        assert cnn_jax.load_config(f"{folder}/mine.py").model.width == width
    new = {name for name in sys.modules if "experiments" in name} - modules
    assert sys.path == path and all(name.startswith("cnn_jax") for name in new)


def test_a_package_named_experiments_of_the_caller_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "groups.py").write_text("MINE = True\n")
    code = (
        "import sys, cnn_jax; from experiments import groups; "
        "cnn_jax.load_config('experiments/quickstart.py'); "
        "import experiments.groups; assert experiments.groups.MINE"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=environment)


def test_a_copy_of_all_experiments_uses_its_own_files(tmp_path):
    copy = tmp_path / "experiments"
    shutil.copytree(ROOT / "experiments", copy, ignore=shutil.ignore_patterns("results"))
    groups = copy / "groups.py"
    groups.write_text(groups.read_text().replace('"momentum": 0.9', '"momentum": 0.8'))
    assert cnn_jax.load_config(f"{copy}/resnet/cifar10.py").optimizer.momentum == 0.8


def test_a_recipe_that_is_changed_is_read_anew(tmp_path):
    write_recipe(tmp_path / "mine.py")
    file = tmp_path / "mine.py"
    assert cnn_jax.load_config(str(file)).seed == 0
    file.write_text(RECIPE.replace("config.model.width = widths.WIDTH", "config.seed = 12345"))
    assert cnn_jax.load_config(str(file)).seed == 12345


def test_a_recipe_copied_alone_is_told_where_ours_are(tmp_path):
    file = tmp_path / "cifar10.py"
    file.write_text((ROOT / "experiments" / "resnet" / "cifar10.py").read_text())
    with pytest.raises(UserError, match="cifar10.py, line .*from cnn_jax.experiments import NAME"):
        configs.load_experiment(file)


def test_records_are_kept_in_a_checkout_only(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(configs, "HOME", tmp_path)
    assert command_line.main(["report", str(tmp_path), "--record"]) == 2
    assert "--record keeps results in a checkout" in capsys.readouterr().err


def test_a_run_of_installed_code_names_the_commit_of_its_address(monkeypatch):
    checkout = environment.source()["commit"]
    assert checkout is None or len(checkout) == 40
    # Elsewhere: the repository around the code, if there is one, does not know its files.
    monkeypatch.setattr(environment, "git", lambda *arguments: None)
    files = {"direct_url.json": '{"url": "x", "vcs_info": {"vcs": "git", "commit_id": "abc"}}'}
    installed = SimpleNamespace(read_text=files.get)
    monkeypatch.setattr(environment.metadata, "distribution", lambda name: installed)
    assert environment.source() == {"commit": "abc", "uncommitted_changes": False}
    files.clear()
    assert environment.source()["commit"] is None
