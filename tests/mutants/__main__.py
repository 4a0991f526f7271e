"""Small mistakes in the code that no quick test notices.

    python -m tests.mutants cnn_jax/optim                       # each mutant of the room
    python -m tests.mutants cnn_jax/models --sample=20          # 20 of each file
    python -m tests.mutants cnn_jax/data/augment.py --sample=0 --out=augment.jsonl

A mutant is a module with one change: another number, an operator, a swapped argument, a key that
forgets what was folded in. A process that has imported JAX forks for each; the child imports our
modules, one of them changed, and runs the tests that reach the changed statement, the cheapest
first, until one fails. Libraries for this (mutmut, cosmic-ray) leave out decorated functions,
constants and defaults, or start Python anew for each mutant, which takes seconds with JAX.
"""

import argparse
import ast
import hashlib
import itertools
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.mutants.children import (
    ROOT,
    Finder,
    import_libraries,
    in_child,
    keep_compiled,
    run_tests,
)
from tests.mutants.mutations import mutations
from tests.mutants.reached import Reached, reach


class Mutant(NamedTuple):
    file: str
    name: str  # the same as long as the function is: where it is, and what is changed
    line: int
    span: tuple[int, int] | None  # the lines of which tests must reach one; None: any of the file
    at_import: bool  # a constant, a default or a decorator
    number: int  # among the mutations of the file


def mutants_of(file):
    """All mutants of a file."""
    names, found = Counter(), []
    for number, mutation in enumerate(mutations(ast.parse((ROOT / file).read_text()))):
        name = f"{mutation.where}: {mutation.text}"
        names[name] += 1
        name += f" #{names[name]}" if names[name] > 1 else ""
        at = mutation.statement
        span = (at, at) if at else mutation.span
        found.append(Mutant(file, name, mutation.line, span, not at, number))
    return found


def sample(mutants, size, seed):
    """`size` of them, the same ones of code that has changed elsewhere; all where it is 0."""

    def draw(mutant):
        return hashlib.sha256(f"{seed} {mutant.file} {mutant.name}".encode()).digest()

    return sorted(sorted(mutants, key=draw)[: size or None], key=lambda mutant: mutant.number)


def chosen(mutant, reached, seconds):
    """The cheapest tests that reach a mutant, or may without running a statement, in this time."""
    stem = Path(mutant.file).with_suffix("").relative_to("cnn_jax")
    room, own_tests = f"tests/{stem.parts[0]}/", f"tests/{stem.with_name('test_' + stem.name)}.py::"
    first, last = mutant.span or (0, 10**6)
    costs = []
    for name, own in reached.items():
        lines = own.lines.get(mutant.file, ())
        # Defaults and constants may be read without running a function of the file.
        if any(first <= line <= last for line in lines) or name.startswith(
            room if mutant.at_import else own_tests
        ):
            cost = own.seconds + sum(own.fixtures.values())
            # A table's numbers are mostly caught by the tests of its file.
            is_own = mutant.at_import and name.startswith(own_tests)
            costs.append((cost / 20 if is_own else cost, name))
    names, paid, left = [], set(), seconds
    for _, name in sorted(costs):
        own = reached[name]
        new = own.fixtures.keys() - paid
        left -= own.seconds + sum(own.fixtures[fixture] for fixture in new)
        if names and left < 0:
            break
        paid |= new
        names.append(name)
    return names


class Selection:
    """A plugin of pytest that runs the named tests in their order, and keeps what failed first."""

    def __init__(self, names):
        self.place, self.failed = {name: i for i, name in enumerate(names)}, None

    def pytest_collection_modifyitems(self, items):
        found = [item for item in items if item.nodeid in self.place]
        items[:] = sorted(found, key=lambda item: self.place[item.nodeid])

    def pytest_exception_interact(self, node, call):
        self.failed = self.failed or f"{call.excinfo.typename} in {node.nodeid}"


def trial(mutant, names, seconds):
    """Runs tests on a mutant: what failed first, or "survived"."""

    def mutate(tree, _):
        next(itertools.islice(mutations(tree), mutant.number, None)).apply()
        return tree

    def child():
        keep_compiled(1e9)  # what is there is read, and nothing added
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime + 60 + 4 * seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        sys.meta_path.insert(0, Finder([mutant.file], mutate))
        selection = Selection(names)
        files = dict.fromkeys(name.partition("::")[0] for name in names)
        code = run_tests(files, selection, "-x")
        return "survived" if code == 0 else selection.failed or f"pytest's exit code {code}"

    return in_child(child, limit=900) or "Python died, or took too long"


def try_all(mutants, reached, seconds, out):
    """Tries each mutant that has not been killed before, and writes what came of it."""
    lines = out.read_text().splitlines() if out and out.exists() else []
    outcomes = {(one["file"], one["name"]): one["outcome"] for one in map(json.loads, lines)}
    for mutant in mutants:
        if outcomes.get(key := (mutant.file, mutant.name), "survived") == "survived":
            names = chosen(mutant, reached, seconds)
            begin = time.monotonic()
            outcomes[key] = trial(mutant, names, seconds) if names else "survived"
            if outcomes[key] == "survived":
                print(f"{mutant.file}:{mutant.line} {mutant.name} ({len(names)} tests)", flush=True)
            if out:
                line = dict(zip(("file", "name"), key, strict=True)) | {"outcome": outcomes[key]}
                with out.open("a") as file:
                    took = round(time.monotonic() - begin, 1)
                    print(json.dumps(line | {"tests": len(names), "seconds": took}), file=file)
    return Counter((m.file, outcomes[m.file, m.name] == "survived") for m in mutants)


def print_scores(counts):
    """Of each file and each room the mutants that were caught."""
    rooms = Counter()
    for (file, survived), count in counts.items():
        rooms[str(Path(*Path(file).parts[:2])), survived] += count
    for table in (counts, rooms):
        for name in dict.fromkeys(name for name, _ in table):
            caught, lost = table[name, False], table[name, True]
            print(
                f"{name:44} {caught:5} of {caught + lost:5} caught, {caught / (caught + lost):.1%}"
            )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", type=Path, help="rooms or files of cnn_jax")
    parser.add_argument("--tests", nargs="+", help="by default the folders of the rooms")
    parser.add_argument("--sample", type=int, default=25, help="mutants of a file, 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="of tests for a mutant, at their usual speed"
    )
    parser.add_argument("--reached", type=Path, help="JSON, what tests reach: written, then read")
    parser.add_argument("--out", type=Path, help="JSON lines; what is caught there is not repeated")
    options = parser.parse_args()
    files = [
        str(file)
        for path in options.paths
        for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])
    ]
    tests = options.tests or sorted({f"tests/{Path(file).parts[1]}" for file in files})
    import_libraries(tests)
    kept = options.reached
    reached = json.loads(kept.read_text()) if kept and kept.exists() else None
    if reached is None:
        reached = in_child(lambda: reach(files, tests))
        if kept:
            kept.write_text(json.dumps(reached))
    reached = {name: Reached(*own) for name, own in reached.items()}
    mutants = [m for f in files for m in sample(mutants_of(f), options.sample, options.seed)]
    print_scores(try_all(mutants, reached, options.seconds, options.out))


if __name__ == "__main__":
    main()
