"""Every verb: the module that holds it, what it does in one line, and how it is called.

Only strings, so that --help is instant. An example belongs to the verb, or to the subcommand, that
it calls; tests run every one of them.
"""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """Module under artoolkit.cli, one line for --help, and examples."""

    module: str
    summary: str
    examples: tuple[str, ...]


_BASE = "runs/base/model.safetensors"
_DATA = "--dataset cityscapes --data-root data"
GROUPS: dict[str, dict[str, Verb]] = {
    "Start here": {
        "quickstart": Verb(
            "quickstart",
            "End-to-end demo on synthetic data (minutes on a CPU).",
            ("quickstart --out demo",),
        ),
        "doctor": Verb(
            "doctor", "Show what works on this machine and what is missing.", ("doctor",)
        ),
    },
    "Data and weights": {
        "data": Verb(
            "data",
            "Generate, prepare and check data sets.",
            (
                "data synthesize data --train 48 --val 16 --imgsz 192 384",
                "data check data --dataset cityscapes",
                "data convert coco-panoptic panoptic.json streets",
                "data prepare-nyuv2 nyu_depth_v2_labeled.mat nyuv2",
            ),
        ),
        "weights": Verb(
            "weights",
            "List, fetch and import published checkpoints.",
            (
                "weights list --network pidnet_s",
                "weights fetch pidnet_s-cityscapes --out weights",
                "weights import net.pth --network fast_scnn --num-classes 19 --out a.safetensors",
                "weights probe net.pth --network mynet:Net --dataset camvid --out own.safetensors",
            ),
        ),
    },
    "Train": {
        "train": Verb(
            "train",
            "Train a network from a recipe.",
            (f"train --recipe cityscapes-icnet {_DATA} --out runs/base",),
        ),
        "finetune": Verb(
            "finetune",
            "Fine-tune a baseline with the affinity-regression loss.",
            (f"finetune --baseline {_BASE} {_DATA} --out runs/ar",),
        ),
        "experiment": Verb(
            "experiment",
            "Test whether the loss helps: all arms and seeds.",
            (f"experiment --baseline {_BASE} --arms control,center {_DATA} --out runs/arms",),
        ),
        "evaluate": Verb(
            "evaluate",
            "Measure mIoU of a checkpoint, bundle or engine.",
            ("evaluate runs/ar/model.safetensors --data-root data",),
        ),
    },
    "Export and prove": {
        "export": Verb(
            "export",
            "Export a bundle, with the verdict against a baseline.",
            (f"export runs/ar/model.safetensors --baseline {_BASE} {_DATA} --out bundle",),
        ),
        "compare": Verb(
            "compare",
            "Give the verdict on a candidate against its baseline.",
            (f"compare bundle {_DATA}", f"compare fp32 int8 --question precision {_DATA}"),
        ),
        "verify": Verb(
            "verify",
            "Verify hashes, answer the checks again, replay golden images.",
            ("verify bundle",),
        ),
        "log": Verb(
            "log", "List the verdicts in a bundle: when, where, which answers.", ("log bundle",)
        ),
        "sign": Verb(
            "sign",
            "Sign a bundle and its evidence with a key.",
            ("sign --new-key release.key", "sign bundle --key release.key"),
        ),
    },
    "On the device": {
        "build": Verb("build", "Build the TensorRT engine of a bundle.", ("build bundle",)),
        "delta": Verb(
            "delta",
            "Write the trained weights alone that make one bundle of another.",
            ("delta held bundle --out weights.npz",),
        ),
        "refit": Verb(
            "refit",
            "Make a bundle, and its engine, from another and a delta.",
            ("refit held weights.npz --out refitted",),
        ),
        "benchmark": Verb(
            "benchmark", "Measure latency and memory on this machine.", ("benchmark bundle",)
        ),
        "predict": Verb(
            "predict",
            "Write label maps and overlays of images or a video.",
            ("predict bundle images --out predictions",),
        ),
    },
    "Show to others": {
        "report": Verb(
            "report",
            "Write one HTML page about runs and bundles.",
            (
                "report bundle runs/ar --out report.html",
                "report bundle --markdown comment.md --badge cost.svg",
            ),
        ),
        "ci": Verb(
            "ci",
            "Print a workflow that gives the verdict on every change.",
            ("ci github --bundle bundle",),
        ),
        "hub": Verb(
            "hub",
            "Push a bundle to the Hugging Face hub, or pull one.",
            ("hub push bundle someone/icnet-ar", "hub pull someone/icnet-ar --out pulled"),
        ),
    },
    "Look up names": {
        "recipes": Verb(
            "catalog:recipes",
            "List or show the recipes that come with artoolkit.",
            ("recipes list", "recipes show cityscapes-icnet"),
        ),
        "targets": Verb(
            "catalog:targets",
            "List or show the devices that bundles are made for.",
            ("targets list", "targets show cpu"),
        ),
        "datasets": Verb(
            "catalog:datasets",
            "List or show the data sets that are read by name.",
            ("datasets list", "datasets show cityscapes"),
        ),
    },
}
VERBS = {name: verb for group in GROUPS.values() for name, verb in group.items()}
ALIASES = {"val": "evaluate", "checks": "doctor"}
