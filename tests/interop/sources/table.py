"""The table of docs/weights.md: `python -m tests.interop.sources.table`; see `test_logits`."""

import importlib.util
import tempfile
from pathlib import Path

from cnn_jax.interop import reference
from tests.interop.sources.test_logits import CASES, difference

HEAD = "| source | network | compared with | largest difference |\n|---|---|---|---|"


def row(case, found: float) -> str:
    """A line of the table."""
    return f"| {case.source} | {case.network} | {case.against} | {found:.0e} |"


def main() -> None:
    """Prints the table, a row as soon as it is measured."""
    reference.torchvision()
    print(HEAD)
    for case in CASES:
        if case.needs and importlib.util.find_spec(case.needs) is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found, _ = difference(case, Path(folder))
        print(row(case, found), flush=True)


if __name__ == "__main__":
    main()
