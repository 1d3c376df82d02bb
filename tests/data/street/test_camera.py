"""The camera's planes against projecting their points one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artoolkit.data.street.camera import Camera, random_camera, upright_face

CAMERA = Camera((64, 128), focal=140.0, center_u=64.0, horizon_v=28.0, height_m=1.4, bend=0.0)


@given(st.integers(0, 1000))
def test_ground_pixels_project_back_to_themselves(seed):
    camera = random_camera(np.random.default_rng(seed), (64, 128))
    first, x, z = camera.ground()
    assert z.shape == (64 - first, 1)
    assert (np.diff(z[:, 0]) < 0).all()
    for row, column in ((0, 3), (10, 100), (len(z) - 1, 64)):
        depth = float(z[row, 0])
        if depth < 500:
            assert camera.v(0.0, depth) == pytest.approx(first + row + 0.5, abs=0.05)
            assert camera.u(float(x[row, column]), depth) == pytest.approx(column + 0.5, abs=0.05)


def test_a_face_has_its_own_coordinates_in_metres():
    face = upright_face(CAMERA, (-2.0, 10.0), (2.0, 10.0), 0.0, 2.0)
    assert face is not None
    assert face.distance_m == pytest.approx(10.0)
    # 4 m at 10 m and 140 pixels: 56 pixels wide, 28 high, ending on the ground
    assert face.inside.any(0).sum() == 56
    assert face.inside.any(1).sum() == 28
    assert face.left == 64 - 28
    assert face.along[0, 0] == pytest.approx(0.5 / 14, abs=1e-3)
    assert face.along[0, -1] == pytest.approx(4 - 0.5 / 14, abs=1e-3)
    assert np.allclose(np.diff(face.up[:, 0]), -10 / 140, atol=1e-5)


@given(
    st.floats(-6, 6), st.floats(2, 40), st.floats(-6, 6), st.floats(2, 40), st.floats(0.5, 6.0),
    st.floats(-1e-3, 1e-3),
)  # fmt: skip
def test_every_pixel_of_a_slanted_face_projects_to_where_it_is(x0, z0, x1, z1, height, bend):
    camera = Camera((64, 128), 140.0, 64.0, 28.0, 1.4, bend)
    face = upright_face(camera, (x0, z0), (x1, z1), 0.0, height)
    length = np.hypot(x1 + bend * z1**2 - x0 - bend * z0**2, z1 - z0)
    if face is None or length < 0.5:
        return
    rows, columns = np.nonzero(face.inside)
    for row, column in list(zip(rows, columns, strict=True))[:: max(1, len(rows) // 5)]:
        share = float(face.along[row, column]) / length
        if not 0.001 < share < 0.999:
            continue
        z = z0 + share * (z1 - z0)
        x = (x0 + bend * z0**2) * (1 - share) + (x1 + bend * z1**2) * share
        v = camera.v(float(face.up[row, column]), z)
        assert camera.center_u + 140.0 * x / z == pytest.approx(face.left + column + 0.5, abs=0.6)
        assert v == pytest.approx(face.top + row + 0.5, abs=0.1)


def test_what_lies_behind_or_beside_the_picture_is_no_face():
    assert upright_face(CAMERA, (0.0, -5.0), (0.0, 1.0), 0.0, 2.0) is None
    assert upright_face(CAMERA, (90.0, 10.0), (95.0, 10.0), 0.0, 2.0) is None
    assert upright_face(CAMERA, (-1.0, 10.0), (1.0, 10.0), 40.0, 42.0) is None


def test_a_wall_that_passes_the_camera_is_cut_in_front_of_it():
    face = upright_face(CAMERA, (3.0, -10.0), (3.0, 30.0), 0.0, 4.0)
    assert face is not None
    assert face.along.min() > 10  # what is behind the camera never shows
    assert face.left + face.along.shape[1] == 128
