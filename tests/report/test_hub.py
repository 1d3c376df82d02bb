"""Bundles go to the hub and come back whole; a server on this machine stands in for the hub."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from artoolkit.cli import main
from artoolkit.evidence.bundle import Bundle

constants = pytest.importorskip("huggingface_hub.constants", reason='pip install "artoolkit[hub]"')
COMMIT = "1" * 40


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's interface that a commit and a download use; files are in memory."""

    files: dict[str, bytes]

    def log_message(self, *_: object) -> None: ...

    def answer(self, code: int, content: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def json(self, value: object, code: int = 200) -> None:
        self.answer(code, json.dumps(value).encode(), Content_Type="application/json")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path.endswith("/repos/create"):
            self.json({"url": f"http://{self.headers['Host']}/someone/net"})
        elif "/preupload/" in self.path:
            names = [one["path"] for one in json.loads(body)["files"]]
            self.json({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False}
                                 for name in names]})  # fmt: skip
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.files[value["path"]] = base64.b64decode(value["content"])
            self.json(
                {
                    "success": True,
                    "commitOid": COMMIT,
                    "commitUrl": f"http://{self.headers['Host']}/someone/net/commit/{COMMIT}",
                }
            )
        else:
            self.json({}, 200 if "validate" in self.path else 404)

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if "/resolve/" in path:
            name = path.split("/resolve/")[1].split("/", 1)[1]
            content = self.files[name]
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            self.answer(200, content, ETag=etag, X_Repo_Commit=COMMIT)
        elif "/tree/" in path:
            self.json([{"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                       for name, content in self.files.items()])  # fmt: skip
        elif "/someone/net" in path:
            siblings = [{"rfilename": name} for name in self.files]
            self.json({"id": "someone/net", "sha": COMMIT, "siblings": siblings})
        else:
            self.answer(404, b"{}", X_Error_Code="RepoNotFound")

    do_HEAD = do_GET


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, bytes]]:
    """What the stand-in holds; `huggingface_hub` asks it instead of the real hub."""
    Hub.files = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setattr(constants, name, value, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    yield Hub.files
    server.shutdown()
    server.server_close()


def called(*words: object) -> Result:
    return CliRunner().invoke(main, ["hub", *map(str, words)])


@pytest.mark.filterwarnings("ignore")  # the hub's library's own
def test_a_bundle_comes_back_as_it_went(
    files: dict[str, bytes], baseline: Bundle, tmp_path: Path
) -> None:
    weights = tmp_path / "a.safetensors"
    weights.write_bytes(b"weights")
    pushed = called("push", baseline.path, "someone/net", "--checkpoint", weights)
    assert pushed.exit_code == 0, pushed.output
    assert files["model.safetensors"] == b"weights"
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: artoolkit\n")
    assert "No verdict yet" in card
    out = tmp_path / "pulled"
    pulled = called("pull", "someone/net", "--out", out, "--json")
    assert pulled.exit_code == 0, pulled.output
    assert json.loads(pulled.stdout)["sha256"] == baseline.manifest.sha256
    assert (out / "model.onnx").read_bytes() == baseline.model.read_bytes()
    assert called("pull", "someone/net", "--out", out).exit_code == 15


@pytest.mark.filterwarnings("ignore")
def test_a_changed_file_and_an_unknown_repository_are_refused(
    files: dict[str, bytes], baseline: Bundle, tmp_path: Path
) -> None:
    assert called("push", baseline.path, "someone/net").exit_code == 0
    files["bundle/golden.npz"] += b"0"
    files["bundle/notes.txt"] = b"?"
    answer = called("pull", "someone/net", "--out", tmp_path / "pulled")
    assert answer.exit_code == 6, answer.output
    assert "golden.npz was changed" in answer.output
    assert "notes.txt is not listed" in answer.output
    assert not [path for path in tmp_path.iterdir() if "pulled" in path.name]
    answer = called("pull", "nobody/nothing", "--out", tmp_path / "pulled")
    assert answer.exit_code == 14, answer.output
    assert answer.stderr.count("\n") == 1


def test_a_link_in_a_bundle_publishes_no_other_file(
    files: dict[str, bytes], baseline: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("of this machine")
    (baseline.path / "engines").mkdir()
    (baseline.path / "engines" / "a.plan").symlink_to(tmp_path / "secret")
    answer = called("push", baseline.path, "someone/net")
    assert answer.exit_code == 6 and "a.plan is a link" in answer.output
    assert not files
