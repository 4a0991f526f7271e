"""Runs Deep Compression from the training to the smallest file, and writes a report.

    python experiments/deep_compression/pipeline.py lenet:300-100 --data=FOLDER --workdir=DIR
    python experiments/deep_compression/pipeline.py cifar10 --data=FOLDER --workdir=DIR --start=RUN

The stages are: train (or take the run --start), prune and retrain, share and fine-tune. Each is a
`launch.py train`, so that a stopped one continues. `launch.py compress --lossless` follows, or,
with --quality, quantization by rate and distortion in place of shared values. DIR/report.json and
DIR/report.md have sizes and errors after every stage and of the decoded file, and for LeNet the
published table beside them.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import jax

import cnn_jax
from cnn_jax import config as configs
from cnn_jax.commands.command_line import main as launch
from cnn_jax.compression import archive, report

RECIPES = Path(__file__).parent
INDEX_BITS = 5  # bits of a gap in the paper's LeNets


def main() -> int:
    """Runs the stages that are not done and writes the report; returns an exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", help="lenet:300-100, lenet:5 or cifar10")
    parser.add_argument("--data", required=True, help="folder of the data")
    parser.add_argument("--workdir", type=Path, required=True, help="for all runs and the report")
    parser.add_argument("--start", type=Path, help="a trained run to start from")
    steps = "compress the pruned run with --quality=Q instead of sharing weights"
    parser.add_argument("--quality", metavar="Q", help=steps)
    parser.add_argument("--images", help="folder of 500 images to calibrate with")
    arguments = parser.parse_args()
    file, _, variant = arguments.network.partition(":")
    words = [word for word in variant.split(",") if word]
    runs = {} if arguments.start is None else {"train": arguments.start}
    for stage in ("train", "prune") if arguments.quality else ("train", "prune", "share"):
        if stage in runs:
            continue
        start = [f"--config.compression.start={run}" for run in list(runs.values())[-1:]]
        runs[stage] = arguments.workdir / stage
        config = f"{RECIPES / file}.py:{','.join([*words, stage])}"
        where = [f"--config.data.path={arguments.data}", f"--workdir={runs[stage]}"]
        if code := launch(["train", f"--config={config}", *where, *start]):
            return code
    packed = arguments.workdir / "compressed.cnn"
    how = ["--lossless"]
    if arguments.quality:
        how = [f"--quality={arguments.quality}", f"--images={arguments.images}", "--count=500"]
    if code := launch(["compress", str(runs[stage]), f"--out={packed}", *how]):
        return code
    found = summary(runs, packed, arguments.data)
    lenet = configs.load_experiment(RECIPES / "lenet.py")
    table = lenet.PRINTED.get(words[0] if words else "5") if file == "lenet" else None
    (arguments.workdir / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    (arguments.workdir / "report.md").write_text(markdown(found, table))
    print(f"the report is {arguments.workdir}/report.md")
    return 0


def summary(runs: dict[str, Path], packed: Path, data: str) -> dict:
    """All numbers of the report: sizes in bytes, errors 0-1."""
    opened = {stage: cnn_jax.load_run(path) for stage, path in runs.items()}
    errors = {stage: run.summary["test"]["top1_error"] for stage, run in opened.items()}
    errors["decoded"] = cnn_jax.evaluate(packed, split="test", data=data)["top1_error"]
    rows = report.rows(archive.read(packed).arrays, INDEX_BITS)
    variables = opened["train"].variables()
    weights = sum(values.size for values in jax.tree.leaves(variables))
    size = packed.stat().st_size
    return {
        "values": weights,
        "float32_bytes": 4 * weights,
        "file_bytes": size,
        "times_smaller": 4 * weights / size,
        "top1_error": errors,
        "epochs": {stage: float(run.summary["test"]["epoch"]) for stage, run in opened.items()},
        "layers": [row._asdict() for row in [*rows, report.total(rows)]],
    }


def markdown(found: dict, table: dict | None) -> str:
    """The report as Markdown; `table` has the published numbers by layer."""
    size, plain = found["file_bytes"], found["float32_bytes"]
    lines = [
        f"{size:,} bytes ({size / 1e6:.4f} MB, {size / 2**20:.4f} MiB) instead of {plain:,} "
        f"({plain / 1e6:.3f} MB, {plain / 2**20:.3f} MiB): {found['times_smaller']:.1f} times "
        "smaller.",
        "",
        "| stage | test error |",
        "|---|---|",
        *(f"| {stage} | {error:.2%} |" for stage, error in found["top1_error"].items()),
        "",
        "| layer | weights | density | code bits | Huffman | index bits | Huffman | size |"
        + (" paper: density | Huffman | index Huffman | size |" if table else ""),
        "|---|---|---|---|---|---|---|---|" + ("---|---|---|---|" if table else ""),
    ]
    for row in map(dict, found["layers"]):
        entries, weights = max(row["entries"], 1), row["weights"]
        bits = (row[k] / entries for k in ("codes", "codes_huffman", "gaps", "gaps_huffman"))
        size_fraction = (row["codes_huffman"] + row["gaps_huffman"]) / (32 * weights)
        cells = [row["layer"], f"{weights:,}", f"{row['kept'] / weights:.1%}"]
        cells += [*(f"{b:.1f}" for b in bits), f"{size_fraction:.2%}"]
        if table:
            paper = table[row["layer"]]
            cells += [f"{paper['density']} %", paper["weight_bits_huffman"]]
            cells += [paper["index_bits_huffman"], f"{paper['size_huffman']} %"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
