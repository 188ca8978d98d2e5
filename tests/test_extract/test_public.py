"""What other packages may lean on."""

import subprocess
import sys
from pathlib import Path

import pytest

import extract
from extract import UnknownName

PUBLIC = {
    "DEVICES", "ENGINES", "PRECISIONS", "PRESETS", "RESIZE_METHODS", "VALUE_RANGES", "BadData", "Budget", "DatasetSource", "Declared", "Engine", "EngineUnavailable",
    "Example", "ExtractError", "Extraction", "Extractor", "InvalidSetting", "ModelCaches", "ModelMismatch", "ModelUnavailable", "OutOfMemory",
    "ParameterCounts", "Plan", "Preprocessing", "Progress", "RunContext", "SourceUnavailable", "SplitJob", "UnknownName", "compute",
    "extractor_names", "open_engine", "open_extractor", "open_source", "plan", "publish",
}  # fmt: skip


def test_public_names_are_pinned():
    assert set(extract.__all__) >= PUBLIC
    assert all(hasattr(extract, name) for name in extract.__all__)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        ("BadData", ValueError), ("EngineUnavailable", RuntimeError), ("ModelMismatch", ValueError),
        ("InvalidSetting", ValueError), ("OutOfMemory", MemoryError),
        ("ModelUnavailable", OSError), ("SourceUnavailable", OSError), ("UnknownName", LookupError),
    ],
)  # fmt: skip
def test_every_error_has_the_packages_base_and_a_builtin(error, builtin):
    assert issubclass(getattr(extract, error), extract.ExtractError)
    assert issubclass(getattr(extract, error), builtin)


def test_an_unknown_name_suggests_the_nearest_and_lists_the_rest():
    assert str(UnknownName("fruit", "aple", ["pear", "apple"])) == (
        "aple: no such fruit; did you mean 'apple'? known: pear, apple."
    )
    assert str(UnknownName("fruit", "xyz", ["pear"])) == "xyz: no such fruit; known: pear."
    assert str(UnknownName("fruit", "xyz", [])) == "xyz: no such fruit; known: none."


def test_a_long_list_is_cut_and_counted():
    known = [f"name {at}" for at in range(100)]
    text = str(UnknownName("thing", "xyz", known))
    assert text.endswith("name 23 and 76 more.")


def test_importing_extract_imports_no_framework():
    script = (
        "import sys, extract\n"
        "print([name for name in ('tensorflow', 'keras', 'openvino', 'tensorflow_datasets', 'sklearn') "
        "if name in sys.modules])"
    )
    root = Path(extract.__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=False)
    assert (found.stdout, found.stderr) == ("[]\n", "")
