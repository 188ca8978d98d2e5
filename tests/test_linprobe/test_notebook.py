"""`examples/analysis.ipynb`, run by a real kernel."""

import os
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

from store import FeatureStore

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_example_notebook_runs_and_shows_what_it_promises(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(ROOT / "examples" / "analysis.ipynb", as_version=4)
    # Kept without output: what it shows is seen when it runs.
    assert not any(cell.get("outputs") for cell in notebook.cells)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in shown if output["output_type"] == "error"]
    html = "".join(output.get("data", {}).get("text/html", "") for output in shown)
    text = "".join(output.get("data", {}).get("text/plain", "") + output.get("text", "") for output in shown)
    assert "Features of digits by pixels" in html
    assert "accuracy           A - B" in html
    assert any("image/png" in output.get("data", {}) for output in shown)
    results = FeatureStore(tmp_path / "linprobe-store").results()
    (logistic,) = results.loc[results["head"] == "logistic", "accuracy"]
    found = re.search(r"SVM ([\d.]+)%, logistic ([\d.]+)% on 360 test images", text)
    assert found, text
    assert float(found[1]) > 90
    assert found[2] == f"{100 * logistic:.1f}"
    assert (tmp_path / "linprobe-report" / "index.html").is_file()
