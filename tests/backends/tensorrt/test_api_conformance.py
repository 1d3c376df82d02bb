"""Every TensorRT name that the backend uses exists in NVIDIA's own bindings, oldest to newest.

The names are read from the source: `trt.X.Y`, and the members of variables that always hold one
class (`config` an IBuilderConfig, and so on). What stands in a function that ends in `_rtx` or
`_tensorrt` must exist in that library only; what is read by getattr with a default, in one of them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from vendor_bindings import Names, NotFetched, names_of_module, names_of_wheel

from artoolkit.backends import tensorrt
from artoolkit.optional import is_installed

WHEELS = {
    "10.3": ("tensorrt-cu12-bindings", "10.3.0"),
    "10.13": ("tensorrt-cu12-bindings", "10.13.0.35"),
    "11.0": ("tensorrt-cu13-bindings", "11.0.0.114"),
    "11.4": ("tensorrt-cu13-bindings", "11.4.0.106"),
}
MODULES = ("build.py", "library.py", "loaded.py", "runner.py", "layers.py", "pair.py")
CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "parser_error": "ParserError",
    "timing_cache": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "runtime_config": "IRuntimeConfig",
    "runtime_cache": "IRuntimeCache",
    "inspector": "EngineInspector",
    "refitter": "OnnxParserRefitter",
    "engine_refitter": "Refitter",
    "serialization": "ISerializationConfig",
}

# One process fetches and unpacks the wheels; two would do it at once.
pytestmark = pytest.mark.xdist_group("tensorrt-bindings")


@dataclass(frozen=True)
class Use:
    """`owner.member` ("" for the module itself), where it stands, and who must have it."""

    owner: str
    member: str
    where: str
    library: str
    keywords: tuple[str, ...] = ()
    optional: bool = False

    def found_in(self, names: Names) -> bool:
        if not self.owner:
            return self.member in names
        documentation = names.get(self.owner, {}).get(self.member)
        if documentation is None:
            return False
        return all(f"{keyword}:" in documentation for keyword in self.keywords)


class Collector(ast.NodeVisitor):
    def __init__(self, file: str) -> None:
        self.file, self.functions, self.uses = file, [""], []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.functions.append(node.name)
        self.generic_visit(node)
        self.functions.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for base in map(ast.unparse, node.bases):
            if base.startswith("trt."):
                methods = [part.name for part in node.body if isinstance(part, ast.FunctionDef)]
                for name in methods:
                    if not name.startswith("_"):
                        self._add(base.removeprefix("trt."), name, node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        keywords = tuple(k.arg for k in node.keywords if k.arg)
        if isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) == 3:
            owner, member = ast.unparse(node.args[0]), node.args[1]
            if owner.startswith("trt.") and isinstance(member, ast.Constant):
                self._add(owner.removeprefix("trt."), member.value, node, optional=True)
        elif isinstance(node.func, ast.Attribute) and keywords:
            owner = self._owner(node.func.value)
            if owner:
                self._add(owner, node.func.attr, node, keywords=keywords)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = self._owner(node.value)
        if owner is not None and not node.attr.startswith("__"):
            self._add(owner, node.attr, node)
        self.generic_visit(node)

    def _owner(self, node: ast.expr) -> str | None:
        """The class whose member is read: "" for the module, None where it is none of NVIDIA's."""
        text = ast.unparse(node)
        if text == "trt":
            return ""
        if text.startswith("trt.") and text.count(".") == 1:
            return text.removeprefix("trt.")
        holder, _, name = text.rpartition(".")
        # `options.timing_cache` is a path of ours; `self._loaded.context` is theirs.
        return CLASSES.get(name) if not holder or holder.startswith("self") else None

    def _add(self, owner: str, member: str, node: ast.AST, **more) -> None:
        function = self.functions[-1]
        library = next((k for k in ("rtx", "tensorrt") if function.endswith(f"_{k}")), "both")
        where = f"{self.file}:{node.lineno}"
        self.uses.append(Use(owner, member, where, library, **more))


