"""The table of published weights: every hash is where the publisher says it."""

import hashlib
import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from pydantic import ValidationError

from artoolkit.errors import DownloadError, MissingLibraryError, UsageError
from artoolkit.networks import NETWORKS
from artoolkit.networks.builder import LAYOUTS
from artoolkit.networks.sources import (
    Source,
    source_named,
    source_of_file,
    sources,
    warnings_for,
    weights_file,
)


def test_table_is_consistent() -> None:
    table = sources()
    assert len({source.name for source in table}) == len(table)
    files = [source.file for source in table if source.file]
    assert len(set(files)) == len(files)
    for source in table:
        assert set(source.network.split(", ")) <= set(NETWORKS)
        if source.ours:
            continue
        assert source.layout in LAYOUTS
        assert source.stated.startswith("https://")
        assert source.address.startswith("https://")


def test_fetched_files_carry_their_hash_in_their_name() -> None:
    direct = [source for source in sources() if source.access == "direct"]
    assert direct
    for source in direct:
        assert source.file is not None
        assert source.address.endswith(f"/{source.file}")
        assert source.file.endswith(f"-{source.hash}.pth")
        assert source.hash_kind == "sha256"


def test_weights_of_a_package_are_read_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "efficientnet_lite0-imagenet"
    source = source_named(name)
    assert weights_file(Path("mine.pth")) == Path("mine.pth")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingLibraryError, match=r"artoolkit\[pretrained\]"):
        weights_file(Path(name))
    spec = ModuleSpec(source.package, None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    assert weights_file(Path(name)) == tmp_path / "models" / "efficientnet-lite0-57934424.pth"


def test_dead_sources_are_listed_as_dead_without_a_hash() -> None:
    dead = [source for source in sources() if source.access == "dead"]
    assert {source.layout for source in dead} == {"drsleep"}
    assert all(source.hash is None and "shut down" in source.note for source in dead)


def test_licenses_are_the_publishers_and_segformer_comes_with_a_warning() -> None:
    for source in sources():
        stated = source.layout == "mmseg" or source.access == "package"
        assert (source.license == "Apache-2.0") == stated, source.name
    for network in NETWORKS:
        warnings = warnings_for(network)
        assert any("research" in text for text in warnings) == network.startswith("segformer")


def test_every_network_of_the_frontier_has_published_weights() -> None:
    """The hashes end the file names: the first digits of the sha256."""
    known = {source.hash: source for source in sources() if source.dataset == "cityscapes"}
    for network, digits in (
        ("pidnet_s", "bb8e3bcc"), ("pidnet_m", "f9bcdbf3"), ("pidnet_l", "0783ca6b"),
        ("ddrnet_23_slim", "6a5e5174"), ("ddrnet_23", "81601db0"), ("bisenetv2", "bcf10f09"),
        ("bisenetv2", "e1a2eed6"), ("bisenetv1_r18", "8ba80eff"), ("bisenetv1_r18", "bb8db75f"),
        ("stdc1", "3d4c2981"), ("stdc2", "1f8f0f6c"), ("fast_scnn", "0cec9937"),
        ("segformer_b0", "e7f88502"), ("segformer_b1", "655c7b3f"),
    ):  # fmt: skip
        assert known[digits].network == network


def test_lookups() -> None:
    source = source_named("icnet_r50-in1k-160k-cityscapes")
    assert (source.network, source.layout, source.miou) == ("icnet_r50", "mmseg", 76.29)
    assert source.file is not None
    assert source_of_file(source.file) == source
    assert source_of_file("mine.pth") is None
    with pytest.raises(UsageError, match="got 'mine'; expected one of icnet_r18-80k"):
        source_named("mine")


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_verify(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"weights")
    digest = hashlib.new(kind, b"weights").hexdigest()
    values = source_named("icnet_r18-80k-cityscapes").model_dump() | {"hash_kind": kind}
    for stated in (digest, digest[:8], None):
        Source(**(values | {"hash": stated})).verify(path)
    with pytest.raises(DownloadError, match=f"not the file that was published.*got {kind}"):
        Source(**(values | {"hash": "0" * 8})).verify(path)
    with pytest.raises(ValidationError, match="'xyz' is no hash"):
        Source(**(values | {"hash": "xyz"}))
