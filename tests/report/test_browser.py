"""The page in a real browser, wide and on a phone: no error, no request, nothing cut off."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--enable-logging=stderr",
)  # fmt: skip
# Any address but the machine's own fails at once, so that a request would be an error.
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"
# A window of 390 pixels is less than a browser makes, so that the page is shown in a frame of it.
FRAME = """<!DOCTYPE html><body style="margin:0">
<iframe id="page" src="report.html" style="width:{width}px;height:3000px;border:0"></iframe>
<script>
document.getElementById("page").onload = event => {{
  const inside = event.target.contentDocument.documentElement;
  const wide = [...inside.querySelectorAll("main *")].filter(one => {{
    const box = one.getBoundingClientRect();
    return box.right > {width} + 1 && !one.closest(".scroll, pre, .checks thead");
  }});
  console.log("MEASURED", inside.scrollWidth, wide.length, wide.slice(0, 3).map(one =>
    one.outerHTML.slice(0, 80)).join(" | "));
}};
</script>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]


def browse(folder: Path, page: str, *arguments: str) -> str:
    """What the browser logs when it opens `page` in `folder`."""
    command = [
        str(CHROMIUM), *QUIET, OFFLINE, f"--user-data-dir={folder / 'profile'}",
        "--allow-file-access-from-files", "--virtual-time-budget=5000", *arguments,
        (folder / page).as_uri(),
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return run.stderr


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(html: str, tmp_path: Path, width: int) -> None:
    (tmp_path / "report.html").write_text(html)
    (tmp_path / "frame.html").write_text(FRAME.format(width=width))
    shot = tmp_path / "shot.png"
    log = browse(tmp_path, "frame.html", "--window-size=1400,3000", f"--screenshot={shot}")
    (measured,) = re.findall(r"MEASURED (\d+) (\d+) (.*?)\"", log)
    assert (int(measured[0]), int(measured[1])) == (width, 0), measured
    assert shot.stat().st_size > 20_000


def test_no_error_and_no_request(html: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(html)
    net = tmp_path / "net.json"
    log = browse(tmp_path, "report.html", f"--log-net-log={net}", "--window-size=1280,2000",
                 f"--screenshot={tmp_path / 'shot.png'}")  # fmt: skip
    assert "CONSOLE" not in log
    asked = set(re.findall(r'"url":"((?:https?|wss?|ftp)://[^"]+)"', net.read_text()))
    # What the browser asks for on its own account is not the page's.
    assert not {url for url in asked if "google" not in url and "gvt1" not in url}


def test_the_measurement_finds_what_is_too_wide(tmp_path: Path) -> None:
    wide = "<main><p style='width:500px'>wide</p><div class='scroll'><b>inside</b></div></main>"
    (tmp_path / "report.html").write_text(f"<!DOCTYPE html><body>{wide}</body>")
    (tmp_path / "frame.html").write_text(FRAME.format(width=390))
    log = browse(tmp_path, "frame.html", f"--screenshot={tmp_path / 'shot.png'}")
    ((scrolled, count),) = re.findall(r"MEASURED (\d+) (\d+)", log)
    assert int(scrolled) > 390
    assert int(count) == 1


AXE = """<script>{axe}</script><script>
window.onload = () => axe.run().then(found => console.log("AXE", JSON.stringify(
  found.violations.map(one => [one.id, one.nodes.length, one.nodes[0].html.slice(0, 80)]))));
</script></body>"""


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(html: str, tmp_path: Path, width: int, scheme: str) -> None:
    axe = Path(pytest.importorskip("axe_core_python").__file__).with_name("axe.min.js")
    # The page forbids scripts, and only this copy of it has one.
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    script = AXE.format(axe=axe.read_text())
    (tmp_path / "report.html").write_text(open_page.replace("</body>", script))
    color = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    log = browse(tmp_path, "report.html", f"--window-size={width},2000", color, "--dump-dom")
    (found,) = re.findall(r'AXE (.*?)", source', log)
    assert found == "[]"


def test_it_prints_to_six_pages_of_a4(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "docs" / "example-report.html"
    (tmp_path / "report.html").write_bytes(example.read_bytes())
    printed = tmp_path / "report.pdf"
    browse(tmp_path, "report.html", "--no-pdf-header-footer", f"--print-to-pdf={printed}")
    assert len(re.findall(rb"/Type\s*/Page[^s]", printed.read_bytes())) <= 6