def uses_in(source: str, file: str = "test.py") -> list[Use]:
    collector = Collector(file)
    collector.visit(ast.parse(source))
    return collector.uses


def used() -> Iterator[Use]:
    folder = Path(tensorrt.__file__).parent
    for path in sorted(folder.glob("*.py")):
        if path.name in MODULES:
            yield from uses_in(path.read_text(), path.name)


def missing(uses: list[Use], names: Names, library: str) -> list[str]:
    return [
        f"{use.where}: {use.owner}.{use.member}({', '.join(use.keywords)})"
        for use in uses
        if use.library in (library, "both") and not use.optional and not use.found_in(names)
    ]


def test_one_worker_runs_all_of_this(request):
    """Groups are a matter between two versions, pytest's and xdist's: both are pinned."""
    if hasattr(request.config, "workerinput"):
        assert request.node.nodeid.endswith("@tensorrt-bindings")


@pytest.fixture(scope="module")
def bindings(request) -> dict[str, Names]:
    """Names by version, of all that can be fetched; kept in pytest's cache folder."""
    return {"cache": request.config.cache.mkdir("tensorrt-bindings")}


def names(bindings, version: str) -> Names:
    if version not in bindings:
        try:
            bindings[version] = names_of_wheel(*WHEELS[version], bindings["cache"])
        except NotFetched as reason:
            pytest.skip(str(reason))
    return bindings[version]


@pytest.mark.parametrize("version", WHEELS)
def test_every_name_exists_in_tensorrt(bindings, version):
    assert missing(list(used()), names(bindings, version), "tensorrt") == []


@pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="tensorrt-rtx is not installed")
def test_every_name_exists_in_rtx():
    assert missing(list(used()), names_of_module("tensorrt_rtx"), "rtx") == []


def test_optional_names_exist_somewhere(bindings):
    everywhere = [names(bindings, version) for version in WHEELS]
    optional = [use for use in used() if use.optional]
    assert [u.member for u in optional] == ["SAME_COMPUTE_CAPABILITY", "INCLUDE_REFIT"]
    assert all(any(use.found_in(known) for known in everywhere) for use in optional)


def test_the_names_that_matter_are_seen():
    seen = {(use.owner, use.member, use.library) for use in used()}
    assert ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED", "both") in seen
    assert ("IBuilderConfig", "num_compute_capabilities", "rtx") in seen
    assert ("BuilderFlag", "ERROR_ON_TIMING_CACHE_MISS", "tensorrt") in seen
    assert ("IExecutionContext", "execute_async_v3", "both") in seen
    assert ("IProgressMonitor", "step_complete", "both") in seen
    assert ("ParserError", "node_operator", "both") in seen
    assert any(use.keywords == ("ignore_mismatch",) for use in used())
    assert len(seen) > 60


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("config.set_flag(trt.BuilderFlag.FP16)", "BuilderFlag.FP16"),
        ("builder.build_engine(network, config)", "Builder.build_engine"),
        ("config.max_workspace_size = 1", "IBuilderConfig.max_workspace_size"),
        ("self._loaded.context.execute_async_v2([], 1)", "IExecutionContext.execute_async_v2"),
        ("trt.OnnxParserr", ".OnnxParserr"),
        ("config.set_timing_cache(timing_cache, ignore=True)", "set_timing_cache(ignore)"),
        ("config.num_compute_capabilities = 1", "IBuilderConfig.num_compute_capabilities"),
        ("engine.device_memory_size", "ICudaEngine.device_memory_size"),
    ],
)
def test_a_name_used_by_mistake_is_found(bindings, mistake, message):
    found = missing(uses_in(mistake), names(bindings, "11.4"), "tensorrt")
    assert len(found) == 1 and message in found[0]


def test_what_only_one_library_has_is_asked_of_that_one():
    uses = uses_in("def _configure_rtx():\n    config.num_compute_capabilities = 1\n")
    assert missing(uses, {}, "tensorrt") == []
    assert missing(uses, {}, "rtx") != []
