"""`artoolkit data`: what is printed, and the exit codes."""

import sys

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from artoolkit.cli import main
from artoolkit.data import prepare_nyuv2
from artoolkit.data.prepare_nyuv2 import Standard
from artoolkit.errors import DataError, UsageError

SMALL = ("--train", "3", "--val", "2", "--imgsz", "32", "64", "--workers", "1")


def run(*arguments):
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


@pytest.fixture
def root(tmp_path):
    result = run("synthesize", tmp_path / "set", *SMALL)
    assert result.exit_code == 0, result.output
    return tmp_path / "set"


def test_synthesize_says_what_it_wrote_and_how_to_use_it(tmp_path):
    result = run("synthesize", tmp_path / "set", *SMALL, "--seed", 4)
    assert result.exit_code == 0
    assert "3 training and 2 validation images of height 32, width 64" in result.stdout
    assert "--dataset cityscapes --data-root" in result.stdout
    assert len(list((tmp_path / "set").rglob("*_leftImg8bit.png"))) == 5


def test_synthesize_over_another_set_is_wrong_usage(root):
    result = run("synthesize", root, *SMALL, "--seed", 5)
    assert result.exit_code == UsageError.exit_code
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "holds another data set already" in result.stderr


def test_check_counts_and_ends_well(root):
    result = run("check", root, "--dataset", "cityscapes")
    assert result.exit_code == 0, result.output
    for part in ("train", "val", "32 x 64: 3", "road", "bicycle", "void"):
        assert part in result.stdout


def test_check_names_the_damage_and_ends_with_the_data_error_code(root):
    image = next((root / "leftImg8bit" / "val").rglob("*.png"))
    image.write_bytes(image.read_bytes()[:200])
    result = run("check", root, "--dataset", "cityscapes", "--split", "val")
    assert result.exit_code == DataError.exit_code
    assert f"val: image {image} cannot be read" in result.stdout
    assert "error: 1 problem(s) in cityscapes at" in result.stderr
    assert "32 x 64: 3" not in result.stdout
    assert run("check", root, "--dataset", "cityscapes", "--split", "train").exit_code == 0


def test_warnings_have_a_section_and_are_errors_only_where_it_is_asked_for(root):
    result = run("check", root, "--dataset", "cityscapes")
    assert "\nWarnings\n" in result.stdout
    assert "val: " in result.stdout.partition("\nWarnings\n")[2]
    assert "No problem, " in result.stdout
    result = run("check", root, "--dataset", "cityscapes", "--strict")
    assert result.exit_code == DataError.exit_code
    assert "warning(s) in cityscapes at" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("check", "gone", "--dataset", "camvid"), DataError.exit_code, "no data set at gone"),
        (("check", ".", "--dataset", "kitti"), UsageError.exit_code, "unknown data set"),
        (("check", "."), 2, "Missing option '--dataset'"),
        (("prepare-nyuv2", "gone.mat", "out"), DataError.exit_code, "no file at gone.mat"),
    ],
)
def test_wrong_inputs_end_with_their_code_and_one_line(
    arguments, code, text, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code
    assert text in result.stderr
    assert "Traceback" not in result.output


def test_prepare_nyuv2_counts_what_it_unpacked(tmp_path, monkeypatch):
    layout = Standard(np.array([0, 1], np.uint8), {}, {"train": (1,), "val": (2,)})
    monkeypatch.setattr(prepare_nyuv2, "standard", lambda: layout)
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["images"] = np.zeros((2, 3, 8, 6), np.uint8)
        file["labels"] = np.ones((2, 8, 6), np.uint16)
        file.create_dataset("names", shape=(1, 0), dtype=h5py.ref_dtype)
    result = run("prepare-nyuv2", tmp_path / "a.mat", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "1 training and 1 validation images" in result.stdout
    assert run("check", tmp_path / "out", "--dataset", "nyuv2").exit_code == 0


def test_help_imports_nothing_heavy():
    import subprocess

    code = (
        "import sys; from artoolkit.cli import main; from click.testing import CliRunner;"
        "r = CliRunner().invoke(main, ['data', '--help']);"
        "assert r.exit_code == 0 and 'synthesize' in r.output, r.output;"
        "print([m for m in ('numpy', 'PIL', 'pydantic', 'torch', 'h5py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
