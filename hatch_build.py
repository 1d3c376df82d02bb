"""Metadata that depends on where the project lies: its URLs, and the README's links made absolute.

The address is that of the repository that publishes (GITHUB_REPOSITORY in its workflow); a build
elsewhere has relative links and the paper's URL alone.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Addresses(MetadataHookInterface):
    """Fills `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        urls = {"Paper": "https://arxiv.org/abs/2103.04990"}
        name = os.environ.get("GITHUB_REPOSITORY")
        if name:
            home = f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}"
            ref = os.environ.get("GITHUB_REF_NAME", "main")
            urls |= {
                "Homepage": home,
                "Issues": f"{home}/issues",
                "Changelog": f"{home}/blob/{ref}/CHANGELOG.md",
            }
            text = re.sub(r"(!\[[^\]]*\]\()(?!https?:|#)", rf"\g<1>{home}/raw/{ref}/", text)
            text = re.sub(r"(?<!!)(\[[^\]]*\]\()(?!https?:|#)", rf"\g<1>{home}/blob/{ref}/", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = urls
