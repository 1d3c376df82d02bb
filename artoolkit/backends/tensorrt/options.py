"""Build options that both libraries share, and the same as a shell command.

The options are what was asked for; the sidecar records what was in effect.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from pydantic import Field, ValidationError, field_validator, model_validator

from artoolkit.backends.tensorrt.library import RTX_CAPABILITIES, version_tuple
from artoolkit.errors import UsageError
from artoolkit.spec import Frozen, problems
from artoolkit.words import HardwareCompatibility, LibraryName, Precision

PORTABLE = "portable"
_TRTEXEC_COMPATIBILITY = {
    "ampere+": "ampere+",
    "same-compute-capability": "sameComputeCapability",
}


class BuildOptions(Frozen):
    """Options that decide an engine besides the ONNX file.

    `compute_capabilities`: RTX only, as in SM86; none means portable (compute capability 8.0 and
    above). `workspace_gib`: the most scratch memory a tactic may take, GiB, unlimited by default.
    The rest is for `tensorrt` only: `opt_level` 0 to 5, `timing_cache` a file that is read and
    extended, `error_on_timing_cache_miss` fails instead of timing a tactic. Both compatibilities
    and `refittable` can slow the engine down.
    """

    library: LibraryName
    precision: Precision = "fp32"
    compute_capabilities: tuple[str, ...] = ()
    device: str = "cuda:0"
    workspace_gib: float | None = Field(default=None, gt=0)
    opt_level: int | None = Field(default=None, ge=0, le=5)
    timing_cache: Path | None = None
    error_on_timing_cache_miss: bool = False
    hardware_compatibility: HardwareCompatibility = "none"
    version_compatible: bool = False
    refittable: bool = False

    @field_validator("compute_capabilities", mode="before")
    @classmethod
    def _as_digits(cls, values: object) -> object:
        """8.9, sm_89 and SM89 are 89; those that RTX does not list are named."""
        if not isinstance(values, (list, tuple)):
            return values
        digits = tuple(re.sub(r"^sm_?|\.", "", str(value).lower()) for value in values)
        unknown = [value for value in digits if value not in RTX_CAPABILITIES]
        if unknown or len(set(digits)) != len(digits):
            known = ", ".join(RTX_CAPABILITIES)
            raise ValueError(f"must be some of {known}, once each, or {PORTABLE}")
        return digits

    @model_validator(mode="after")
    def _fits_the_library(self) -> BuildOptions:
        if self.error_on_timing_cache_miss and self.timing_cache is None:
            raise ValueError("error_on_timing_cache_miss needs a timing_cache")
        if self.library == "tensorrt":
            if self.compute_capabilities:
                raise ValueError("tensorrt builds on the device; only RTX takes capabilities")
            return self
        if foreign := [name for name in _TENSORRT_ONLY if getattr(self, name) not in _UNSET]:
            raise ValueError(f"{', '.join(foreign)}: only tensorrt has this, RTX does not")
        if self.device.startswith("dla"):
            raise ValueError("a DLA needs tensorrt, RTX does not know it")
        return self

    @property
    def capabilities_label(self) -> str:
        """Compute capabilities in messages and file names: sm86-sm89, or portable."""
        return "-".join(f"sm{c}" for c in self.compute_capabilities) or PORTABLE


_TENSORRT_ONLY = (
    "opt_level", "timing_cache", "error_on_timing_cache_miss", "hardware_compatibility",
    "version_compatible", "refittable",
)  # fmt: skip
_UNSET = (None, False, "none")


def build_options(**values: object) -> BuildOptions:
    """`BuildOptions` of options that a person gave; `UsageError` names all that do not fit."""
    try:
        return BuildOptions.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"these build options do not fit: {problems(error)}") from error


def trtexec_command(onnx: Path, plan: Path, options: BuildOptions, version: str) -> str:
    """The shell command of NVIDIA's own tool that builds the same plan.

    Clocks never start: `--skipInference`. TensorRT 11 and RTX are strongly typed without a flag.
    """
    rtx = options.library == "tensorrt-rtx"
    words = ["tensorrt_rtx" if rtx else "trtexec", f"--onnx={onnx}", f"--saveEngine={plan}"]
    if not rtx and version_tuple(version) < (11,):
        words.append("--stronglyTyped")
    if options.precision != "tf32":
        words.append("--noTF32")
    if options.compute_capabilities:
        words.append(f"--computeCapabilities={','.join(options.compute_capabilities)}")
    if options.workspace_gib is not None:
        words.append(f"--memPoolSize=workspace:{round(options.workspace_gib * 1024)}")
    if options.device.startswith("dla"):
        words += [f"--useDLACore={options.device.partition(':')[2] or 0}", "--allowGPUFallback"]
    words += [] if rtx else _tensorrt_words(options)
    return shlex.join([*words, "--skipInference"])


def _tensorrt_words(options: BuildOptions) -> list[str]:
    words = ["--profilingVerbosity=detailed"]
    if options.opt_level is not None:
        words.append(f"--builderOptimizationLevel={options.opt_level}")
    if options.timing_cache is not None:
        words.append(f"--timingCacheFile={options.timing_cache}")
    if options.error_on_timing_cache_miss:
        words.append("--errorOnTimingCacheMiss")
    if level := _TRTEXEC_COMPATIBILITY.get(options.hardware_compatibility):
        words.append(f"--hardwareCompatibilityLevel={level}")
    if options.version_compatible:
        words.append("--versionCompatible")
    if options.refittable:
        words.append("--refit")
    return words
