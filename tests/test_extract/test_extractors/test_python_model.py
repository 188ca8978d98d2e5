"""`python:MODULE:FUNCTION`: models that come with a function of somebody's own."""

import contextlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from extract import (
    Declared,
    EngineUnavailable,
    InvalidSetting,
    ModelMismatch,
    ModelUnavailable,
    open_engine,
    open_extractor,
)
from extract.engines.engine import ParameterCounts

IMAGES = np.random.default_rng(0).uniform(0, 255, (70, 6, 6, 3)).astype(np.float32)
MODULE = '''
import hashlib, pathlib
import numpy as np

class Means:
    size = 6
    sha256 = "a" * 64

    def __call__(self, images):
        assert images.dtype == np.float32 and images.flags.c_contiguous
        return images.mean(axis=(1, 2))

class Torch(Means):
    value_range, dim = "torch", 3

class Caffe(Means):
    value_range = "caffe"

class Doubles(Means):
    def __call__(self, images):
        return images.mean(axis=(1, 2), dtype=np.float64)

class Maps(Means):
    def __call__(self, images):
        return images

class Breaks(Means):
    dim = 3
    def __call__(self, images):
        raise RuntimeError("no kernel image is available")

class Shrinks(Means):
    dim = 3
    def __call__(self, images):
        return images.mean(axis=(1, 2))[:-1]

class Full(Means):
    """As PyTorch says it: at most five images fit."""
    dim = 3
    def __call__(self, images):
        if len(images) > 5:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return images.mean(axis=(1, 2))

class NoSize:
    sha256 = "a" * 64
    def __call__(self, images): ...

class NoDigest:
    size = 6
    sha256 = "latest"
    def __call__(self, images): ...

class BadRange(Means):
    value_range = "0..2"

def nothing():
    return None

def fails():
    raise ValueError("no checkpoint")

number = 3
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "my_models_of_this_test.py").write_text(MODULE)
    (tmp_path / "my_broken_model.py").write_text("import a_package_that_is_not_there")
    (tmp_path / "my_failing_model.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def extractor(caches):
    def opened(name, **declared):
        return open_extractor(f"python:my_models_of_this_test:{name}", caches, Declared(**declared))

    return opened


def test_it_gets_pixels_unless_it_states_a_range(extractor):
    found = extractor("Means")
    engine = open_engine(found)
    assert (engine.name, engine.dim, engine.parameters) == ("python", 3, ParameterCounts(0, 0))
    assert (found.preprocessing.size, found.preprocessing.value_range) == (6, "0..255")
    assert np.allclose(engine(IMAGES), IMAGES.mean(axis=(1, 2)), rtol=1e-6)


def test_it_gets_its_range_and_channel_order(extractor):
    means = IMAGES.mean(axis=(1, 2), dtype=np.float64)
    expected = (means / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.allclose(open_engine(extractor("Torch"))(IMAGES), expected, atol=1e-5)
    expected = means[:, ::-1] - [103.939, 116.779, 123.68]
    assert np.allclose(open_engine(extractor("Caffe"))(IMAGES), expected, atol=1e-4)


def test_rows_are_float32_whatever_it_returns(extractor):
    assert open_engine(extractor("Doubles"))(IMAGES).dtype == np.float32


def test_its_identity_is_its_digest_its_name_and_its_input(extractor):
    keys = [extractor(name).pool_key() for name in ("Means", "Torch", "Doubles")]
    assert len({key.digest for key in keys}) == 3
    assert keys[0].weights_sha256 == "a" * 64
    assert keys[0].architecture == "python/my_models_of_this_test:Means"


def test_what_it_cannot_hold_is_halved_and_said(extractor):
    said = []
    engine = open_engine(extractor("Full"), notify=said.append)
    assert np.allclose(engine(IMAGES[:64]), IMAGES[:64].mean(axis=(1, 2)))
    assert said == [
        f"python: a batch of {size} images does not fit into the memory of CPU; going on with batches of {size // 2}."
        for size in (64, 32, 16, 8)
    ]
    engine(IMAGES)
    assert len(said) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Maps", r"a vector per image expected, shape \(2, 6, 6, 3\) found for 2 of them"),
        ("Breaks", r"Breaks: fails with RuntimeError: no kernel image is available"),
        ("Shrinks", r"\(20, 3\) numbers expected, shape \(19, 3\) found"),
    ],
)
def test_a_model_that_does_not_give_a_row_per_image_is_refused(extractor, name, message):
    with pytest.raises(ModelMismatch, match=message):
        open_engine(extractor(name))(IMAGES[:20])


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("NoSize", ModelMismatch, r"NoSize: size, int, expected of what it returns, None found"),
        ("NoDigest", ModelMismatch, r"NoDigest: sha256 must be 64 hexadecimal digits, 'latest' found"),
        ("BadRange", LookupError, r"0\.\.2: no such value range; did you mean"),
        ("nothing", ModelMismatch, r"nothing: must return a callable, but returns NoneType"),
        ("fails", ModelMismatch, r"fails: fails with ValueError: no checkpoint"),
        ("number", ModelUnavailable, r"my_models_of_this_test has no function 'number'"),
        ("nowhere", ModelUnavailable, r"my_models_of_this_test has no function 'nowhere'"),
    ],
)
def test_a_function_that_returns_no_model_is_refused(extractor, name, error, message):
    with pytest.raises(error, match=message):
        extractor(name)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("my_models", r"python:MODULE:FUNCTION expected, such as python:my_models:dino"),
        ("no_such_module:f", r"no module named 'no_such_module'; put its folder into PYTHONPATH"),
        (
            "my_broken_model:f",
            r"no module named 'a_package_that_is_not_there'; put its folder into PYTHONPATH, or inst",
        ),
        ("my_failing_model:f", r"importing my_failing_model fails: ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported_is_unavailable(caches, spec, message):
    with pytest.raises(ModelUnavailable, match=message):
        open_extractor(f"python:{spec}", caches)


def test_what_is_declared_must_be_true(extractor):
    assert extractor("Torch", size=6, value_range="torch", dim=3).dim == 3
    with pytest.raises(ModelMismatch, match="size 224 was declared, but it is 6"):
        extractor("Torch", size=224)
    with pytest.raises(InvalidSetting, match="precision bfloat16 is for networks that TensorFlow runs"):
        extractor("Torch", precision="bfloat16")


def test_not_even_one_image_is_said_at_once(extractor, monkeypatch):
    import my_models_of_this_test

    def full(self, images):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(my_models_of_this_test.Full, "__call__", full)
    with pytest.raises(EngineUnavailable, match=r"not even one image fits into the memory of CPU \(.*9 TiB"):
        open_engine(extractor("Full"))(IMAGES[:3])


def test_the_example_of_the_documents_is_what_it_says(caches, tmp_path, monkeypatch):
    """docs/extractors.md, with stand-ins for the two packages that are not installed here."""
    page = Path(__file__).parents[3] / "docs" / "extractors.md"
    (code,) = re.findall(r"```python\n# my_models\.py.*?\n(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "models_of_the_documents.py").write_text(code)

    class Model:
        def eval(self):
            return self

        def __call__(self, images):
            assert images.shape == (2, 3, 224, 224)
            return SimpleNamespace(numpy=lambda: images.mean(axis=(2, 3)).repeat(128, axis=1))

    torch = SimpleNamespace(inference_mode=contextlib.nullcontext, from_numpy=lambda array: array)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=lambda name, **options: Model()))
    engine = open_engine(open_extractor("python:models_of_the_documents:dino", caches))
    images = np.full((2, 224, 224, 3), 255, np.float32)
    # White, in ImageNet's mean and deviation; each channel's mean 128 times.
    expected = (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    assert np.allclose(engine(images), np.repeat(expected, 128)[np.newaxis], atol=1e-5)
