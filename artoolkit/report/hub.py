"""A bundle on the Hugging Face hub: pushed with its checkpoint and a card, pulled and verified.

Where the hub is and who asks are its library's own settings: HF_ENDPOINT, HF_TOKEN.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from artoolkit.errors import BundleError, DownloadError, StorageError
from artoolkit.evidence.bundle import SIGNATURE, Bundle, open_bundle
from artoolkit.evidence.contents import file_problems
from artoolkit.evidence.folders import scratch_folder
from artoolkit.evidence.signature import bundle_files
from artoolkit.optional import require
from artoolkit.report.markdown import as_markdown
from artoolkit.report.page import gather

FOLDER = "bundle"


def model_card(bundle: Bundle) -> str:
    """Markdown with the hub's header: what the network is, how to run it, and the verdict."""
    manifest = bundle.manifest
    height, width = manifest.target.imgsz
    training = manifest.provenance.get("training") or {}
    head = [
        "---", "library_name: artoolkit", "pipeline_tag: image-segmentation",
        f"tags: [semantic-segmentation, onnx, {manifest.network}]", "---",
    ]  # fmt: skip
    return "\n".join([
        *head,
        f"# {manifest.network}, {height} x {width}, {manifest.target.precision}",
        f"Classes: {', '.join(manifest.labels.names)}.",
        f"Trained on: {training.get('dataset', 'not stated')}.",
        "",
        "    pip install \"artoolkit[cpu]\"",
        "    artoolkit hub pull THIS/REPOSITORY --out bundle",
        "    artoolkit verify bundle",
        "    artoolkit predict bundle images --out predictions",
        "",
        as_markdown(gather([bundle.path], images=0)),
    ])  # fmt: skip


def push(
    bundle: Bundle, repository: str, *, checkpoint: Path | None = None, private: bool = False
) -> str:
    """Puts the bundle, the checkpoint and the card into `repository` in one commit; its address.

    Raises `BundleError` for a bundle that is not whole.
    """
    hub: Any = require("huggingface_hub", "the Hugging Face hub")
    _require_whole(bundle.path)  # a link in it could publish any file of this machine
    names = [name for name in (*bundle_files(bundle.path), SIGNATURE)
             if (bundle.path / name).is_file()]  # fmt: skip
    files = {f"{FOLDER}/{name}": bundle.path / name for name in names}
    content: dict[str, Any] = {"README.md": model_card(bundle).encode(), **files}
    if checkpoint is not None:
        content["model.safetensors"] = checkpoint
    with _answers(repository):
        api = hub.HfApi()
        url = api.create_repo(repository, private=private, exist_ok=True)
        api.create_commit(
            repository,
            [hub.CommitOperationAdd(name, source) for name, source in content.items()],
            commit_message=f"{bundle.manifest.network}, bundle {bundle.manifest.sha256[:12]}",
        )
    return str(url)


def pull(repository: str, out: Path, *, revision: str | None = None) -> Bundle:
    """The bundle in `repository`, in the folder `out`; every hash is checked before it is there."""
    hub: Any = require("huggingface_hub", "the Hugging Face hub")
    if out.exists():
        raise StorageError(f"{out} exists", hint="Give another --out.")
    with scratch_folder(out) as scratch:
        with _answers(repository):
            hub.snapshot_download(
                repository, revision=revision, local_dir=scratch, allow_patterns=f"{FOLDER}/**"
            )
        folder = scratch / FOLDER
        if not folder.is_dir():
            raise DownloadError(f"{repository} holds no bundle", expected=f"a folder {FOLDER}/")
        _require_whole(folder)
        folder.rename(out)
    return open_bundle(out)


def _require_whole(path: Path) -> None:
    if found := file_problems(path):
        raise BundleError("; ".join(found), hint="Export it again.")


@contextmanager
def _answers(repository: str) -> Iterator[None]:
    """What the hub or the way to it refuses, in one line."""
    http: Any = require("huggingface_hub.errors", "the Hugging Face hub")
    try:
        yield
    except (http.HfHubHTTPError, OSError, ValueError) as e:
        raise DownloadError(
            f"the hub refused {repository}: {str(e).splitlines()[0]}",
            hint="Check the name, HF_ENDPOINT, and `hf auth login`.",
        ) from e
