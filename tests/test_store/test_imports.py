import pickle
import zipfile

import numpy as np
import pytest

from store import FeatureStore, InvalidFeatures, import_features, read_features, verify_store

FEATURES = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
LABELS = np.array([0, 2, 1])
CREATED = "2026-01-02T03:04:05Z"


@pytest.fixture
def saved(tmp_path):
    """Writes an npz file of these arrays, of valid ones where none are given; None leaves one out."""

    def saved(name="made.npz", **arrays):
        given = {"features": FEATURES, "labels": LABELS, **arrays}
        np.savez(tmp_path / name, **{key: value for key, value in given.items() if value is not None})
        return tmp_path / name

    return saved


def taken(store, path, name="elsewhere", extractor="clip"):
    return import_features(
        store, read_features(path), name, extractor=extractor, source=f"import:{path}", created=CREATED
    )


def test_imported_features_are_a_set_like_any_other(store, saved):
    found, is_new = taken(store, saved(class_names=np.array(["x", "y", "z"]), example_ids=np.array(["p", "ö", "r"])))
    assert is_new
    features = FeatureStore(store.path).get("elsewhere", "all", "clip")
    assert features.key == found.key
    assert features.features[:].tolist() == FEATURES.tolist()
    assert features.labels.tolist() == LABELS.tolist()
    assert features.example_ids.tolist() == ["p", "ö", "r"]
    assert features.class_names == ["x", "y", "z"]
    assert features.ledger()["status"].tolist() == ["ok"] * 3
    assert (features.provenance.engine, features.provenance.created) == ("imported", CREATED)
    assert verify_store(store.path, is_deep=True).is_sound


def test_names_and_ids_are_made_where_the_file_has_none(store, saved):
    features, _ = taken(store, saved(features=np.arange(22, dtype=np.float32).reshape(11, 2), labels=np.arange(11) % 3))
    assert features.class_names == ["0", "1", "2"]
    assert features.example_ids.tolist() == [f"{n:02d}" for n in range(11)]


def test_the_same_file_again_changes_nothing(store, saved, tree):
    path = saved()
    first, _ = taken(store, path)
    before = tree(store.path)
    again, is_new = taken(store, path)
    assert (again.key, is_new) == (first.key, False)
    assert tree(store.path) == before


def test_two_files_under_one_name_never_mix_and_the_newer_counts(store, saved):
    contents = np.arange(96, dtype=np.uint8).reshape(3, 32)  # the same images, say the files
    first, _ = taken(store, saved("one.npz", content_sha256=contents))
    second, _ = taken(store, saved("two.npz", features=FEATURES + 1, content_sha256=contents))
    assert first.manifest["pool"] != second.manifest["pool"]
    assert first.features[:].tolist() == FEATURES.tolist()
    assert second.features[:].tolist() == (FEATURES + 1).tolist()
    assert store.get("elsewhere", "all", "clip").key == second.key


def test_two_extractors_never_share_a_pool(store, saved):
    path = saved()
    assert taken(store, path)[0].manifest["pool"] != taken(store, path, extractor="dino")[0].manifest["pool"]


def test_other_labels_for_the_same_rows_cost_a_set_and_no_row(store, saved):
    taken(store, saved("one.npz"))
    shards = sorted(store.path.glob("pools/*/shards/*"))
    first, second = store.get("elsewhere", "all", "clip"), taken(store, saved("two.npz", labels=LABELS[::-1]))[0]
    assert first.key != second.key
    assert sorted(store.path.glob("pools/*/shards/*")) == shards


def test_equal_rows_count_as_one_image_and_others_do_not(store, saved):
    features, _ = taken(store, saved(features=np.array([[1, 2], [1, 2], [2, 1]], np.float32)))
    first, second, third = (content.tobytes() for content in features.content_sha256)
    assert first == second != third
    assert features.features[:].tolist() == [[1, 2], [1, 2], [2, 1]]


