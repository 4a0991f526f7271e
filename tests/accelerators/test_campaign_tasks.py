"""Lists of tasks are in the order of value per minute, and name what there is."""

import subprocess
import sys

import pytest

import cnn_jax
from cnn_jax import config as configs
from cnn_jax.accelerators import campaign_tasks as tasks
from cnn_jax.accelerators.campaign_tasks import Check, Training
from cnn_jax.errors import UserError
from tests.conftest import ROOT

PAPERS = ROOT / "experiments/campaign.py"
ROWS = [task for task in tasks.read(PAPERS).tasks if isinstance(task, Training)]


def test_tasks_come_in_the_order_of_value_per_minute_and_equal_ones_as_they_stand():
    found = [Check(name, value, minutes, ()) for name, value, minutes in
             (("a", 1, 2), ("b", 4, 4), ("c", 1, 1), ("d", 3, 1))]  # fmt: skip
    assert [task.name for task in tasks.in_order(found)] == ["d", "b", "c", "a"]


@pytest.mark.parametrize("task", ROWS, ids=lambda task: task.name)
def test_every_training_of_the_papers_list_is_a_row_in_full(task, tmp_path):
    found = tasks.sweep_of(task, tmp_path, "CIFAR", "map")
    (row,) = (row for row in found.facts["rows"] if row["name"] == task.row)
    assert len(found.runs) == task.seeds
    changes = configs.changes(row["paper"], found.runs[0].config.to_dict())
    assert set(changes) <= {
        *("data.path", "evaluation.every", "evaluation.batch_size", "parallel.seeds"),
        *("training.steps_per_dispatch", "training.checkpoint_every"),
    }


def test_a_row_is_trained_with_all_its_seeds_as_one_program(tmp_path):
    task = next(task for task in ROWS if task.row == "ResNet-20")
    words = tasks.training_arguments(tasks.sweep_of(task, tmp_path, "CIFAR", "map"))
    assert words[0] == "train" and f"--seeds={task.seeds}" in words
    assert "--config.data.path=CIFAR" in words
    assert f"--workdir={tmp_path}/resnet-cifar10-table_6/ResNet-20" in words
    cnn_jax.load_config(words[1].removeprefix("--config="))


def test_every_check_of_the_papers_list_is_a_command_that_can_be_parsed():
    from cnn_jax.commands import command_line

    for task in tasks.read(PAPERS).tasks:
        if isinstance(task, Check):
            _, parsed = command_line.parse(list(task.arguments), command_line.LAUNCH)
            cnn_jax.load_config(parsed.config, parsed.overrides)


def test_the_papers_list_fits_its_checks_and_benchmarks_and_some_rows_into_an_hour():
    left, fits = 55.0, []
    for task in tasks.read(PAPERS).tasks:
        if task.minutes <= left:
            fits.append(task)
            left -= task.minutes
    assert sum(isinstance(task, Training) for task in fits) >= 2
    assert fits[0].name == "doctor"


def test_without_pytorch_nothing_is_compared_with_it():
    listed = tasks.without_torch(tasks.read(PAPERS))
    words = [word for task in listed.tasks for word in task.arguments]
    assert not [word for word in words if "--against" in word] and "--fake" in words


def test_a_list_that_is_none_and_a_name_that_is_there_twice_are_told(tmp_path):
    (tmp_path / "none.py").write_text("TASKS = []\n")
    with pytest.raises(UserError, match="none.py has no list: write TASKS, DEVICE and MEASURED"):
        tasks.read(tmp_path / "none.py")
    text = (
        "from cnn_jax.accelerators.campaign_tasks import Check\nDEVICE = 'cpu'\nMEASURED = True\n"
    )
    text += "TASKS = [Check('a b', 1, 1, ()), Check('a-b', 1, 1, ())]\n"
    (tmp_path / "twice.py").write_text(text)
    with pytest.raises(UserError, match="two tasks 'a b'"):
        tasks.read(tmp_path / "twice.py")
    with pytest.raises(UserError, match="unknown task 'docter' .did you mean 'doctor'"):
        tasks.read(PAPERS).find("docter")


def test_a_campaign_needs_no_package_of_streams_tfds_tensorboard_or_compression():
    missing = ("grain", "tensorflow_datasets", "array_record", "tensorboardX", "constriction")
    modules = ("commands.campaign", "commands.bench", "commands.doctor", "commands.report")
    modules += ("commands.train", "training.train", "accelerators.campaign_price", "bench.checks")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing}))\n"
    code += "\n".join(f"import cnn_jax.{module}" for module in modules)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
