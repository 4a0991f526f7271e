"""Real trained weights: the Inception-v3 of nsfwjs predicts what its own runtime predicts.

`npm pack nsfwjs@4.4.0` (MIT), unpacked into `$CNN_JAX_CACHE/nsfwjs`, gives the files; without them
the test is skipped. The predictions were made by `nsfwjs.mjs`, in TensorFlow.js.
"""

import base64
import json
import re

import jax
import numpy as np
import pytest

from cnn_jax import files, models
from cnn_jax.interop import formats, read

FOLDER = files.cache_folder("nsfwjs") / "package/dist/models/inception_v3"
# Of the image below; the classes are drawing, hentai, neutral, porn and sexy.
PREDICTED = (0.261274695, 0.012835866, 0.716419935, 0.007033518, 0.002436050)


def literal(text, start):
    """The value of JavaScript that begins there, in the notation of JSON."""
    depth, end = 0, start
    while depth or end == start:
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(text[end], 0)
        end += 1
    text = re.sub(r"([{,])([A-Za-z_]\w*):", r'\1"\2":', text[start:end])
    text = text.replace("!0", "true").replace("!1", "false")
    return json.loads(re.sub(r"([:,\[]-?)\.(\d)", r"\g<1>0.\2", text))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The network as TensorFlow.js has it: `model.json` and its shards."""
    if not FOLDER.is_dir():
        pytest.skip(f"no nsfwjs in {FOLDER}")
    target = tmp_path_factory.mktemp("nsfwjs")
    script = (FOLDER / "model.min.js").read_text()
    content = literal(script, script.index("{modelTopology:"))
    (target / "model.json").write_text(json.dumps(content))
    for name in content["weightsManifest"][0]["paths"]:
        text = re.search(r'"([A-Za-z0-9+/=]{1000,})"', (FOLDER / f"{name}.min.js").read_text())[1]
        (target / name).write_bytes(base64.b64decode(text))
    return target


@pytest.mark.slow
def test_features_and_its_own_last_layers_give_the_predictions_of_its_runtime(folder):
    found = read.trained(folder)
    assert found.source == "Keras" and found.model["name"] == "inception_v3"
    assert found.model["num_classes"] is None, "three linear layers are no classifier of ours"
    model = models.create(**found.model | {"num_classes": 1})
    params = found.variables["params"] | {
        "fc": {"kernel": np.zeros((2048, 1)), "bias": np.zeros(1)}
    }
    image = (np.arange(299 * 299 * 3) * 7919 % 1009 / 1008).reshape(1, 299, 299, 3)

    def is_last(module, method):
        return module.name == "Mixed_7c" and method == "__call__"

    @jax.jit
    def last_map(variables, image):
        seen = model.apply(
            variables, image, capture_intermediates=is_last, mutable=["intermediates"]
        )
        return seen[1]["intermediates"]["Mixed_7c"]["__call__"][0]

    variables = found.variables | {"params": params}
    x = np.asarray(last_map(variables, image.astype(np.float32))).mean((1, 2))
    arrays = formats.tfjs.arrays(folder / "model.json")
    for i in (1, 2, 3):
        x = x @ arrays[f"dense_{i}/kernel"] + arrays[f"dense_{i}/bias"]
        x = np.maximum(x, 0) if i < 3 else np.exp(x - x.max())
    np.testing.assert_allclose((x / x.sum())[0], PREDICTED, atol=1e-5)
