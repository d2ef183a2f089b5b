"""The voice studio as people meet it: JupyterLab in a browser, a sentence typed, a button pressed, and sound, no silence."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from rovolad_lib.lab.paths import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TEXT = "The birds are singing again."
PATIENCE = 240_000  # ms for the notebook, which makes a demo corpus first
ALL_RAN = "() => ![...document.querySelectorAll('.jp-InputPrompt')].some(prompt => prompt.innerText.includes('*'))"
# peak and seconds of what a player plays, decoded by the browser itself
SOUND = """async player => {
  const bytes = await (await fetch(player.querySelector('source')?.src ?? player.src)).arrayBuffer();
  const clip = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes);
  return [clip.getChannelData(0).reduce((most, x) => Math.max(most, Math.abs(x)), 0), clip.duration];
}"""

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and find_spec("playwright")), reason="no browser here: apt install chromium, pip install playwright"
)


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab that serves notebook 10 with a demo corpus of its own."""
    notebook = load_notebook_node(str(ROOT / "notebooks" / "10_listen.ipynb"))
    folders = {name: str(tmp_path / name) for name in ("data", "results")}
    nbformat.write(parameterize_notebook(notebook, {"preset": "smoke", **folders}), tmp_path / "studio.ipynb")
    overrides = tmp_path / "settings" / "overrides.json"  # all cells in the page, not only those in view
    overrides.parent.mkdir()
    overrides.write_text(json.dumps({"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--allow-root", "--ServerApp.token=t", f"--ServerApp.root_dir={tmp_path}", f"--port={port}"]
    options += ["--LabServerApp.app_settings_dir=" + str(overrides.parent), "--ServerApp.port_retries=0"]
    with open(tmp_path / "server.log", "wb") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], cwd=tmp_path, stdout=log, stderr=log)
        try:
            _answers(f"http://127.0.0.1:{port}/api", server, tmp_path / "server.log")
            yield f"http://127.0.0.1:{port}/lab/tree/studio.ipynb?token=t&reset"
        finally:
            server.terminate()
            server.wait()


def _answers(address, server, log, seconds=60):
    """Wait until a server answers; AssertionError with its log where it does not."""
    for _ in range(2 * seconds):
        try:
            return urllib.request.urlopen(address, timeout=5).close()
        except urllib.error.URLError:
            assert server.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.5)
    raise AssertionError(log.read_text(encoding="utf-8"))


def test_a_sentence_is_typed_and_heard(lab, tmp_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1300, "height": 1400})
        page.goto(lab)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        text = page.locator(".widget-textarea textarea")
        text.wait_for(timeout=PATIENCE)
        text.fill(TEXT)
        voices = page.locator(".widget-dropdown", has_text="voice").locator("select")
        chosen = voices.locator("option").all_inner_texts()[-1]
        voices.select_option(chosen)
        studio = page.locator(".jp-OutputArea-output", has=text)
        page.wait_for_function(ALL_RAN, timeout=PATIENCE)  # what is clicked before then waits for the cells below
        began = time.monotonic()
        studio.get_by_role("button", name="speak").click()
        players = studio.locator("audio")
        players.first.wait_for(timeout=60_000)
        waited = time.monotonic() - began
        players.nth(3 + 4 - 1).wait_for(timeout=60_000)  # robot, result, reference, and the sample at its four steps
        page.screenshot(path=tmp_path / "studio.png", full_page=True)
        peaks, seconds = zip(*(player.evaluate(SOUND) for player in players.element_handles()), strict=True)
        remark = studio.locator(".widget-html", has_text="s of speech in").inner_text()
        browser.close()
    print(f"{waited:.1f} s from click to player; {remark}")
    assert min(peaks) > 0.01, peaks
    assert seconds[1] == pytest.approx(float(remark.split()[0]), abs=0.1)