def test_many_rows_come_in_several_shards(store, saved, monkeypatch):
    monkeypatch.setattr("store.imports._SHARD_BYTES", 1024 * 2 * 4)
    rows = np.random.default_rng(0).normal(size=(2500, 2)).astype(np.float32)
    features, _ = taken(store, saved(features=rows, labels=np.zeros(2500, np.uint8)))
    np.testing.assert_array_equal(features.features[:], rows)
    assert len(features.manifest["segments"]) == 3


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("<f2", "float16"), (">f4", "float32"), ("<f8", "float32"), (">f8", "float32"), ("g", "float32")],
)
def test_floats_of_any_kind_are_taken_and_half_precision_kept(store, saved, dtype, stored):
    features, _ = taken(store, saved(features=FEATURES.astype(dtype)))
    assert str(features.features.dtype) == stored
    assert features.features[:].tolist() == FEATURES.tolist()


def test_labels_of_any_integer_type_are_taken(store, saved):
    for number, dtype in enumerate(("u1", ">i2", "i4", "u8")):
        assert taken(store, saved(labels=LABELS.astype(dtype)), name=str(number))[0].labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("labels", "names"),
    [([1, 2, 3], ["1", "2", "3"]), ([7, 0, 2**40], ["0", "7", str(2**40)]), ([5, 10, 9], ["5", "9", "10"])],
)
def test_labels_that_do_not_count_from_0_are_classes_of_their_own_names(store, saved, labels, names):
    found, _ = taken(store, saved(features=np.eye(3, dtype=np.float32), labels=np.array(labels)))
    assert found.class_names == names
    assert [found.class_names[label] for label in found.labels] == [str(label) for label in labels]


def test_distinct_rows_that_float32_cannot_tell_apart_are_refused(store, saved):
    rng = np.random.default_rng(0)
    features = 1e6 + 1e-3 * rng.normal(size=(30, 4))
    with pytest.raises(InvalidFeatures, match=r"rows \d+ and \d+ differ by up to 0.00\d+, and are equal as float32"):
        read_features(saved(features=features, labels=np.arange(30) % 3))
    # Centred they are told apart; and what differs by rounding was meant to be equal.
    assert len(read_features(saved(features=features - 1e6, labels=np.arange(30) % 3)).features) == 30
    twice = np.concatenate([features - 1e6, (features - 1e6) * (1 + 1e-15)])
    assert len(read_features(saved(features=twice, labels=np.arange(60) % 3)).features) == 60


def test_dataset_with_base_splits_of_its_own_is_not_mixed_with_an_import(store, corpus, flowers, saved):
    message = "flowers / toy: no other base split than 'all' expected, train found; give the import another --name"
    with pytest.raises(InvalidFeatures, match=message):
        taken(store, saved(), name="flowers", extractor="toy")
    assert taken(store, saved(), name="flowers", extractor="clip")[1]


