"""Imports go one way and in no circle, files stay readable, and the way of a run stays short."""

import ast
import json
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# The floors of the house: a room imports its own floor and those below.
FLOORS = (
    {"launch", "__main__"},
    {"commands"},
    {"sweeps", "bench", "accelerators", "analysis"},
    {"evaluation"},
    {"training"},
    {"runs", "interop", "cluster", "optim"},
    {"config"},
    {"data", "models", "compression"},
    {"errors", "files", "hints", "old_names", "progress", "standard_streams", "wheels"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# The Python API stands beside the house: commands and notebooks call it, and it calls the rooms.
API = {"__init__"}
FILES = [ROOT / "launch.py", *sorted((ROOT / "cnn_jax").rglob("*.py"))]
MODULES = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in FILES}


def room(file):
    relative = file.relative_to(ROOT)
    return relative.parts[1].removesuffix(".py") if len(relative.parts) > 1 else relative.stem


def name_of(file):
    """The module's name, of a package without `__init__`."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(file) for file in FILES}


def imports(file):
    """The modules of this project that a file imports anywhere but for the sake of types."""

    def visit(node):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in NAMES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "") in NAMES:
            within = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from within & NAMES
            if within - NAMES:  # functions of the module itself
                yield node.module
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    return set(visit(ast.parse(file.read_text()))) - {"cnn_jax"}


GRAPH = {name_of(file): imports(file) for file in FILES}


def test_imports_go_down_the_floors():
    backward = [
        f"{file.relative_to(ROOT)} imports {other}"
        for file in FILES
        if room(file) not in API
        for other in GRAPH[name_of(file)]
        if FLOOR[room(file)] > FLOOR[other.split(".")[1]]
    ]
    assert not backward


def test_no_files_import_each_other_in_a_circle():
    done, circles = set(), []

    def visit(name, path):
        if name in path:
            circles.append(" -> ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for other in sorted(GRAPH[name] - {name}):
                visit(other, [*path, name])
            done.add(name)

    for name in GRAPH:
        visit(name, [])
    assert not circles


def test_cnn_jax_never_imports_experiments():
    assert not [f for f in FILES[1:] if re.search(r"(import|from) experiments", f.read_text())]


def test_no_config_value_has_a_default_behind_it():
    assert not [file for file in FILES if re.search(r"config\w*\.get\(", file.read_text())]


def test_no_file_is_longer_than_300_lines():
    tests = sorted((ROOT / "tests").rglob("*.py"))
    everything = [*FILES, *sorted((ROOT / "experiments").rglob("*.py")), *tests]
    assert not [file for file in everything if file.read_text().count("\n") > 300]


def test_no_function_is_longer_than_45_lines():
    long = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file in [*FILES, *sorted((ROOT / "experiments").rglob("*.py"))]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > 45
    ]
    assert not long


def test_no_room_has_more_than_16_files():
    folders = {file.parent for file in FILES}
    assert not [folder for folder in folders if len(list(folder.glob("*.py"))) > 16]


def test_training_is_read_in_an_afternoon():
    files = (ROOT / "cnn_jax/training").glob("*.py")
    assert sum(file.read_text().count("\n") for file in files) <= 2200


def test_importing_cnn_jax_imports_no_library():
    code = "import cnn_jax, sys; print(sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert not loaded & {"jax", "flax", "numpy", "pandas", "orbax", "ml_collections", "rich"}


# What a newcomer reads who wants to understand a run; CONTRIBUTING.md lists them, too.
SEVEN = (
    "experiments/resnet/cifar10.py",
    "cnn_jax/models/cifar_resnet.py",
    *(f"cnn_jax/training/{name}.py" for name in ("train", "build", "steps", "inputs")),
    "cnn_jax/training/run_writer.py",
)
WALK = """
import inspect, json, sys, threading
executed = set()

def profile(frame, event, argument):
    if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # no class, no module
        executed.add(frame.f_code.co_filename)

threading.setprofile(profile)
sys.setprofile(profile)
import launch
code = launch.main(["train", "--config=experiments/resnet/cifar10.py:20,smoke", *sys.argv[1:]])
sys.setprofile(None)
files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
libraries = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([code, sorted(executed), sorted(files), sorted(libraries)]))
"""


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """The files that the smoke run of ResNet-20 executes a function of, those that it imports, and
    the libraries.

    Fewer units of the same kind compile faster.
    """
    workdir = f"--workdir={tmp_path_factory.mktemp('walk') / 'run'}"
    command = [sys.executable, "-c", WALK, workdir, "--config.model.depth=8"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    code, executed, imported, libraries = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    ours = tuple(str(ROOT / name) for name in ("cnn_jax", "experiments", "launch.py"))
    both = [{file[len(str(ROOT)) + 1 :] for file in files if file.startswith(ours)}
            for files in (executed, imported)]  # fmt: skip
    return *both, set(libraries)


def test_a_run_executes_at_most_35_files_and_imports_at_most_55(walk):
    executed, imported, _ = walk
    assert len(executed) <= 35, sorted(executed)
    assert len(imported) <= 55, sorted(imported)


def test_a_run_imports_no_library_that_it_does_not_need(walk):
    assert walk[2] >= {"jax", "flax", "tensorboardX"}
    assert not walk[2] & {"torch", "pandas", "pyarrow", "tensorflow", "grain", "sklearn"}


def test_the_seven_files_to_read_are_on_the_way_of_a_run_and_in_contributing(walk):
    assert set(SEVEN) <= walk[0]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert not [file for file in SEVEN if file not in text]
