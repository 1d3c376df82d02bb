"""A ROS 2 node that labels camera images with a bundle of artoolkit: see `node.py`."""
