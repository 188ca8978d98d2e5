"""ONNX files: what comes out is worked out beside them in NumPy."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx_files import node, save_model

import extract
from extract import (
    Declared,
    EngineUnavailable,
    ModelMismatch,
    ModelUnavailable,
    ParameterCounts,
    UnknownName,
    open_engine,
    open_extractor,
)

SIZE = 8
RNG = np.random.default_rng(0)
# 1 x 1 convolution of 3 to 5 channels, the mean over space, and a matrix of 5 to 4.
KERNEL = RNG.normal(size=(5, 3, 1, 1)).astype(np.float32)
MATRIX = RNG.normal(size=(5, 4)).astype(np.float32)
IMAGES = RNG.uniform(0, 255, (11, SIZE, SIZE, 3)).astype(np.float32)
MEANS = IMAGES.mean(axis=(1, 2), dtype=np.float64) @ KERNEL[:, :, 0, 0].T.astype(np.float64)
TORCH = ((IMAGES.mean(axis=(1, 2), dtype=np.float64) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]) @ (
    KERNEL[:, :, 0, 0].T
)
DECLARED = Declared(size=SIZE, value_range="0..255")
HEAD = [
    node("Conv", ["pixels", "kernel"], "maps", kernel_shape=[1, 1]),
    node("GlobalAveragePool", ["maps"], "pooled"),
    node("Flatten", ["pooled"], "means", axis=1),
]
ARRAYS = {"kernel": KERNEL, "matrix": MATRIX}


@pytest.fixture
def model(tmp_path):
    """Returns a function that writes a model (N, 3, 8, 8) → (N, 5), changed as asked."""

    def save(nodes=HEAD, shape=("n", 3, SIZE, SIZE), **options):
        inputs = options.pop("inputs", {"pixels": shape})
        outputs = options.pop("outputs", {"means": ("n", 5)})
        arrays = options.pop("arrays", {"kernel": KERNEL})
        return save_model(tmp_path / "model.onnx", nodes, inputs, outputs, arrays, **options)

    return save


def opened(path: Path, caches, declared: Declared = DECLARED):
    return open_engine(open_extractor(f"onnx:{path}", caches, declared))


def relative_l2(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.framework
def test_channels_first_is_found_and_handled(model, caches):
    engine = opened(model(), caches)
    assert (engine.name, engine.dim, engine.parameters) == ("openvino", 5, ParameterCounts(15, 0))
    assert relative_l2(engine(IMAGES), MEANS) <= 1e-6


@pytest.mark.framework
def test_channels_last_is_found_and_handled(model, caches):
    nodes = [node("Transpose", ["images"], "pixels", perm=[0, 3, 1, 2]), *HEAD]
    path = model(nodes, inputs={"images": ("n", SIZE, SIZE, 3)})
    assert relative_l2(opened(path, caches)(IMAGES), MEANS) <= 1e-6


@pytest.mark.framework
def test_a_range_is_applied_channel_by_channel(model, caches):
    engine = opened(model(), caches, Declared(size=SIZE, value_range="torch"))
    assert relative_l2(engine(IMAGES), TORCH) <= 1e-6


@pytest.mark.framework
def test_caffes_channels_are_turned_round(model, caches):
    engine = opened(model(), caches, Declared(size=SIZE, value_range="caffe"))
    pixels = IMAGES.mean(axis=(1, 2), dtype=np.float64)[:, ::-1] - [103.939, 116.779, 123.68]
    assert relative_l2(engine(IMAGES), pixels @ KERNEL[:, :, 0, 0].T) <= 1e-6


@pytest.mark.framework
def test_a_batch_that_was_exported_as_one_becomes_any(model, caches):
    path = model(shape=(1, 3, SIZE, SIZE), outputs={"means": (1, 5)})
    assert relative_l2(opened(path, caches)(IMAGES), MEANS) <= 1e-6


@pytest.mark.framework
def test_sides_that_were_left_open_take_the_declared_size(model, caches):
    path = model(shape=("n", 3, "height", "width"))
    assert relative_l2(opened(path, caches)(IMAGES), MEANS) <= 1e-6


@pytest.mark.framework
def test_rows_are_bitwise_the_same_over_batch_sizes(model, caches):
    engine = opened(model(), caches)
    rows = engine(IMAGES)
    assert np.array_equal(np.concatenate([engine(IMAGES[at : at + 1]) for at in range(len(IMAGES))]), rows)


@pytest.mark.framework
def test_rounded_pixels_are_taken_as_bytes(model, caches):
    extractor = open_extractor(f"onnx:{model()}", caches, Declared(size=SIZE, value_range="0..255", pixels="uint8"))
    rounded = IMAGES.round()
    expected = rounded.mean(axis=(1, 2), dtype=np.float64) @ KERNEL[:, :, 0, 0].T
    assert relative_l2(open_engine(extractor)(rounded.astype(np.uint8)), expected) <= 1e-6


POOL = [node("GlobalAveragePool", ["pixels"], "pooled"), node("Flatten", ["pooled"], "means", axis=1)]
CLASSIFIER = [*HEAD, node("MatMul", ["means", "matrix"], "logits")]


@pytest.mark.framework
def test_two_outputs_want_one_to_be_named(model, caches):
    path = model(CLASSIFIER, outputs={"means": ("n", 5), "logits": ("n", 4)}, arrays=ARRAYS)
    with pytest.raises(ModelMismatch, match=r"model\.onnx: 2 outputs, \['logits', 'means'\]; name one as output"):
        opened(path, caches)
    logits = opened(path, caches, Declared(SIZE, "0..255", 4, "logits"))
    assert relative_l2(logits(IMAGES), MEANS @ MATRIX) <= 1e-6


@pytest.mark.framework
def test_an_inner_tensor_can_be_the_output(model, caches):
    path = model(CLASSIFIER, outputs={"logits": ("n", 4)}, arrays=ARRAYS)
    means = opened(path, caches, Declared(SIZE, "0..255", None, "means"))
    assert means.dim == 5
    assert relative_l2(means(IMAGES), MEANS) <= 1e-6
    keys = {
        open_extractor(f"onnx:{path}", caches, Declared(SIZE, output=o)).pool_key().digest for o in ("means", "logits")
    }
    assert len(keys) == 2


@pytest.mark.framework
def test_an_output_that_is_not_there_names_the_nearest(model, caches):
    with pytest.raises(UnknownName, match=r"mean: no such output of .*model\.onnx; did you mean 'means'\?"):
        opened(model(), caches, Declared(SIZE, output="mean"))


@pytest.mark.framework
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"shape": ("n", 3, 16, 16)}, ModelMismatch, r"takes images of 16 x 16, size 8 was declared; declare its size"),
        ({"shape": ("n", 1, SIZE, SIZE), "nodes": POOL, "outputs": {"means": ("n", 1)}}, ModelMismatch, r"images \(N, 3, H, W\) or \(N, H, W, 3\) expected"),
        ({"shape": ("n", 3, SIZE), "nodes": [node("Flatten", ["pixels"], "means", axis=1)]}, ModelMismatch, r"images \(N, 3, H, W\) or \(N, H, W, 3\) expected"),
        ({"input_kind": np.uint8, "nodes": [node("Cast", ["pixels"], "p", to=1), node("GlobalAveragePool", ["p"], "q"),
                                            node("Flatten", ["q"], "means", axis=1)]},
         ModelMismatch, "takes u8 images, f32 expected"),
        ({"nodes": HEAD[:2], "outputs": {"pooled": ("n", 5, 1, 1)}}, ModelMismatch,
         r"a vector of fixed length per image expected, shape \[\?,5,1,1\] found"),
        ({"inputs": {"pixels": ("n", 3, SIZE, SIZE), "more": ("n", 5)},
          "nodes": [*HEAD[:2], node("Flatten", ["pooled"], "m", axis=1), node("Add", ["m", "more"], "means")]},
         ModelMismatch, r"one input expected, \['pixels', 'more'\] found"),
        ({"nodes": [*HEAD[:2], node("ReduceMean", ["pooled"], "m", axes=[0, 2, 3], keepdims=0),
                    node("Unsqueeze", ["m", "zero"], "means")],
          "arrays": {"kernel": KERNEL, "zero": np.array([0], np.int64)}},
         ModelMismatch, r"a row per image expected, \[1,5\] found .*export it with a dynamic batch axis"),
    ],
    ids=["size", "grey", "rank", "bytes", "maps", "inputs", "batch"],
)  # fmt: skip
def test_a_model_of_another_shape_is_refused(model, caches, changes, error, message):
    with pytest.raises(error, match=message):
        opened(model(**changes), caches)


@pytest.mark.framework
def test_a_length_that_depends_on_the_image_is_refused(model, caches):
    # As many numbers as pixels are not zero: known only when it runs.
    nodes = [node("NonZero", ["pixels"], "where"), node("Cast", ["where"], "means", to=1)]
    with pytest.raises(ModelMismatch, match=r"a vector of fixed length per image expected, shape \[4,\S*\] found"):
        opened(model(nodes), caches)


@pytest.mark.framework
def test_a_dim_that_is_declared_wrongly_is_refused(model, caches):
    with pytest.raises(ModelMismatch, match=r"dim 7 was declared, but it gives 5 numbers; declare dim = 5"):
        opened(model(), caches, Declared(SIZE, "0..255", 7))


def test_tensorflow_cannot_run_it_and_says_so(model, caches):
    extractor = open_extractor(f"onnx:{model()}", caches, DECLARED)
    with pytest.raises(EngineUnavailable, match=r"^tensorflow: cannot run ONNX .*use --engine openvino, or auto\.$"):
        open_engine(extractor, "tensorflow")
    with pytest.raises(EngineUnavailable, match=r"openvino: runs on the CPU here"):
        open_engine(extractor, device="gpu")


def test_without_openvino_it_cannot_be_had_and_no_other_engine_is_named(model, caches, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    message = r"^openvino: not installed; 'pip install linprobe\[cpu\]', and nothing else here runs ONNX\.$"
    with pytest.raises(EngineUnavailable, match=message):
        opened(model(), caches)


@pytest.mark.framework
def test_a_damaged_file_is_named(tmp_path, caches):
    (tmp_path / "bad.onnx").write_bytes(b"hello")
    with pytest.raises(ModelMismatch, match=r"bad\.onnx: not an ONNX model, or cut off"):
        opened(tmp_path / "bad.onnx", caches)
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ModelMismatch, match=r"empty\.onnx: an ONNX model expected, a file without a graph found"):
        opened(tmp_path / "empty.onnx", caches)
    with pytest.raises(ModelUnavailable, match=r"nowhere\.onnx: no such ONNX file"):
        opened(tmp_path / "nowhere.onnx", caches)


# Identity


def test_the_weights_digest_is_the_files(model, caches):
    path = model()
    assert open_extractor(f"onnx:{path}", caches).weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    moved = path.rename(path.with_name("moved.onnx"))
    assert open_extractor(f"onnx:{moved}", caches).weights_sha256 == hashlib.sha256(moved.read_bytes()).hexdigest()


@pytest.mark.framework
def test_weights_beside_the_file_are_weights_too(model, caches):
    path = model(location="model.onnx.data")
    assert relative_l2(opened(path, caches)(IMAGES), MEANS) <= 1e-6
    before = open_extractor(f"onnx:{path}", caches).pool_key()
    beside = path.with_name("model.onnx.data")
    beside.write_bytes((2 * KERNEL).tobytes())
    assert open_extractor(f"onnx:{path}", caches).pool_key() != before
    beside.unlink()
    with pytest.raises(ModelUnavailable, match=r"keeps weights in 'model\.onnx\.data', which is missing beside it"):
        open_extractor(f"onnx:{path}", caches)


def test_weights_outside_the_folder_are_refused(model, tmp_path, caches):
    folder = tmp_path / "model"
    folder.mkdir()
    path = model(location="secret.bin").rename(folder / "model.onnx")
    path.write_bytes(path.read_bytes().replace(b"\x12\x0asecret.bin", b"\x12\x0a../se.bin2"))
    with pytest.raises(ModelMismatch, match=r"names its weights '\.\./se\.bin2', and the name of a plain file beside"):
        open_extractor(f"onnx:{path}", caches)


@pytest.mark.parametrize("number", [b"x", b"9"])
def test_weights_past_the_end_of_their_file_are_refused(model, caches, number):
    path = model(location="model.onnx.data")
    place = b"\x0a\x06offset\x12\x01"
    path.write_bytes(path.read_bytes().replace(place + b"0", place + number))
    with pytest.raises(ModelMismatch, match=r"has no sound place in 'model\.onnx\.data'|needs \d+ bytes of"):
        open_extractor(f"onnx:{path}", caches)


def test_weights_behind_a_link_are_refused(model, tmp_path, caches):
    path = model(location="model.onnx.data")
    beside = path.with_name("model.onnx.data")
    beside.rename(tmp_path / "elsewhere")
    beside.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelMismatch, match="the name of a plain file beside the model is expected"):
        open_extractor(f"onnx:{path}", caches)


@pytest.mark.heavy
def test_its_identity_needs_no_framework(model):
    script = (
        "import sys; from pathlib import Path; from extract import ModelCaches, open_extractor\n"
        f"open_extractor('onnx:{model()}', ModelCaches(Path('/nowhere'), Path('/nowhere')))\n"
        "print([name for name in ('tensorflow', 'openvino') if name in sys.modules])"
    )
    root = Path(extract.__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=False)
    assert (found.stdout, found.stderr) == ("[]\n", "")
