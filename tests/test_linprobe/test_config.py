import tomllib
from pathlib import Path
from typing import get_args

import pytest

from extract.engines import DEVICES, ENGINES
from linprobe.job.config import DatasetConfig, ExtractorConfig, GateConfig, JobConfig, ProbeConfig, ReportConfig
from linprobe.job.errors import ConfigError
from probe import HEADS, default_options
from store.extractor_names import MAX_VIEWS


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "job.toml"
        path.write_text(text)
        return path

    return write


def test_a_full_configuration_is_read(write):
    config = JobConfig.from_toml(
        write(
            """
            store = "s"
            [[datasets]]
            name = "d"
            source = "folder:/data"
            train = "all[:80%]"
            test = "all[80%:]"
            max_bad = "1%"
            [[extractors]]
            name = "savedmodel:/m"
            size = 128
            range = "-1..1"
            dim = 64
            output = "features"
            engine = "tensorflow"
            [[probes]]
            head = "dense"
            epochs = 12
            seeds = 3
            [report]
            out = "r"
            [gate]
            max_drop = 0.01
            baselines = ["abc"]
            """
        )
    )
    assert str(config.store) == "s"
    assert (config.datasets[0].name, config.datasets[0].max_bad) == ("d", "1%")
    extractor = config.extractors[0]
    assert (extractor.size, extractor.value_range, extractor.dim, extractor.output) == (128, "-1..1", 64, "features")
    assert (config.probes[0].head, config.probes[0].seeds, config.probes[0].options) == ("dense", 3, {"epochs": 12})
    assert str(config.report.out) == "r"
    assert config.gate.max_drop == 0.01


def test_a_dataset_without_a_name_is_called_after_its_source(write):
    config = JobConfig.from_toml(write('[[datasets]]\nsource = "bundled:digits"\n'))
    assert config.datasets[0].name == "bundled:digits"
    assert config.datasets[0].max_bad == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "stor = 's'",
            r"job\.toml: stor: no such key; did you mean 'store'\? known: store, workers, require_lock, datasets",
        ),
        (
            "[[datasets]]\nsource = 's'\ntrian = 'all'",
            r"datasets\.1\.trian: no such key; did you mean 'train'\? known: name, source",
        ),
        ("[[datasets]]\nname = 'd'", r"datasets\.1\.source: this key is missing"),
        ("[[extractors]]\nname = 'e'\nrnge = '0..1'", r"extractors\.1\.rnge: no such key; did you mean 'range'\?"),
        ("[[extractors]]\nname = 'e'\nsize = 0", r"extractors\.1\.size: 1 or more expected, got 0"),
        ("[gate]\nmax_drop = 2\nbaselines = ['x']", r"gate\.max_drop: at most 1 expected, got 2"),
        ("store = ", r"job\.toml: not TOML: "),
        ("store = 5", r"toml: store: a path expected, got 5\."),
        ("datasets = 'digits'", r"toml: datasets: a list expected, got \"digits\"\."),
        ("datasets = ['digits']", r"toml: datasets\.1: a table expected, got \"digits\"\."),
        ("[datasets]\nsource = 'digits'", r"toml: datasets: a list expected, got a table\."),
        (
            "[[datasets]]\nsource = 's'\nmax_bad = true",
            r"datasets\.1\.max_bad: a whole number or a text expected, got true\.",
        ),
        (
            "[[datasets]]\nsource = 's'\ntrain = ''",
            r"datasets\.1\.train: a text that is not empty expected, got \"\"\.",
        ),
        ("[[datasets]]\nsource = 's'\nsplits = 'train'", r"datasets\.1\.splits: a list expected, got \"train\"\."),
        ("[[datasets]]\nsource = 's'\nsplits = ['train', 1]", r"datasets\.1\.splits\.2: a text expected, got 1\."),
        ("[[extractors]]\nname = 'e'\nsize = '224'", r"extractors\.1\.size: a whole number expected, got \"224\"\."),
        (
            "[[extractors]]\nname = 'e'\nengine = 'tensorflw'",
            r"extractors\.1\.engine: 'auto', 'tensorflow' or 'openvino' expected, got \"tensorflw\"\.",
        ),
        ("[[probes]]\nhead = 'dense'\nseeds = 0", r"probes\.1\.seeds: 1 or more expected, got 0\."),
        (
            "[[probes]]\nhead = 'dense'\nshots = 'some'",
            r"probes\.1\.shots\.1: a whole number or 'all' expected, got \"some\"\.",
        ),
        ("workers = 'one'", r"workers: a whole number or 'auto' expected, got \"one\"\."),
        ("[gate]\nmax_drop = 0.1\nbaselines = []", r"gate\.baselines: at least 1 in the list expected, got \[\]\."),
        (
            "[[datasets]]\nname = 'd'\nsource = 'a'\n[[datasets]]\nname = 'd'\nsource = 'b'",
            r"job\.toml: the dataset 'd' is duplicated",
        ),
        (
            "[[extractors]]\nname = 'e'\n[[extractors]]\nname = 'e'",
            r"job\.toml: the extractor 'e' is duplicated",
        ),
    ],
)
def test_a_mistake_is_named_with_file_key_and_what_was_expected(write, text, message):
    with pytest.raises(ConfigError, match=message):
        JobConfig.from_toml(write(text))


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match=r"nope\.toml: no such configuration file; 'linprobe config init"):
        JobConfig.from_toml(tmp_path / "nope.toml")


