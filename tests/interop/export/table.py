"""The table of docs/export.md: `python -m tests.interop.export.table`."""

import tempfile
from pathlib import Path

from tests.interop.export import cases, test_onnx, test_stablehlo

HEAD = "| network | onnxruntime | megabytes | JAX alone | megabytes |\n|---|---|---|---|---|"


def row(case: cases.Case) -> str:
    """A line of the table: the largest differences and the sizes of the files."""
    cells = []
    for format in (test_onnx, test_stablehlo):
        with tempfile.TemporaryDirectory() as folder:
            found, file = format.difference(case, Path(folder))
            cells += [f"{found:.0e}", f"{file.stat().st_size / 1e6:.1f}"]
    return f"| {case} | {' | '.join(cells)} |"


def main() -> None:
    """Prints the table, a row as soon as it is measured."""
    print(HEAD)
    for case in cases.WHOLE:
        print(row(case), flush=True)


if __name__ == "__main__":
    main()
