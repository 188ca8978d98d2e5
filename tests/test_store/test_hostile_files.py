"""Files that an attacker can put into a store under a name that is true: a shard is named by its own bytes."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from store import DamagedStore, FeatureSet
from store.documents import read_sealed, seal
from store.shards import open_shard

# What the files try to have read; its content would be valid features.
SECRET = "secret-b71d.h5"


def contents(file, rows=2):
    file["content_sha256"] = np.zeros((rows, 32), np.uint8)


def external_storage(file, secret):
    contents(file)
    file.create_dataset("features", (2, 3), "<f4", external=[(secret, 0, 24)])


def external_link(file, secret):
    contents(file)
    file["features"] = h5py.ExternalLink(secret, "features")


def soft_link(file, secret):
    contents(file)
    file["hidden"] = np.zeros((2, 3), np.float32)
    file["features"] = h5py.SoftLink("/hidden")


def soft_link_in_a_circle(file, secret):
    contents(file)
    file["features"] = h5py.SoftLink("/features")


def virtual(file, secret):
    contents(file)
    layout = h5py.VirtualLayout((2, 3), "<f4")
    layout[:] = h5py.VirtualSource(secret, "features", (2, 3))
    file.create_virtual_dataset("features", layout)


def growing_virtual(file, secret):
    """Its shape is that of the file that it names: asking for the shape opens that file."""
    contents(file)
    space = h5py.h5s.create_simple((2, 3), (h5py.h5s.UNLIMITED, 3))
    source = h5py.h5s.create_simple((2, 3), (h5py.h5s.UNLIMITED, 3))
    for one in (space, source):
        one.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), None, (1, 3))
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_virtual(space, os.fsencode(secret), b"features", source)
    h5py.h5d.create(file.id, b"features", h5py.h5t.IEEE_F32LE, space, options)


def virtual_contents(file, secret):
    file["features"] = np.zeros((2, 3), np.float32)
    layout = h5py.VirtualLayout((2, 32), "|u1")
    layout[:] = h5py.VirtualSource(secret, "content_sha256", (2, 32))
    file.create_virtual_dataset("content_sha256", layout)


def terabytes(file, secret):
    contents(file)
    file.create_dataset("features", (2, 10**12), "<f4")


def terabytes_in_chunks(file, secret):
    contents(file)
    file.create_dataset("features", (10**9, 10**3), "<f4", chunks=(1000, 1000), compression="gzip")


def sizes_that_wrap_around(file, secret):
    contents(file)
    file.create_dataset("features", (2**31, 2**31 - 1), "<f4")


def compressed(file, secret):
    contents(file)
    file.create_dataset("features", data=np.zeros((2, 3), np.float32), compression="gzip")


def unknown_filter(file, secret):
    """A filter that HDF5 would look for among its plugins, as soon as it read."""
    contents(file)
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_chunk((2, 3))
    options.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple((2, 3))
    h5py.h5d.create(file.id, b"features", h5py.h5t.IEEE_F32LE, space, options)


def texts(file, secret):
    contents(file)
    file.create_dataset("features", data=np.array([["a", "b"]], object), dtype=h5py.string_dtype())


def lists(file, secret):
    contents(file)
    file.create_dataset("features", (2, 3), h5py.vlen_dtype(np.float32))


def references(file, secret):
    contents(file)
    file.create_dataset("features", (2, 3), h5py.ref_dtype)


def region_references(file, secret):
    contents(file)
    file.create_dataset("features", (2, 3), h5py.regionref_dtype)


def records(file, secret):
    contents(file)
    file.create_dataset("features", (2, 3), np.dtype([("re", "<f4"), ("im", "<f4")]))


def times(file, secret):
    """A type that NumPy does not have."""
    contents(file)
    h5py.h5d.create(file.id, b"features", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((2, 3)))


def floats_of_other_bits(file, secret):
    contents(file)
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_ebias(100)
    space = h5py.h5s.create_simple((2, 3))
    h5py.h5d.create(file.id, b"features", kind, space).write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones((2, 3), "<f4"))


def double(file, secret):
    contents(file)
    file["features"] = np.zeros((2, 3), np.float64)


def group(file, secret):
    contents(file)
    file.create_group("features")


def group_in_a_circle(file, secret):
    contents(file)
    file.create_group("features")
    file["features/features"] = file["features"]
    file["features/up"] = file["/"]


def root_in_itself(file, secret):
    contents(file)
    file["features"] = file["/"]


def one_more(file, secret):
    contents(file)
    file["features"] = np.zeros((2, 3), np.float32)
    file["labels"] = np.zeros(2)


def other_count(file, secret):
    contents(file, rows=3)
    file["features"] = np.zeros((2, 3), np.float32)


def no_rows(file, secret):
    contents(file, rows=0)
    file["features"] = np.zeros((0, 3), np.float32)


def attribute(file, secret):
    contents(file)
    file["features"] = np.zeros((2, 3), np.float32)
    file["features"].attrs["list"] = np.array([np.zeros(3), np.zeros(9)], object, copy=True).astype(
        h5py.vlen_dtype("f4")
    )


def attribute_of_the_root(file, secret):
    contents(file)
    file["features"] = np.zeros((2, 3), np.float32)
    file.attrs.create("reference", file["features"].ref, dtype=h5py.ref_dtype)


# How to fill a file → what the refusal says.
SHARDS = {
    external_storage: "unexpected storage layout, a filter or external storage",
    external_link: "hard links only",
    soft_link: "datasets .* expected, .*hidden",
    soft_link_in_a_circle: "hard links only",
    virtual: "unexpected storage layout",
    growing_virtual: "unexpected storage layout",
    virtual_contents: "content_sha256 has an unexpected storage layout",
    terabytes: "features: 8000000000000 bytes expected, 0 stored",
    terabytes_in_chunks: "unexpected storage layout",
    sizes_that_wrap_around: f"features: {2**31 * (2**31 - 1) * 4} bytes expected, 0 stored",
    compressed: "unexpected storage layout",
    unknown_filter: "unexpected storage layout",
    texts: r"features: <f4\|<f2 in 2 dimensions expected",
    lists: r"features: <f4\|<f2 in 2 dimensions expected, \|O",
    references: r"features: <f4\|<f2 in 2 dimensions expected, \|O",
    region_references: r"features: <f4\|<f2 in 2 dimensions expected, \|O",
    records: r"features: <f4\|<f2 in 2 dimensions expected, \|V8",
    times: "HDF5 of the store's schema expected, found other",
    floats_of_other_bits: "features: <f4.* expected, ",
    double: r"features: <f4\|<f2 in 2 dimensions expected, <f8 \(2, 3\) found",
    group: "features: a dataset expected, Group found",
    group_in_a_circle: "features: a dataset expected, Group found",
    root_in_itself: "features: a dataset expected, Group found",
    one_more: "datasets .* expected, .*labels",
    other_count: r"content_sha256 of shape \(2, 32\) expected, \(3, 32\) found",
    no_rows: r"features of a row and a column at least expected, \(0, 3\) found",
    attribute: "features: no attributes expected, 1 found",
    attribute_of_the_root: "no attributes expected, 1 found",
}


def shard(folder: Path, fill, secret) -> Path:
    """Returns a file that `fill` fills, under the name that its bytes deserve."""
    path = folder / "new.h5"
    with h5py.File(path, "w") as file:
        fill(file, str(secret))
    return path.rename(folder / f"{hashlib.sha256(path.read_bytes()).hexdigest()}.h5")


# A set's features.h5, whose `features` may be virtual, but over its own pool's shards only.


def table(file):
    file["labels"] = np.zeros(2, np.int64)
    file["example_ids"] = np.array([b"a", b"b"])
    contents(file)


def set_over_a_secret(file, secret):
    table(file)
    layout = h5py.VirtualLayout((2, 3), "<f4")
    layout[:] = h5py.VirtualSource(secret, "features", (2, 3))
    file.create_virtual_dataset("features", layout)


def set_that_grows_over_a_secret(file, secret):
    growing_virtual(file, secret)
    file["labels"] = np.zeros(2, np.int64)
    file["example_ids"] = np.array([b"a", b"b"])


def set_with_external_labels(file, secret):
    contents(file)
    file["example_ids"] = np.array([b"a", b"b"])
    file.create_dataset("labels", (2,), "<i8", external=[(secret, 0, 16)])
    layout = h5py.VirtualLayout((2, 3), "<f4")
    file.create_virtual_dataset("features", layout)


SETS = {
    set_over_a_secret: "features: rows of shards of its own pool expected, .*secret",
    set_that_grows_over_a_secret: "features: rows of shards of its own pool expected, .*secret",
    set_with_external_labels: "labels has an unexpected storage layout, a filter or external storage",
}


def plant(folder: Path, fill, secret) -> None:
    """Puts another features.h5 into a published set, with a manifest that says so."""
    (folder / "features.h5").unlink()
    with h5py.File(folder / "features.h5", "w") as file:
        fill(file, str(secret))
    manifest = read_sealed(folder / "manifest.json")
    manifest["parts"]["features.h5"] = hashlib.sha256((folder / "features.h5").read_bytes()).hexdigest()
    (folder / "manifest.json").write_bytes(seal(manifest))


# What a process does that is handed them; what it opens is watched.
READER = """
import sys, h5py
from pathlib import Path
from store import DamagedStore, FeatureSet
from store.shards import open_shard
if sys.argv[1] == "plain h5py":
    print(h5py.File(sys.argv[2])["features"][()].sum())