def test_an_extractors_preset_and_single_fields_are_read(write):
    table = """
        [[extractors]]
        name = "inception_v3"
        preset = "published"
        resize = "bicubic"
        antialias = true
        crop = "shorter:320"
        pixels = "uint8"
        precision = "bfloat16"
        device = "gpu"
    """
    (found,) = JobConfig.from_toml(write(table)).extractors
    assert (found.preset, found.resize, found.antialias, found.crop) == ("published", "bicubic", True, "shorter:320")
    assert (found.pixels, found.precision, found.device) == ("uint8", "bfloat16", "gpu")


def test_antialias_is_true_or_false(write):
    with pytest.raises(ConfigError, match=r"extractors\.1\.antialias: true or false expected, got \"yes\""):
        JobConfig.from_toml(write('[[extractors]]\nname = "pixels"\nantialias = "yes"\n'))


def test_choices_of_the_file_are_those_of_the_engines():
    annotations = {name: ExtractorConfig.model_fields[name].annotation for name in ("engine", "device")}
    assert (get_args(annotations["engine"]), get_args(annotations["device"])) == (ENGINES, DEVICES)


def test_an_example_shows_every_key_and_every_option_of_every_head():
    path = Path(__file__).parents[2] / "examples" / "every_key.toml"
    shown = tomllib.loads(path.read_text())
    assert set(shown) == set(JobConfig.model_fields)
    for name, table in (("datasets", DatasetConfig), ("extractors", ExtractorConfig)):
        keys = {field.alias or name for name, field in table.model_fields.items()}
        assert set().union(*shown[name]) == keys
    assert set(shown["report"]) == set(ReportConfig.model_fields)
    assert set(shown["gate"]) == set(GateConfig.model_fields)
    config = JobConfig.from_toml(path)
    assert {probe.head for probe in config.probes} == set(HEADS)
    for probe in config.probes:
        assert set(probe.options) == set(default_options(probe.head))
    assert set(ProbeConfig.model_fields) <= set().union(*shown["probes"])


@pytest.mark.parametrize("views", [MAX_VIEWS, MAX_VIEWS + 1])
def test_a_file_takes_as_many_views_as_an_extraction_does(views):
    values = {"extractors": [{"name": "pixels", "views": views}]}
    if views <= MAX_VIEWS:
        assert JobConfig.from_mapping(values, where="here").extractors[0].views == views
    else:
        with pytest.raises(ConfigError, match="views"):
            JobConfig.from_mapping(values, where="here")
