"""One file for `jax.export`: images in, logits out, with the preprocessing and the weights inside.

It needs JAX and flatbuffers and not this project, runs on CPUs, NVIDIA's GPUs and TPUs, and takes
any batch size:

    logits = jax.export.deserialize(bytearray(Path("network.stablehlo").read_bytes())).call(images)
"""

from pathlib import Path

import jax
import jax.export
import numpy as np

from cnn_jax import files
from cnn_jax.errors import UserError
from cnn_jax.interop.export import about
from cnn_jax.interop.export.exported import Exported

OPTIONS = ("raw",)
PLATFORMS = ("cpu", "cuda", "tpu")


def write(network: Exported, out: Path, raw: bool = False) -> list[str]:
    """Writes the file, and what it says of images and classes as JSON beside it.

    Args:
      raw: the images are what the network takes, float32, and not of uint8.
    """
    facts = about.facts(network, raw)
    place = about.beside(out, facts)

    def logits(images):
        x = images if raw else network.preprocessing(images)
        return network.model.apply(network.variables, x, train=False)

    (batch,) = jax.export.symbolic_shape("batch")
    kind = np.float32 if raw else np.uint8
    images = jax.ShapeDtypeStruct((batch, *network.image_shape), kind)
    program = jax.export.export(jax.jit(logits), platforms=PLATFORMS)(images)
    try:
        content = program.serialize()
    except ImportError:
        raise UserError("--to=stablehlo needs flatbuffers: pip install flatbuffers") from None
    files.write_bytes(out, content)
    line = f"{out}: {len(content):,} bytes, for {', '.join(PLATFORMS)}"
    return [line, about.write(facts, place)]
