import pytest

from linprobe.job.errors import ConfigError
from linprobe.job.plan import Selection, select


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text(
        """
        [[datasets]]
        name = "digits"
        source = "bundled:digits"
        [[datasets]]
        name = "flowers"
        source = "folder:/flowers"
        [[extractors]]
        name = "pixels"
        [[extractors]]
        name = "mobilenet_v2"
        [[probes]]
        head = "dense"
        epochs = 2
        """
    )
    return path


def test_without_a_file_flags_are_the_job():
    found = select(Selection(datasets=["bundled:digits"], extractors=["pixels"]), needs_probes=True)
    assert [d.source for d in found.datasets] == ["bundled:digits"]
    assert [e.name for e in found.extractors] == ["pixels"]
    assert [p.head for p in found.probes] == ["logistic"]


def test_without_an_extractor_the_one_that_needs_no_network_is_taken():
    assert [e.name for e in select(Selection(datasets=["bundled:digits"])).extractors] == ["efficientnet_lite0"]


def test_with_a_file_flags_narrow_it(job):
    found = select(
        Selection(config=job, datasets=["flowers"], extractors=["pixels"], heads=["dense"]), needs_probes=True
    )
    assert [d.source for d in found.datasets] == ["folder:/flowers"]
    assert [e.name for e in found.extractors] == ["pixels"]
    assert found.probes[0].options == {"epochs": 2}


def test_a_head_that_the_file_lacks_is_added_with_its_defaults(job):
    found = select(Selection(config=job, heads=["logistic"]), needs_probes=True)
    assert [(p.head, p.options) for p in found.probes] == [("logistic", {})]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(extractors=["pixels"]), "no dataset; name one with --dataset"),
    ],
)
def test_a_job_without_dataset_is_refused(selection, message):
    with pytest.raises(ConfigError, match=message):
        select(selection)


def test_a_flag_that_names_nothing_in_the_file_is_refused_with_the_nearest(job):
    with pytest.raises(ConfigError, match=r"has no dataset 'flower'; did you mean 'flowers'\? known: digits, flowers"):
        select(Selection(config=job, datasets=["flower"]))


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ('head = "rigde"', r"job.toml: probes.1: head 'rigde': did you mean 'ridge'"),
        ('head = "logistic"\nscaling = "zscroe"', r"job.toml: probes.1: .*zscroe"),
        ('head = "logistic"\nepochs = 3', r"job.toml: probes.1: .*epochs"),
    ],
)
def test_a_head_or_an_option_that_is_none_is_found_before_a_night(tmp_path, probe, message):
    job = tmp_path / "job.toml"
    job.write_text(f'[[datasets]]\nsource = "bundled:digits"\n[[probes]]\n{probe}\n')
    with pytest.raises(ConfigError, match=message):
        select(Selection(config=job))
