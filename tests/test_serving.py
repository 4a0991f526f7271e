"""The page and the server of docs/export.md classify images as the network does.

The page needs chromium, and `npm install onnxruntime-web` in `$CNN_JAX_CACHE/onnxruntime-web`.
"""

import functools
import http.server
import json
import runpy
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from cnn_jax import files
from cnn_jax.interop.export import exported, stablehlo
from tests.conftest import ROOT, wait_until
from tests.interop.export import cases

SERVE = ROOT / "docs/serve"
MODULES = files.cache_folder("onnxruntime-web") / "node_modules"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
# Drops an image once the network is there, and sends what the page says of it.
DROP = """
<script type="module">
  const text = id => document.getElementById(id).innerText;
  const until = async condition => {
    while (!condition()) await new Promise(resolve => setTimeout(resolve, 50));
  };
  await until(() => text("status").includes("knows"));
  const data = new DataTransfer();
  data.items.add(new File([await (await fetch("image.png")).blob()], "image.png"));
  dispatchEvent(new DragEvent("drop", {dataTransfer: data}));
  await until(() => text("status").includes("image.png"));
  await fetch("/", {method: "POST", body: JSON.stringify([text("status"), text("classes")])});
</script>
"""


@pytest.fixture(scope="module")
def network():
    """A small network, an image of its size, and the probabilities of the classes by name."""
    found, images = cases.network(cases.QUICK[0])
    logits = cases.logits(found, images[:1])[0]
    powers = np.exp(logits - logits.max())
    return found, images[0], dict(zip(found.class_names, powers / powers.sum(), strict=True))


def test_the_server_answers_with_the_probabilities_of_the_classes(network, tmp_path, monkeypatch):
    found, image, expected = network
    stablehlo.write(found, tmp_path / "network.stablehlo")
    Image.fromarray(image[..., 0]).save(tmp_path / "image.png")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    answers = []

    def ask():
        content = (tmp_path / "image.png").read_bytes()
        while not answers:
            try:
                with urllib.request.urlopen(f"http://localhost:{port}", content) as answer:
                    answers.append(json.load(answer))
            except OSError:  # it does not listen yet
                time.sleep(0.05)

    one = http.server.HTTPServer.handle_request  # in place of all that come
    monkeypatch.setattr(http.server.HTTPServer, "serve_forever", one)
    monkeypatch.setattr(sys, "argv", ["server.py", str(tmp_path / "network.stablehlo"), str(port)])
    asking = threading.Thread(target=ask)
    asking.start()
    runpy.run_path(str(SERVE / "server.py"))
    asking.join()
    assert list(answers[0]) == list(expected)
    np.testing.assert_allclose(list(answers[0].values()), list(expected.values()), rtol=1e-4)


class Site(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; the server keeps what a page sends."""

    def do_POST(self):
        self.server.sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        """Nothing."""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium")
@pytest.mark.skipif(not MODULES.is_dir(), reason=f"no onnxruntime-web in {MODULES}")
def test_the_page_tells_the_classes_of_an_image_that_is_dropped_on_it(network, tmp_path):
    pytest.importorskip("onnx")
    found, image, expected = network
    exported.writer("onnx").write(found, tmp_path / "network.onnx")
    Image.fromarray(image[..., 0]).save(tmp_path / "image.png")
    (tmp_path / "node_modules").symlink_to(MODULES)
    (tmp_path / "drop.html").write_text((SERVE / "index.html").read_text() + DROP)
    site = functools.partial(Site, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("localhost", 0), site) as server:
        server.sent = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://localhost:{server.server_port}/drop.html"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        command = [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", address]
        browser = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: server.sent, browser)
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
    status, table = server.sent[0]
    assert status == "The likeliest classes of image.png:"
    rows = [line.split("\t") for line in table.splitlines()]
    assert [name for name, _ in rows] == sorted(expected, key=expected.get, reverse=True)
    for name, percent in rows:
        assert float(percent.removesuffix("%")) == pytest.approx(100 * expected[name], abs=0.06)
