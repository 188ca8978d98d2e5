import errno

import pytest

from extract import BadData, EngineUnavailable, ModelMismatch, ModelUnavailable, SourceUnavailable, UnknownName
from linprobe.job.errors import ConfigError, ExitCode, GateFailed, exit_code, worst
from probe import HeadNotFound, LabelError, OptionError, SplitError
from reports import NotAReport, NothingToReport
from store import (
    DamagedStore,
    FeatureSetNotFound,
    RunNotFound,
    StoreBusy,
    StoreFormatError,
    StoreNotFound,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError(), 2),
        (UnknownName("extractor", "x", []), 2),
        (HeadNotFound(), 2),
        (OptionError(), 2),
        (RunNotFound(), 2),
        (NotAReport(), 2),
        (GateFailed(), 3),
        (BadData(), 65),
        (ModelMismatch(), 65),
        (SplitError(), 65),
        (LabelError(), 65),
        (NothingToReport(), 69),
        (SourceUnavailable(), 69),
        (ModelUnavailable(), 69),
        (EngineUnavailable(), 69),
        (FeatureSetNotFound(), 69),
        (StoreNotFound(), 69),
        (ZeroDivisionError(), 70),
        (AssertionError(), 70),
        (DamagedStore(), 74),
        (StoreFormatError(), 74),
        (OSError(errno.ENOSPC, "full"), 74),
        (StoreBusy(), 75),
        (KeyboardInterrupt(), 75),
    ],
)
def test_each_error_has_the_exit_code_of_the_design(error, code):
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([3, 65], 65),
        ([65, 69], 69),
        ([69, 74, 3], 74),
        ([74, 75], 75),
        ([3], 3),
    ],
)
def test_a_night_ends_with_the_first_that_applies_of_75_74_69_65_3(codes, expected):
    assert worst([ExitCode(code) for code in codes]) == expected