else:
    for path in map(Path, sys.argv[2:]):
        try:
            FeatureSet(path).labels if path.is_dir() else open_shard(path)
            print("opened", path)
        except DamagedStore:
            print("refused")
"""


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "elsewhere" / SECRET
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["features"] = np.ones((2, 3), np.float32)
        file["content_sha256"] = np.zeros((2, 32), np.uint8)
    return path


def named(fills):
    return [pytest.param(fill, message, id=fill.__name__) for fill, message in fills.items()]


@pytest.mark.parametrize(("fill", "message"), named(SHARDS))
def test_hostile_shard_with_a_true_name_is_refused(tmp_path, secret, fill, message):
    path = shard(tmp_path, fill, secret)
    with pytest.raises(DamagedStore, match=message):
        open_shard(path)


@pytest.mark.parametrize(("fill", "message"), named(SETS))
def test_hostile_set_with_a_true_manifest_is_refused(flowers, secret, fill, message):
    plant(flowers.folder, fill, secret)
    with pytest.raises(DamagedStore, match=message):
        FeatureSet(flowers.folder).labels  # noqa: B018


@pytest.mark.heavy
def test_no_hostile_file_makes_the_store_open_a_file_outside(tmp_path, flowers, secret):
    def opened(*arguments):
        trace = tmp_path / "trace"
        command = ["strace", "-f", "-e", "trace=open,openat,openat2", "--seccomp-bpf", "-o", trace]
        command += [sys.executable, "-c", READER, *arguments]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return out.split("\n")[:-1], trace.read_text()

    shards = [shard(tmp_path, fill, secret) for fill in SHARDS]
    sets = [Path(shutil.copytree(flowers.folder, tmp_path / fill.__name__ / flowers.key)) for fill in SETS]
    for folder, fill in zip(sets, SETS, strict=True):
        plant(folder, fill, secret)
    out, trace = opened("store", *shards, *sets)
    assert out == ["refused"] * (len(SHARDS) + len(SETS))
    assert shards[0].name in trace  # the trace sees what is opened
    assert SECRET not in trace
    assert "hdf5/lib/plugin" not in trace
    # The same file in a reader that is not careful: this is what the trace would have shown.
    (sums,), trace = opened("plain h5py", shards[list(SHARDS).index(growing_virtual)])
    assert sums == "6.0"
    assert SECRET in trace
