"""Forks of a process that has imported JAX, in which our modules are imported with changes."""

import ast
import contextlib
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OURS = ("cnn_jax", "experiments", "launch", "tests")


class Changed(importlib.machinery.SourceFileLoader):
    """Imports a module from a tree that `change` gives."""

    def __init__(self, name, path, change):
        super().__init__(name, path)
        self.change = change

    def get_code(self, fullname):
        tree = self.change(ast.parse(Path(self.path).read_text()), self.path)
        return compile(ast.fix_missing_locations(tree), self.path, "exec")


class Finder:
    """Finds the modules of the files to be changed."""

    def __init__(self, files, change):
        self.files, self.change = {str(ROOT / file) for file in files}, change

    def find_spec(self, name, path=None, target=None):
        stem = ROOT.joinpath(*name.split("."))
        for file in (stem.with_suffix(".py"), stem / "__init__.py"):
            if str(file) in self.files:
                loader = Changed(name, str(file), self.change)
                places = [str(stem)] if file.name == "__init__.py" else None
                return importlib.util.spec_from_file_location(
                    name, file, loader=loader, submodule_search_locations=places
                )
        return None


def in_child(function, limit=3600):
    """What `function()` returns (JSON), from a fork; None where it died or took too long."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setsid()
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            os.write(write, json.dumps(function()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(child, signal.SIGKILL))
    signal.alarm(int(limit))
    with open(read, "rb") as file:
        answer = file.read()
    signal.alarm(0)
    os.waitpid(child, 0)
    return json.loads(answer) if answer else None


def run_tests(tests, plugin, *options):
    """Runs tests here; the folder of their files is removed."""
    folder = tempfile.mkdtemp(prefix="mutants-")
    quiet = ["-q", "-p", "no:cacheprovider", "-W", "ignore", f"--basetemp={folder}/tests"]
    try:
        return int(pytest.main([*quiet, *options, *tests], plugins=[plugin]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def import_libraries(tests):
    """Imports here what tests and our modules import of others, and nothing of ours."""

    def collected():
        run_tests(tests, object(), "--collect-only")
        return [name for name in sys.modules if name.partition(".")[0] not in OURS]

    for name in in_child(collected):
        if name not in sys.modules:
            with contextlib.suppress(Exception):  # modules that others make up, as six.moves
                importlib.import_module(name)


def keep_compiled(seconds):
    """Programs that take longer than this to compile are kept, in a folder of the cache."""
    import jax

    cache = os.environ.setdefault("CNN_JAX_CACHE", f"{tempfile.gettempdir()}/cnn_jax")
    jax.config.update("jax_compilation_cache_dir", f"{cache}/mutants")
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
