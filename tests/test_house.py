"""The house: which way imports run, what is public, what the documents say."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "store": set(),
    "extract": {"store"},
    "probe": {"store"},
    "reports": {"store"},
    "linprobe": {"store", "extract", "probe", "reports"},
}
HEAVY = {"tensorflow", "keras", "tf_keras", "tensorflow_hub", "tensorflow_datasets", "openvino", "ray"}


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only: they show where they lead"
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way_lazy_ones_included(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        forbidden = set(imported(ast.parse(path.read_text()))) & (set(MAY_IMPORT) - MAY_IMPORT[package] - {package})
        assert not forbidden, f"{path.relative_to(ROOT)} imports {forbidden}"


# Of the service: the job is the ground, on which models are opened, executors run them, commands do the work, and the command
# line and the Python API call the commands.
ROOMS = {
    "job": set(),
    "models": {"job"},
    "executors": {"job", "models"},
    "commands": {"job", "models", "executors"},
    "api": {"job", "models", "commands"},
    "cli": {"job", "commands"},
}


def test_the_rooms_of_the_service_import_one_way():
    assert {path.name for path in (ROOT / "linprobe").iterdir() if path.is_dir()} - {"__pycache__"} == set(ROOMS)
    for room, may_import in ROOMS.items():
        for path in (ROOT / "linprobe" / room).glob("*.py"):
            names = [
                node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
            ]
            entered = {name.split(".")[1] for name in names if name.startswith("linprobe.")} - {room}
            assert entered <= may_import, f"{path.relative_to(ROOT)} imports {entered - may_import}"


def modules_of(package):
    for path in sorted((ROOT / package).rglob("*.py")):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def imports_of(path, modules):
    """Modules of its own package that a module imports, lazily too; what only types need is no import."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in for_types:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield from {inner if inner in modules else node.module} & modules


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_early_stage_of_a_package_imports_a_later_one(package):
    modules = dict(modules_of(package))
    left = {name: set(imports_of(path, set(modules))) - {name, package} for name, path in modules.items()}
    while left:
        ground = {name for name, needed in left.items() if not needed & set(left)}
        assert ground, f"these import each other: {sorted(left)}"
        left = {name: needed for name, needed in left.items() if name not in ground}


