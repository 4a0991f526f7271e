"""Counts how many images of a sample of ImageNet a compressed SqueezeNet classifies correctly.

    python experiments/deep_compression/accuracy.py FILE FOLDER

`launch.py compress` wrote FILE. FOLDER has a folder of images for each synset, and synsets.tsv,
whose line N (from 0) begins with the synset of label N. As in Caffe, images of any shape are
resized to 256x256 and cropped to 227x227. The script counts all images, and separately those that
`compress --count=N` does not calibrate with: it takes every (images / N)-th of the sorted files.
"""

import argparse
import sys
from pathlib import Path

import jax
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

import cnn_jax


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads images, uint8 [N, 227, 227, 3] in RGB, in the order of their files; and labels [N]."""
    lines = (folder / "synsets.tsv").read_text().splitlines()
    label = {line.split("\t")[0]: i for i, line in enumerate(lines)}
    files = sorted(folder.glob("*/*.JPEG"))
    images = [
        np.asarray(
            Image.open(file)
            .convert("RGB")
            .resize((256, 256), Image.Resampling.BILINEAR)
            .crop((14, 14, 241, 241))
        )
        for file in files
    ]
    return np.stack(images), np.array([label[file.parent.name] for file in files])


def ranks(run: cnn_jax.runs.Run, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each image, how many classes are more likely than the right one: [N]."""
    variables = run.variables()

    @jax.jit
    def logits(batch):
        return run.model.apply(variables, run.preprocessing(batch), train=False)

    found = np.concatenate([logits(images[i : i + 25]) for i in range(0, len(images), 25)])
    return (found > found[np.arange(len(found)), labels][:, None]).sum(1)


def main() -> None:
    """Prints the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100, help="images used in its calibration")
    arguments = parser.parse_args()
    images, labels = read(arguments.folder)
    found = ranks(cnn_jax.load_run(arguments.file), images, labels)
    seen = np.zeros(len(found), bool)
    seen[:: max(1, len(found) // arguments.count)] = True
    size = arguments.file.stat().st_size
    print(f"{arguments.file}: {size:,} bytes, {size / 1e6:.3f} MB")
    for name, chosen in (("all", seen | True), ("not used to calibrate", ~seen)):
        right = [int((found[chosen] < k).sum()) for k in (1, 5)]
        print(f"{name}: {right[0]} and {right[1]} of {chosen.sum()} right at top-1 and top-5")


if __name__ == "__main__":
    main()
