"""Which statements each test runs, and how long it takes."""

import ast
import builtins
import itertools
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mutants.children import ROOT, Finder, keep_compiled, run_tests


class Reached(NamedTuple):
    """What a test ran, and what it cost."""

    seconds: float
    fixtures: dict[str, float]  # seconds of those that other tests share
    lines: dict[str, list[int]]  # statements, by file


class Recorder:
    """A plugin of pytest: the statements that each passing test has run, with its fixtures'."""

    def __init__(self):
        self.seen, self.reached, self.passed = set(), {}, {}
        self.fixtures, self.seconds, self.paid = {}, {}, set()

    def note(self, statement):
        self.seen.add(statement)

    def instrument(self, tree, path):
        """Each statement of a function tells that it was run."""
        file = str(Path(path).relative_to(ROOT))

        def visit(node, inside):
            inside = inside or isinstance(node, ast.FunctionDef)
            for child in ast.iter_child_nodes(node):
                visit(child, inside)
            for field in ("body", "orelse", "finalbody"):
                if inside and isinstance(body := getattr(node, field, None), list):
                    setattr(node, field, [line for s in body for line in (told(s), s)])

        def told(statement):
            call = ast.parse(f"__note__(({file!r}, {statement.lineno}))").body[0]
            return ast.copy_location(call, statement)

        visit(tree, False)
        return tree

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        before, self.seen, begin = self.seen, set(), time.process_time()
        try:
            return (yield)
        finally:
            self.seconds[fixturedef] = time.process_time() - begin
            self.fixtures[fixturedef] = set(self.seen)
            self.seen |= before

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.seen, begin = set(), time.process_time()
        result = yield
        seconds, shared = time.process_time() - begin, {}
        for one in itertools.chain(*item._fixtureinfo.name2fixturedefs.values()):
            self.seen |= self.fixtures.get(one, set())
            if one.scope != "function" and one in self.seconds:
                shared[f"{one.baseid}::{one.argname}"] = self.seconds[one]
        seconds -= sum(own for name, own in shared.items() if name not in self.paid)
        self.paid |= set(shared)
        lines = defaultdict(list)
        for file, line in sorted(self.seen):
            lines[file].append(line)
        if self.passed.get(item.nodeid):
            self.reached[item.nodeid] = Reached(round(max(seconds, 0.001), 3), shared, lines)
        return result

    def pytest_runtest_logreport(self, report):
        ok = self.passed.get(report.nodeid, True) and report.passed
        self.passed[report.nodeid] = ok


def reach(files, tests):
    """Runs the tests once, unchanged: name -> what each reaches."""
    keep_compiled(0.05)
    recorder = Recorder()
    builtins.__note__ = recorder.note
    sys.meta_path.insert(0, Finder(files, recorder.instrument))
    run_tests(tests, recorder)
    return recorder.reached
