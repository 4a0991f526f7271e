"""Counts how many images of a sample of ImageNet a compressed SqueezeNet classifies correctly.

    python experiments/deep_compression/accuracy.py FILE FOLDER

`launch.py compress` wrote FILE, or it is the authors' own. FOLDER has a folder of images for each
synset, and synsets.tsv, whose line N (from 0) begins with the synset of label N. Of each image the
network sees its evaluation view. The script counts all images, and separately those that `compress
--count=N` does not calibrate with: it takes every (images / N)-th of the sorted files.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import cnn_jax
from cnn_jax.errors import UserError
from cnn_jax.runs import Run


def read(folder: Path, run: Run) -> tuple[list[np.ndarray], np.ndarray]:
    """The views of images, uint8 [H, W, 3], in the order of their files; and labels [N]."""
    lines = (folder / "synsets.tsv").read_text().splitlines()
    label = {line.split("\t")[0]: i for i, line in enumerate(lines)}
    files = sorted(folder.glob("*/*.JPEG"))
    views = [run.evaluation_view.read(file)[0] for file in files]
    return views, np.array([label[file.parent.name] for file in files])


def ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each image, how many classes are more likely than the right one: [N]."""
    return (logits > logits[np.arange(len(logits)), labels][:, None]).sum(1)


def main() -> int:
    """Prints the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100, help="images used in its calibration")
    arguments = parser.parse_args()
    try:
        run = cnn_jax.load_pretrained(arguments.file)
        views, labels = read(arguments.folder, run)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    found = ranks(run.logits(views), labels)
    seen = np.zeros(len(found), bool)
    seen[:: max(1, len(found) // arguments.count)] = True
    size = arguments.file.stat().st_size
    print(f"{arguments.file}: {size:,} bytes, {size / 1e6:.3f} MB")
    for name, chosen in (("all", seen | True), ("not used to calibrate", ~seen)):
        right = [int((found[chosen] < k).sum()) for k in (1, 5)]
        print(f"{name}: {right[0]} and {right[1]} of {chosen.sum()} right at top-1 and top-5")
    return 0


if __name__ == "__main__":
    sys.exit(main())
