"""A small Hugging Face Hub on this machine: the calls that its library makes to fetch and push."""

import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """Repositories in the server's `files`: {"OWNER/NAME": {path: bytes}}."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing."""

    def answer(self, content=b"", status=200, **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_GET(self):
        """A repository's facts and files; each file by its SHA-256, as large ones are kept."""
        path = urlsplit(self.path).path
        if found := re.fullmatch(r"/api/models/(\w+/\w+)/(revision|tree)/[^/]+", path):
            repository, what = found.groups()
            if repository not in self.server.files:
                return self.answer(
                    {"error": "no such repository"}, 404, X_Error_Code="RepoNotFound"
                )
            names = self.server.files[repository]
            if what == "tree":
                return self.answer(
                    [
                        {"type": "file", "path": n, "size": len(c), "oid": "0" * 40}
                        for n, c in names.items()
                    ]
                )
            return self.answer(
                {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}
            )
        if found := re.fullmatch(r"/(\w+/\w+)/resolve/[^/]+/(.+)", path):
            content = self.server.files.get(found[1], {}).get(found[2])
            if content is None:
                return self.answer(b"", 404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
            tag = f'"{hashlib.sha256(content).hexdigest()}"'
            sent = self.server.damage(content) if self.command == "GET" else content
            length = str(len(content))
            return self.answer(sent, ETag=tag, X_Repo_Commit=COMMIT, Content_Length=length)
        return self.answer(b"", 404)

    do_HEAD = do_GET

    def do_PUT(self):
        """A large file of an upload."""
        self.server.stored[self.path.rpartition("/")[2]] = self.body()
        self.answer()

    def do_POST(self):
        """The steps of an upload."""
        body, path = self.body(), urlsplit(self.path).path
        if self.headers.get("Authorization") != "Bearer hf_test":
            return self.answer({"error": "Invalid username or password."}, 401)
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            repository = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.server.files.setdefault(repository, {})
            return self.answer({"url": f"{self.server.url}/{repository}"})
        if "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {True: "lfs", False: "regular"}
            return self.answer(
                {
                    "files": [
                        {
                            "path": n,
                            "uploadMode": modes[n.endswith(".safetensors")],
                            "shouldIgnore": False,
                        }
                        for n in names
                    ]
                }
            )
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            for one in objects:
                one["actions"] = {"upload": {"href": f"{self.server.url}/upload/{one['oid']}"}}
            return self.answer({"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/models/(\w+/\w+)/commit/main", path):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.server.files[found[1]][value["path"]] = base64.b64decode(value["content"])
                if line["key"] == "lfsFile":
                    self.server.files[found[1]][value["path"]] = self.server.stored[value["oid"]]
            url = f"{self.server.url}/{found[1]}/commit/{COMMIT}"
            return self.answer({"commitUrl": url, "commitOid": COMMIT})
        return self.answer(b"", 404)


@contextlib.contextmanager
def served(files):
    """The server of these repositories; `damage` changes what it sends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.stored, server.damage = files, {}, lambda content: content
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def unused_url():
    """An address of this machine where nothing answers."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{opened.getsockname()[1]}"


def use(server, monkeypatch, cache):
    """Turns the library to a server: with a cache of its own, and the token that it takes."""
    from huggingface_hub import constants

    url = server if isinstance(server, str) else server.url
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