@pytest.mark.heavy
@pytest.mark.parametrize("module", ["store", "reports", "linprobe.cli", "linprobe.job.config", "extract", "probe"])
def test_importing_loads_no_framework(module):
    code = f"import {module}, sys; print(sorted(set(sys.modules) & {HEAVY!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_help_loads_neither_framework_nor_pandas_nor_scikit_learn():
    code = (
        "import sys; from linprobe.cli import main; main(['--help']); "
        f"print(sorted(set(sys.modules) & {HEAVY | {'pandas', 'sklearn', 'scipy', 'matplotlib', 'rich'}!r}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.splitlines()[-1] == "[]"


PUBLIC = {
    "store": {
        "EXPORT_FORMATS", "IMPORTED", "LEDGER_COLUMNS", "OPTIONAL_LEDGER_COLUMNS", "DamagedStore", "FeatureSet", "FeatureSetNotFound", "FeatureStore", "Features",
        "Garbage", "GarbageCollection", "GarbageRule", "ImportedFeatures", "InvalidFeatures", "InvalidMoment", "Pool", "PoolKey", "Problem", "ProbeResult", "Provenance",
        "RowsUnavailable", "RunNotFound", "RunRecord", "SetKey", "StoreBusy", "StoreError", "StoreFormatError", "StoreNotFound",
        "Verification", "collect_garbage", "export_set", "import_features", "keep_canary", "read_canary", "read_features", "rows_digest", "verify_store",
    },
    "extract": {
        "AS_IT_IS", "LENIENT", "Reading", "DEVICES", "ENGINES", "PRECISIONS", "PRESETS", "RESIZE_METHODS", "VALUE_RANGES", "WHOLE", "BadData", "Budget",
        "CanaryDrift", "Computed", "DatasetSource", "Declared", "Engine", "EngineUnavailable", "Example",
        "ExtractError", "Extraction", "Extractor", "InvalidSetting", "LostSplit", "ModelCaches", "ModelMismatch",
        "ModelUnavailable", "OutOfMemory", "ParameterCounts", "Plan", "Preprocessing", "Progress", "Share",
        "SourceCaches", "SourceUnavailable", "TimeSpent", "UnknownName", "UntrustedModel", "combine", "compute", "end_lost_splits",
        "extractor_names", "find_lost_splits", "has_missing_rows", "open_engine",
        "open_extractor", "open_source", "plan", "publish", "NOTHING", "RunContext", "SplitJob",
        "DataShrank", "SizeChange", "require_no_lost_split",
    },
    "probe": {
        "HEADS", "PROTOCOL_VERSION", "Comparison", "Difference", "FeatureError", "HeadNotFound", "LabelError",
        "NotComparable", "OptionError", "ProbeError", "ProbeRequest", "SoftmaxPathCV", "SplitError", "Splits", "Verdict",
        "ViewMissing",
        "compare_runs", "default_options", "find_disagreements", "judge_runs", "predict_proba", "question_of", "resolve", "restore_head", "run_id", "run_probe", "select_parts",
    },
    "reports": {
        "DuplicateRun", "InvalidRun", "NotAReport", "NothingToReport", "ImageLookup", "ReportError", "grid_examples",
        "leaderboard", "summary_lines", "to_csv", "to_json", "to_markdown", "write_site",
    },
}  # fmt: skip


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_are_these_and_no_others(package):
    module = __import__(package)
    assert set(module.__all__) == PUBLIC[package]
    assert all(hasattr(module, name) for name in module.__all__)


def commands():
    code = (
        "import typer; from linprobe.cli import app; c = typer.main.get_command(app); "
        "[print(n if not hasattr(s, 'commands') else '\\n'.join(f'{n} {k}' for k in s.commands)) "
        "for n, s in c.commands.items()]"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return found.stdout.split("\n")[:-1]


def test_every_command_is_in_the_documents():
    text = "\n".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    names = commands()
    assert {"extract", "probe", "report", "nightly", "schedule", "doctor", "store ls", "store show"} <= set(names)
    for name in names:
        assert f"linprobe {name}" in text, name


def test_every_command_in_the_documents_exists():
    text = "\n".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    named = set(re.findall(r"\blinprobe ((?:store |config )?[a-z]+)\b", re.sub(r"linprobe-\w+", "", text)))
    prose = {name for name in named if f"`linprobe {name}" in text or f"\nlinprobe {name}" in text}
    assert prose - set(commands()) - {"store", "config"} == set()


def test_the_documents_tables_are_those_of_the_declarations():
    from extract.sources.schemes import source_forms
    from probe import HEADS, default_options
    from store.metrics import METRICS

    protocol = (ROOT / "docs" / "protocol.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \| `", protocol.partition("## Heads and options")[2], re.MULTILINE))
    assert set(HEADS) <= set(rows)
    for head in HEADS:
        named = re.findall(r"`(\w+)` ?(?:\(|,|$)", re.sub(r"\([^)]*\)", "(", rows[head]))
        assert set(named) == set(default_options(head)), head
    reported = protocol.partition("## What is reported")[2].partition("## Comparison")[0].lower()
    for metric in METRICS.values():
        assert metric.heading.lower() in reported or f"`{metric.name}`" in protocol, metric.name
    readme = (ROOT / "README.md").read_text()
    assert all(form.partition(":")[0] + ":" in readme for form in source_forms())


def test_every_example_is_a_valid_configuration():
    from linprobe.job.config import JobConfig

    examples = sorted((ROOT / "examples").glob("*.toml"))
    assert {path.name for path in examples} >= {
        "demo.toml", "fashion_mnist.toml", "cats_vs_dogs.toml", "tf_flowers.toml"
    }  # fmt: skip
    for path in examples:
        config = JobConfig.from_toml(path)
        assert config.datasets
        assert config.extractors
        assert config.probes


def test_the_lock_names_no_registry_and_pins_every_package_by_hash():
    for name in ("requirements.lock", "requirements-nodeps.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        pins = re.findall(r"^[A-Za-z0-9_.\[\]-]+==", text, re.MULTILINE)
        assert pins
        assert text.count("--hash=sha256:") >= len(pins)
