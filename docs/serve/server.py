"""Tells the classes of images that are sent to it: python server.py network.stablehlo [PORT]."""

import http.server
import io
import json
import sys
from pathlib import Path

import numpy as np
from jax import export, nn
from PIL import Image

path, port = Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 8000
network = export.deserialize(bytearray(path.read_bytes()))
about = json.loads(path.with_suffix(".json").read_text())
height, width, channels = about["input"]["shape"][1:]


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        image = Image.open(io.BytesIO(self.rfile.read(int(self.headers["Content-Length"]))))
        scale = min(image.size) / (about["view"]["resize"] or min(height, width))
        x, y = (
            (side - scale * own) / 2 for side, own in zip(image.size, (width, height), strict=True)
        )
        box = (x, y, x + scale * width, y + scale * height)  # the center, as `eval` sees it
        image = image.convert("RGB" if channels == 3 else "L").resize((width, height), 2, box)
        logits = network.call(np.asarray(image).reshape(1, height, width, channels))
        probabilities = np.asarray(nn.softmax(logits[0])).tolist()
        found = dict(zip(about["class_names"], probabilities, strict=True))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())


http.server.HTTPServer(("localhost", port), Answer).serve_forever()
