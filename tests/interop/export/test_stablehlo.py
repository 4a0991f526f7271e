"""What `export --to=stablehlo` writes gives our logits in JAX alone."""

import subprocess
import sys

import numpy as np
import pytest

from cnn_jax.interop.export import stablehlo
from tests.interop.export import cases

# A process without this project: only JAX and NumPy read the file.
ALONE = """
import sys
from pathlib import Path
import numpy as np
from jax import export
folder = Path(sys.argv[1])
network = export.deserialize(bytearray((folder / "network.stablehlo").read_bytes()))
np.save(folder / "logits.npy", network.call(np.load(folder / "images.npy")))
assert not [name for name in sys.modules if name.startswith(("cnn_jax", "flax"))]
print(network.platforms)
"""


def difference(case, folder):
    """The largest difference of the logits, relative to the largest logit; and the file."""
    network, images = cases.network(case)
    stablehlo.write(network, folder / "network.stablehlo")
    np.save(folder / "images.npy", images)
    command = [sys.executable, "-I", "-c", ALONE, str(folder)]  # without the folder of this project
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.stdout == "('cpu', 'cuda', 'tpu')\n", done.stderr
    ours, theirs = cases.logits(network, images), np.load(folder / "logits.npy")
    return np.abs(theirs - ours).max() / np.abs(ours).max(), folder / "network.stablehlo"


def test_a_process_without_this_project_gets_our_logits(tmp_path):
    assert difference(cases.QUICK[0], tmp_path)[0] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("case", cases.WHOLE, ids=str)
def test_a_process_without_this_project_gets_our_logits_of_whole_networks(case, tmp_path):
    assert difference(case, tmp_path)[0] < 1e-5
