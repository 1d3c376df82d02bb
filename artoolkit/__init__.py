"""artoolkit: more accurate segmentation networks at exactly the same cost, with the evidence.

From Python: `train`, `finetune` and `load` give a checkpoint, `export` a bundle with its verdict,
which `compare` and `verify` give again; `evaluate` and `predict` take any of them.
`AffinityRegression` is the loss, for a training loop of one's own. Each is imported when it is
first used, so that `import artoolkit` needs no torch.

Read first: `artoolkit.spec` (targets), `artoolkit.evidence.bundle` (what is handed to a device) and
`artoolkit.losses` (the affinity-regression loss).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artoolkit.checks.compare import compare
    from artoolkit.checks.verify import verify
    from artoolkit.evaluation.opening import predict
    from artoolkit.evaluation.quality import evaluate
    from artoolkit.exporting import export
    from artoolkit.losses import AffinityRegression
    from artoolkit.networks.loading import load
    from artoolkit.training.finetune import finetune
    from artoolkit.training.train import train

try:
    from artoolkit._version import __version__
except ImportError:  # a source tree that was never installed
    __version__ = "0+source"
__all__ = [
    "AffinityRegression",
    "__version__",
    "compare",
    "evaluate",
    "export",
    "finetune",
    "load",
    "predict",
    "train",
    "verify",
]

_HOMES = {
    "AffinityRegression": "artoolkit.losses",
    "compare": "artoolkit.checks.compare",
    "evaluate": "artoolkit.evaluation.quality",
    "export": "artoolkit.exporting",
    "finetune": "artoolkit.training.finetune",
    "load": "artoolkit.networks.loading",
    "predict": "artoolkit.evaluation.opening",
    "train": "artoolkit.training.train",
    "verify": "artoolkit.checks.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        home = importlib.import_module(_HOMES[name])
    except ModuleNotFoundError as error:
        from artoolkit.optional import require

        require(str(error.name), f"artoolkit.{name}")  # the same in one line, and how to get it
        raise
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
