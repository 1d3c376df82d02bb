"""ros2 launch artoolkit_segmenter segmenter.launch.py bundle:=BUNDLE image:=/camera/image_raw"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

PACKAGE = "artoolkit_segmenter"


def generate_launch_description() -> LaunchDescription:
    config = Path(get_package_share_directory(PACKAGE)) / "config" / "segmenter.yaml"
    arguments = [
        DeclareLaunchArgument("bundle", description="Folder of the bundle."),
        DeclareLaunchArgument("image", default_value="image", description="Topic of the camera."),
        DeclareLaunchArgument("labels", default_value="labels", description="Topic of the labels."),
        DeclareLaunchArgument("parameters", default_value=str(config), description="YAML file."),
    ]
    node = Node(
        package=PACKAGE,
        executable="segmenter",
        name=PACKAGE,
        parameters=[LaunchConfiguration("parameters"), {"bundle": LaunchConfiguration("bundle")}],
        remappings=[(name, LaunchConfiguration(name)) for name in ("image", "labels")],
        output="screen",
    )
    return LaunchDescription([*arguments, node])
