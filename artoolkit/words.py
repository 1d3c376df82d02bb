"""The words that options, recipes, targets and records share, each in one place.

The command line shows them in --help, which has to be instant: only `typing` is imported here. A
word that others may add to (a backend) stands in a table; the rest are types and their values.
"""

from typing import Final, Literal, get_args

# Backend -> the module that offers it as BACKEND, or module:attribute. One line here makes it known
# everywhere.
BACKENDS: dict[str, str] = {
    "torch": "artoolkit.backends.torch",
    "onnxruntime": "artoolkit.backends.onnxruntime",
    "openvino": "artoolkit.backends.openvino",
    "tensorrt": "artoolkit.backends.tensorrt",
    "tensorrt-rtx": "artoolkit.backends.tensorrt:RTX",
}

# The backends that build an engine first, each named as its library.
LibraryName = Literal["tensorrt", "tensorrt-rtx"]
LIBRARIES: tuple[LibraryName, ...] = get_args(LibraryName)
# What gives an engine its memory, streams and events.
CudaMemory = Literal["cuda-bindings", "pycuda"]
CUDA_MEMORY: tuple[CudaMemory, ...] = get_args(CudaMemory)
HardwareCompatibility = Literal["none", "ampere+", "same-compute-capability"]
HARDWARE_COMPATIBILITIES: tuple[HardwareCompatibility, ...] = get_args(HardwareCompatibility)

Precision = Literal["fp32", "tf32", "bf16", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# What computes between the layers that int8 quantises.
FloatPrecision = Literal["fp32", "bf16"]
Head = Literal["argmax", "chain"]
# What the deployed graph takes and gives: camera pixels and bytes, or what others' nodes pass on.
InputLayout = Literal["nhwc_uint8", "nchw_float32"]
INPUT_LAYOUTS: tuple[InputLayout, ...] = get_args(InputLayout)
LabelsDtype = Literal["uint8", "int32"]
LABELS_DTYPES: tuple[LabelsDtype, ...] = get_args(LabelsDtype)

DATASETS = ("cityscapes", "camvid", "nyuv2", "folder")
# Annotations that `data convert` turns into a described folder.
ANNOTATIONS = (
    "coco-panoptic", "coco-instances", "yolo", "vistas", "bdd100k", "a2d2", "huggingface"
)  # fmt: skip
# Where Cityscapes lies, as cityscapesScripts reads it.
CITYSCAPES_VARIABLE = "CITYSCAPES_DATASET"

# The built-in networks (`networks.NETWORKS` builds them), for who must not import torch.
NETWORKS = (
    "icnet",
    *(f"icnet_r{depth}" for depth in (18, 50, 101)),
    *(f"refinenet_lw{depth}" for depth in (50, 101, 152)),
    "refinenet_lw_mbv2",
    *(f"refinenet_lw_efficientnet_lite{lite}" for lite in range(3)),
    *(f"pspnet{depth}" for depth in (50, 101)),
    *(f"pidnet_{size}" for size in "sml"),
    "ddrnet_23_slim",
    "ddrnet_23",
    "bisenetv1_r18",
    "bisenetv2",
    "stdc1",
    "stdc2",
    "fast_scnn",
    "segformer_b0",
    "segformer_b1",
)

# "auto": found by looking at the keys (layouts), or by measuring (layers that int8 leaves alone).
AUTO: Final = "auto"
LAYOUTS = (
    "caffe",
    "mmseg",
    "drsleep",
    "semseg",
    "xujiacong",
    "ydhonghit",
    "coincheung",
    "transformers",
    "torchvision",
)
ChannelOrder = Literal["rgb", "bgr"]
CHANNEL_ORDERS: tuple[ChannelOrder, ...] = get_args(ChannelOrder)

# Trackers of experiments -> the callback that tells them. One line here makes it known.
TRACKERS: dict[str, str] = {
    "mlflow": "artoolkit.trackers.mlflow:Tracker",
    "wandb": "artoolkit.trackers.wandb:Tracker",
}

# What a comparison asks: may the candidate replace the baseline, or what did a precision cost?
Question = Literal["equal", "precision"]
QUESTIONS: tuple[Question, ...] = get_args(Question)

# Where the points of affinity regression lie, and the arms of an experiment: without it, or there.
Grid = Literal["center", "paper", "jitter", "all"]
GRIDS: tuple[Grid, ...] = get_args(Grid)
# What `finetune` takes by default. By benchmarks/results/experiment-camvid-half.md: the published
# weight 0.1 moved mIoU by about 0.1 points, 20 by more; the grids `center` and `all` helped alike,
# and `center` costs less.
FINETUNE_WEIGHT, FINETUNE_GRID = 20.0, "center"
# How class weights follow from the training labels.
Balancing = Literal["median-frequency", "effective-number"]
NO_BALANCING = "none"
BALANCINGS: tuple[str, ...] = (NO_BALANCING, *get_args(Balancing))
CONTROL = "control"
ARMS = (CONTROL, "paper", "center", "jitter", "all")

# The terms that a teacher is needed for.
TAUGHT = ("distillation", "affinity_distillation")
# Settings of a run that have a name of their own beside their places in a recipe: an option of
# `train` and `finetune` each, and what an arm of `experiment` may be made of.
SETTINGS: dict[str, tuple[str, ...]] = {
    "epochs": ("schedule.epochs",),
    "lr": ("optimizer.lr",),
    "ema-decay": ("optimizer.ema_decay",),
    "average-epochs": ("optimizer.average_epochs",),
    "ar-weight": ("loss.ar_weight",),
    "ar-grid": ("loss.ar_grid",),
    "ar-stride": ("loss.ar_stride",),
    "distillation": ("loss.terms.distillation.weight",),
    "temperature": ("loss.terms.distillation.options.temperature",),
    "affinity-distillation": ("loss.terms.affinity_distillation.weight",),
    "class-weights": ("loss.class_weights",),
    "label-smoothing": ("loss.label_smoothing",),
    "boundary-weight": ("loss.boundary_weight",),
    "ohem": ("loss.ohem.threshold",),
    "photometric": tuple(f"augmentation.{p}" for p in ("brightness", "contrast", "saturation")),
}
