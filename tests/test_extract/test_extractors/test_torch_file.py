"""Files of PyTorch's older format: what is read, and what is refused without being run."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from extract import ModelMismatch, UntrustedModel
from extract.extractors.torch_file import read_torch_arrays

MAGIC = 119547037146038801333356


class Tensor:
    """Pickles as a tensor of PyTorch does."""

    def __init__(self, key, shape, strides, *, offset=0, kind="FloatStorage"):
        self.parts = (("storage", kind, key), offset, shape, strides)


class Writer(pickle._Pickler):
    """Writes names of torch, which is not installed, as globals."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_tensor(self, tensor):
        (_, kind, key), offset, shape, strides = tensor.parts
        self.write(b"ctorch._utils\n_rebuild_tensor_v2\n")
        self.write(b"(")
        self.write(b"(")
        self.save("storage")
        self.write(f"ctorch\n{kind}\n".encode())
        for item in (key, "cpu", 1, None):
            self.save(item)
        self.write(b"tQ")
        for item in (offset, shape, strides, False, OrderedDict()):
            self.save(item)
        self.write(b"tR")

    dispatch[Tensor] = save_tensor


def write(path, state, storages, magic=MAGIC):
    with path.open("wb") as file:
        for item in (magic, 1001, {"little_endian": True}):
            pickle.dump(item, file, protocol=2)
        Writer(file, protocol=2).dump(state)
        pickle.dump(list(storages), file, protocol=2)
        for array in storages.values():
            file.write(np.int64(array.size).tobytes())
            file.write(array.tobytes())
    return path


NUMBERS = np.arange(12, dtype="<f4")


def test_arrays_are_read_whatever_their_strides(tmp_path):
    state = OrderedDict(
        whole=Tensor("a", (3, 4), (4, 1)),
        turned=Tensor("a", (4, 3), (1, 4)),
        part=Tensor("a", (2, 2), (4, 1), offset=5),
        one=Tensor("b", (), (), kind="LongStorage"),
    )
    found = read_torch_arrays(write(tmp_path / "x.pth", state, {"a": NUMBERS, "b": np.array([7], "<i8")}))
    whole = NUMBERS.reshape(3, 4)
    assert list(found) == ["whole", "turned", "part", "one"]
    for name, expected in (("whole", whole), ("turned", whole.T), ("part", whole[1:, 1:3]), ("one", np.int64(7))):
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == np.asarray(expected).dtype


class Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, getattr, OrderedDict.fromkeys, np.frombuffer])
def test_a_pickle_that_asks_for_anything_else_is_refused_and_nothing_of_it_is_run(tmp_path, function):
    mark = tmp_path / "run"
    path = write(tmp_path / "x.pth", OrderedDict(a=Hostile(function, f"touch {mark}")), {"a": NUMBERS})
    with pytest.raises(UntrustedModel, match=r"x\.pth: its pickle asks for .*; only arrays are read from such files"):
        read_torch_arrays(path)
    assert not mark.exists()


def test_a_hostile_first_pickle_is_refused_as_well(tmp_path):
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Hostile(os.system, f"touch {tmp_path / 'run'}")))
    with pytest.raises(UntrustedModel, match=r"asks for posix\.system"):
        read_torch_arrays(tmp_path / "x.pth")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((3, 5), (5, 1), 0), ((3, 4), (4, 1), 1), ((3, 4), (-4, 1), 8), ((2,), (1,), -1), ((1 << 40,), (1,), 0)],
)
def test_a_tensor_outside_of_its_storage_is_refused(tmp_path, shape, strides, offset):
    state = OrderedDict(a=Tensor("a", shape, strides, offset=offset))
    with pytest.raises(ModelMismatch, match="lies outside of its storage of 12"):
        read_torch_arrays(write(tmp_path / "x.pth", state, {"a": NUMBERS}))


def test_what_is_no_such_file_or_is_cut_off_is_said_to_be_so(tmp_path):
    state = OrderedDict(a=Tensor("a", (12,), (1,)))
    path = write(tmp_path / "x.pth", state, {"a": NUMBERS})
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelMismatch, match=r"x\.pth: not a file of arrays in PyTorch's older format"):
            read_torch_arrays(path)
    write(path, state, {"a": NUMBERS}, magic=1)
    with pytest.raises(ModelMismatch, match="not a file of arrays"):
        read_torch_arrays(path)
    path.write_bytes(b"PK\x03\x04 a zip file, as newer versions write")
    with pytest.raises(ModelMismatch, match="not a file of arrays"):
        read_torch_arrays(path)
