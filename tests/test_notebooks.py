"""The notebooks: a notebook and its script are one text, nothing that was executed is stored, and every cell runs."""

import os
import re
import sys
from importlib.metadata import version
from pathlib import Path

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def test_every_script_is_a_notebook_and_the_other_way_round():
    assert [path.stem for path in NOTEBOOKS] == sorted(path.stem for path in FOLDER.glob("*.py"))
    assert {"derivation", "exploring_a_run", "quickstart", "your_own_images"} <= {path.stem for path in NOTEBOOKS}


@each
def test_a_notebook_and_its_script_are_in_step(path):
    """Where this fails: `jupytext --sync notebooks/*.py` brings the older one of each pair up to date."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert jupytext.writes(notebook, "py:percent") == path.with_suffix(".py").read_text()
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert not re.search(r"^ *# *[%!]", code, re.MULTILINE)  # a magic that a conversion has turned into a comment


@each
def test_nothing_that_was_executed_is_stored(path):
    notebook = nbformat.read(path, as_version=4)
    assert set(notebook.metadata) == {"jupytext", "kernelspec"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"lines_to_next_cell"}  # a blank line more before a function
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.parametrize("installed", [True, False])
def test_quickstart_installs_only_what_is_missing_and_keeps_jax(installed, tmp_path, monkeypatch):
    commands = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr("subprocess.run", lambda command, check: commands.append(command))
    cells = nbformat.read(FOLDER / "quickstart.ipynb", as_version=4).cells
    exec(next(cell.source for cell in cells if cell.cell_type == "code"), {})
    if installed:
        assert commands == [] and list(tmp_path.iterdir()) == []
    else:
        assert commands == [[sys.executable, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", ".."]]
        kept = (tmp_path / "constraints.txt").read_text().splitlines()
        assert {f"{name}=={version(name)}" for name in ("jax", "jaxlib", "numpy")} <= set(kept)


@pytest.mark.slow
@each
def test_every_cell_runs_on_small_settings(path, tmp_path, monkeypatch):
    """In a folder that holds no run; a cell that fails is shown with its traceback."""
    nbclient = pytest.importorskip("nbclient", reason="`make test-slow` installs what runs the notebooks")
    monkeypatch.setenv("DEPICT_NOTEBOOKS", "small")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # as in an activated environment
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": tmp_path / "notebooks"}}
    nbclient.NotebookClient(notebook, timeout=300, resources=place).execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
