"""A painter of street scenes with labels: start at `scene.street_scene`."""
