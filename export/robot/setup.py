"""What colcon installs: the node, and where ROS 2 looks for the package's files."""

from pathlib import Path

from setuptools import setup

NAME = "artoolkit_segmenter"
SHARE = f"share/{NAME}"


def files(folder: str) -> list[str]:
    return [str(path) for path in sorted(Path(folder).iterdir()) if path.is_file()]


setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/launch", files("launch")),
        (f"{SHARE}/config", files("config")),
    ],
    zip_safe=True,
    description="Labels camera images with a bundle of artoolkit.",
    license="Apache-2.0",
    entry_points={"console_scripts": [f"segmenter = {NAME}.node:main"]},
)
