"""Hooks of mkdocs: the README as the first page, and links that leave the site.

A link to a file of the repository becomes its address there (GITHUB_REPOSITORY, in the workflow
that publishes) or, in a build without one, plain words. A file that does not exist is an error.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
# Under mkdocs' own logger, so that --strict counts its warnings.
LOG = logging.getLogger("mkdocs.plugins.artoolkit")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    text = re.sub(r"\]\((?!https?:|#)(\.github|[A-Z]+\.md|benchmarks|export)", r"](../\1", text)
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return re.sub(r"\[([^\]]*)\]\(\.\./([^)#]*)(#[^)]*)?\)", lambda f: _link(f, page), markdown)


def _link(found: re.Match[str], page: Page) -> str:
    words, target, anchor = found[1], found[2], found[3] or ""
    if page.file.src_uri.count("/"):
        return found[0]  # a page in a folder: `..` is still the site
    if target == "README.md":
        return f"[{words}](index.md{anchor})"
    if not (ROOT / target).exists():
        LOG.warning("%s links to %s, which does not exist", page.file.src_uri, target)
    home = os.environ.get("GITHUB_REPOSITORY")
    if home is None:
        return f"{words} (`{target}`)"
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    return f"[{words}]({server}/{home}/blob/main/{target}{anchor})"