BAD = {
    "no features": ({"features": None}, "features, labels and perhaps class_names, .* expected, labels found"),
    "no labels": ({"labels": None}, "expected, features found"),
    "misspelt": ({"class_name": np.array(["a"])}, "class_name, features, labels found; rename or remove arrays"),
    "one dimension": ({"features": np.ones(3)}, r"features: \(N, D\) floats expected, \(3,\) float64 found"),
    "three dimensions": ({"features": np.ones((3, 2, 2))}, r"floats expected, \(3, 2, 2\) float64 found"),
    "no rows": ({"features": np.ones((0, 2)), "labels": np.ones(0, int)}, r"floats expected, \(0, 2\) float64 found"),
    "no columns": ({"features": np.ones((3, 0))}, r"floats expected, \(3, 0\) float64 found"),
    "integers": ({"features": np.ones((3, 2), int)}, r"floats expected, \(3, 2\) int64 found"),
    "complex": ({"features": np.ones((3, 2), complex)}, r"floats expected, \(3, 2\) complex128 found"),
    "NaN": ({"features": np.array([[1, 2], [3, np.nan], [5, 6]])}, "finite as float32 expected, others found in row 1"),
    "too large": ({"features": FEATURES.astype("f8") * 1e39}, "finite as float32 expected, others found in row 0"),
    "float labels": ({"labels": np.array([0.0, 1, 2])}, r"labels: \(3,\) integers expected, \(3,\) float64 found"),
    "boolean labels": ({"labels": np.array([True, False, True])}, r"integers expected, \(3,\) bool found"),
    "few labels": ({"labels": np.array([0, 1])}, r"labels: \(3,\) integers expected, \(2,\) int64 found"),
    "one-hot labels": ({"labels": np.eye(3, dtype=int)}, r"integers expected, \(3, 3\) int64 found"),
    "negative label": ({"labels": np.array([0, -1, 2])}, "labels: 0 and on expected, -1 to 2 found"),
    "huge label with names": (
        {"labels": np.array([0, 1, 2**40]), "class_names": np.array(["a", "b", "c"])},
        f"class_names: {2**40 + 1} or more distinct names expected, 3 found",
    ),
    "label past int64": ({"labels": np.array([0, 1, 2**63], "u8")}, f"0 to {2**63} found"),
    "few names": ({"class_names": np.array(["a", "b"])}, "class_names: 3 or more distinct names expected, 2 found"),
    "name twice": ({"class_names": np.array(["a", "b", "a"])}, "class_names: 3 or more distinct names expected, 3 found"),
    "numbers for names": ({"class_names": np.arange(3)}, r"class_names: one dimension of texts expected, \(3,\) int64"),
    "bytes that are no text": ({"class_names": np.array([b"\xff", b"a", b"b"])}, "class_names: Unicode text expected"),
    "surrogate": ({"example_ids": np.array(["\ud800", "a", "b"])}, "example_ids: Unicode text expected"),
    "id twice": ({"example_ids": np.array(["a", "b", "a"])}, "3 distinct ids expected, 3, 2 distinct, found"),
    "few ids": ({"example_ids": np.array(["a"])}, "3 distinct ids expected, 1, 1 distinct, found"),
    "short hashes": ({"content_sha256": np.zeros((3, 31), np.uint8)}, r"content_sha256: \(3, 32\) uint8 expected"),
    "one image, two rows": (
        {"content_sha256": np.zeros((3, 32), np.uint8)},
        "equal rows for one image expected, others in 0 and 1 found",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arrays", "message"), BAD.values(), ids=BAD)
def test_arrays_that_do_not_fit_are_refused(saved, arrays, message):
    path = saved(**arrays)
    with pytest.raises(InvalidFeatures, match=message) as caught:
        read_features(path)
    assert str(caught.value).startswith(f"{path}: ")


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was loaded')",))


def test_pickles_are_never_loaded(tmp_path, saved):
    path = saved(labels=np.array([Trap()] * 3, object))
    with pytest.raises(InvalidFeatures, match="an npz file of plain arrays expected, found none"):
        read_features(path)
    (tmp_path / "x.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InvalidFeatures, match="an npz file of plain arrays expected, found none"):
        read_features(tmp_path / "x.npz")


@pytest.mark.parametrize("length", [0, 1, 10, 100, 400, -30, -1])
def test_file_that_is_cut_short_is_refused(saved, length):
    path = saved()
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InvalidFeatures, match="an npz file of plain arrays expected, found none"):
        read_features(path)


def test_flipped_bits_are_refused_by_the_checksums_of_zip(saved):
    path = saved()
    data = bytearray(path.read_bytes())
    at = data.index(FEATURES.tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidFeatures, match="Bad CRC-32"):
        read_features(path)


def test_single_array_and_other_files_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", FEATURES)
    with pytest.raises(InvalidFeatures, match=r"an npz file expected, a single array found; use numpy\.savez"):
        read_features(tmp_path / "x.npy")
    (tmp_path / "x.txt").write_text("no arrays")
    with pytest.raises(InvalidFeatures, match="an npz file of plain arrays expected, found none"):
        read_features(tmp_path / "x.txt")
    with pytest.raises(InvalidFeatures, match="an npz file of plain arrays expected, found none"):
        read_features(tmp_path)


def test_array_that_declares_a_terabyte_is_refused_without_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for name, shape in (("features", (10**9, 10**6)), ("labels", (3,))):
            with archive.open(f"{name}.npy", "w") as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(InvalidFeatures, match="an npz file of plain arrays expected, found none"):
        read_features(tmp_path / "x.npz")
