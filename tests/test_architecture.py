"""Imports go one way, no config has a default behind it, and files stay readable."""

import ast
import re

from tests.conftest import ROOT

# Each room may import itself and those after it in its row.
MAY_IMPORT = {
    "launch": {"commands", "errors"},
    "commands": {"sweeps", "bench", "compression", "analysis", "interop", "training", "runs"}
    | {"data", "models", "config", "errors"},
    "sweeps": {"analysis", "training", "runs", "data", "models", "config", "errors"},
    "bench": {"analysis", "interop", "training", "caches", "runs"}
    | {"data", "models", "config", "errors"},
    "interop": {"models", "errors"},
    "analysis": {"compression", "training", "runs", "data", "models", "config", "errors"},
    "compression": {"models", "errors"},
    "training": {"caches", "compression", "runs", "data", "models", "config", "errors"},
    "runs": {"compression", "data", "models", "config", "errors"},
    "config": {"models", "errors"},
    "data": {"caches", "errors"},
    "models": {"errors"},
    "errors": set(),
    "caches": set(),
    "__init__": {"config", "runs"},
}
FILES = [ROOT / "launch.py", *sorted((ROOT / "cnn_jax").rglob("*.py"))]


def room(file):
    relative = file.relative_to(ROOT)
    return relative.parts[1].removesuffix(".py") if len(relative.parts) > 1 else relative.stem


def imported_rooms(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "cnn_jax":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cnn_jax."):
            yield node.module.split(".")[1]


def test_imports_go_one_way():
    backward = [
        f"{file.relative_to(ROOT)} imports {other}"
        for file in FILES
        for other in imported_rooms(file)
        if other != room(file) and other not in MAY_IMPORT[room(file)]
    ]
    assert not backward


def test_cnn_jax_never_imports_experiments():
    library = FILES[1:]
    assert not [f for f in library if re.search(r"(import|from) experiments", f.read_text())]


def test_no_config_value_has_a_default_behind_it():
    assert not [file for file in FILES if re.search(r"config\w*\.get\(", file.read_text())]


def test_no_file_is_longer_than_300_lines():
    assert not [file for file in FILES if file.read_text().count("\n") > 300]


def test_importing_cnn_jax_touches_no_accelerator():
    import subprocess
    import sys

    code = (
        "import cnn_jax, jax; from jax._src import xla_bridge; "
        "assert not xla_bridge.backends_are_initialized()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
