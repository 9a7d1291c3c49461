"""Every notebook runs from top to bottom, with a server that answers in the right form, and the embedded embedder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from personaagent.lms.models import MODELS, MODELS_VARIABLE

from ..loopback import loopback

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def test_they_are_numbered_in_the_order_of_reading() -> None:
    assert [int(path.name[:2]) for path in NOTEBOOKS] == list(range(1, len(NOTEBOOKS) + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not [cell for cell in notebook.cells if cell.get("outputs")]


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    if not MODELS["minilm"].is_on_disk:
        pytest.skip("run `personaagent models fetch minilm` first")
    with loopback() as server:
        printed = _printed_by(Path(shutil.copy(path, tmp_path)), server.url)
        assert len(server.received) >= 3
    assert "nothing" in printed.splitlines()[-1] or "MLflow page" in printed.splitlines()[-1]


def _printed_by(notebook: Path, api_base: str) -> str:
    """Run a notebook in place and return what it printed, in a process of its own that takes its sockets with it."""
    chosen = {"PERSONAAGENT_LM": "openai/made-up", "PERSONAAGENT_API_BASE": api_base, "TMPDIR": str(notebook.parent)}
    ours = {name for name in os.environ if name.startswith("PERSONAAGENT_")} - {MODELS_VARIABLE}
    environment = {name: value for name, value in os.environ.items() if name not in ours} | chosen
    execute = "from nbclient.cli import main; main()"
    command = [sys.executable, "-c", execute, "--inplace", "--timeout=120", str(notebook)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cells = nbformat.read(notebook, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))
