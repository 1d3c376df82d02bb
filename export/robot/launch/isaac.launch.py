"""Isaac ROS from camera to mask: pixels to a tensor, Triton, the decoder of masks.

    artoolkit export BUNDLE --format triton --out MODELS
    ros2 launch artoolkit_segmenter isaac.launch.py bundle:=BUNDLE model_repository:=MODELS

The bundle has the form that these nodes pass on: float planar pixels, 0 to 255, since its graph
normalises them, and int32 labels (`--input-layout nchw_float32 --labels-dtype int32`, batch 1).
Masks come out at /unet/raw_segmentation_mask (train ids) and /unet/colored_segmentation_mask.
"""

import json
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import ComposableNodeContainer
from launch_ros.descriptions import ComposableNode

# Of each node's pool; their own choice, 40, is 2 GB in the last one at 1024 x 2048.
POOL = {"memory_pool_num_blocks": 4}
IMAGES, TENSORS = "nvidia::isaac_ros::image_proc", "nvidia::isaac_ros::dnn_inference"


def nodes(context, *_args):
    """The container, with sizes, classes and colors from the bundle's manifest."""
    bundle, repository, name, image, info = (
        context.perform_substitution(LaunchConfiguration(word))
        for word in ("bundle", "model_repository", "model_name", "image", "camera_info")
    )
    manifest = json.loads((Path(bundle) / "manifest.json").read_text(encoding="utf-8"))
    target = manifest["target"]
    form = (target.get("layout"), target.get("labels_dtype"), target["batch"])
    if form != ("nchw_float32", "int32", 1):
        raise RuntimeError(f"{bundle} has another form: {form}, see isaac.launch.py")
    height, width = target["imgsz"]
    mask_height, mask_width = target["output_size"] or target["imgsz"]
    palette = [(r << 16) + (g << 8) + b for r, g, b in manifest["labels"]["colors"]]

    def node(package, plugin, parameters, remapped):
        return ComposableNode(
            package=package, plugin=plugin, name=plugin.rpartition(":")[2].lower(),
            parameters=[parameters], remappings=list(remapped.items()),
        )  # fmt: skip

    chain = [
        node("isaac_ros_image_proc", f"{IMAGES}::ResizeNode",
             {"output_width": width, "output_height": height, "keep_aspect_ratio": False},
             {"image": image, "camera_info": info}),
        node("isaac_ros_image_proc", f"{IMAGES}::ImageFormatConverterNode",
             {"encoding_desired": "rgb8", "image_width": width, "image_height": height},
             {"image_raw": "resize/image", "image": "rgb/image"}),
        node("isaac_ros_tensor_proc", f"{TENSORS}::ImageToTensorNode",
             {"scale": False, "tensor_name": "image", **POOL},
             {"image": "rgb/image", "tensor": "interleaved_tensor"}),
        node("isaac_ros_tensor_proc", f"{TENSORS}::InterleavedToPlanarNode",
             {"input_tensor_shape": [height, width, 3], "output_tensor_name": "image", **POOL},
             {}),
        node("isaac_ros_tensor_proc", f"{TENSORS}::ReshapeNode",
             {"input_tensor_layout": "CHW", "input_tensor_shape": [3, height, width],
              "output_tensor_layout": "NCHW", "output_tensor_shape": [1, 3, height, width],
              "output_tensor_name": "image", **POOL},
             {"tensor": "planar_tensor", "reshaped_tensor": "tensor_pub"}),
        node("isaac_ros_triton", f"{TENSORS}::TritonNode",
             {"model_name": name or manifest["network"], "model_repository_paths": [repository],
              "max_batch_size": 0,
              "input_tensor_names": ["image"], "input_binding_names": ["image"],
              "input_tensor_formats": ["nitros_tensor_list_nchw_rgb_f32"],
              "output_tensor_names": ["labels"], "output_binding_names": ["labels"],
              "output_tensor_formats": ["nitros_tensor_list_nhwc_rgb_f32"]}, {}),
        node("isaac_ros_unet", "nvidia::isaac_ros::unet::UNetDecoderNode",
             {"network_output_type": "argmax", "color_segmentation_mask_encoding": "rgb8",
              "mask_width": mask_width, "mask_height": mask_height, "color_palette": palette}, {}),
    ]  # fmt: skip
    return [
        ComposableNodeContainer(
            name="artoolkit_isaac", namespace="", package="rclcpp_components",
            executable="component_container_mt", composable_node_descriptions=chain,
            output="screen",
        )
    ]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    arguments = {
        "bundle": {"description": "Folder of the bundle."},
        "model_repository": {"description": "Folder that artoolkit export --format triton wrote."},
        "model_name": {"default_value": "", "description": "Empty: the bundle's network."},
        "image": {"default_value": "image", "description": "Topic of the camera."},
        "camera_info": {"default_value": "camera_info", "description": "Topic of its calibration."},
    }
    declared = [DeclareLaunchArgument(name, **given) for name, given in arguments.items()]
    return LaunchDescription([*declared, OpaqueFunction(function=nodes)])
