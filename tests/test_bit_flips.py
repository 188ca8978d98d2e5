"""Single bit flips over every file of a store, its disposable caches too: no new process reads a wrong number."""

import logging
import os
import random
import tarfile
from pathlib import Path

import everything_read
import h5py
import numpy as np
import pytest
import stub_extraction as stub
from everything_read import LEFT_OUT, REFUSED
from PIL import Image

import store.hdf5
import store.pool
import store.run_table
from linprobe.models.thumbnails import layout_of
from store.disposable import write_disposable

ARCHIVE = Path(__file__).parent / "test_store" / "data" / "format-1.tar.gz"
NAMES = [
    ("flowers", "train", "toy", None), ("flowers", "train", "toy", "2026-01-31"), ("flowers", "test", "toy", None),
    ("flowers", "train", "toy half", None), ("elsewhere", "all", "clip", None), ("an old name", "train", "toy", "2026-01-31"),
]  # fmt: skip


class Flipped:
    """A store in which one bit at a time is flipped; the files' times stay, and all is put back."""

    def __init__(self, path, images):
        self.path, self.images = path, images
        self.there_is = everything_read.what_there_is(path, NAMES)
        self._whole = {p: (p.read_bytes(), p.stat()) for p in sorted(path.rglob("*")) if p.is_file()}
        self.files = [p for p, (data, _) in self._whole.items() if data]
        everything_read.forget()
        self.truth = self.read()

    def read(self):
        everything_read.forget()
        return everything_read.read_everything(self.path, self.images, self.there_is)

    def read_in_a_new_process(self):
        out = self.path.parent / "reads"
        stub.finish(everything_read.read_anew, self.path, self.images, self.there_is, out)
        return dict(line.split("\t") for line in out.read_text().splitlines())

    def draw(self, generator):
        """A file, each as often as any other, and a bit of it."""
        path = generator.choice(self.files)
        return path, generator.randrange(8 * len(self._whole[path][0]))

    def flip(self, path, bit):
        data = bytearray(self._whole[path][0])
        data[bit // 8] ^= 1 << bit % 8
        self._write(path, bytes(data))

    def _write(self, path, data):
        # In place: the same inode, as on a disk that goes bad.
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        stat = self._whole[path][1]
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def put_back(self, flipped):
        self._write(flipped, self._whole[flipped][0])
        # Reading may have written caches anew, or thrown them away.
        for path in [p for p in self.path.glob("cache/**/*") if p.is_file() and p not in self._whole]:
            path.unlink()
        for path, (data, stat) in self._whole.items():
            if "cache" in path.parts and (not path.exists() or path.stat().st_mtime_ns != stat.st_mtime_ns):
                self._write(path, data)


@pytest.fixture
def flipped(tmp_path, monkeypatch):
    path, images = tmp_path / "store", tmp_path / "images"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(path, filter="data")
    for number in range(3):
        image = images / f"class{number}" / f"{number}.png"
        image.parent.mkdir(parents=True)
        Image.fromarray(np.full((4, 4, 3), 80 * number, np.uint8)).save(image)
        os.utime(image, (1e9, 1e9))
    # What is logged is looked at where it is read; kept by thousands, with all it refers to, it would slow HDF5 down.
    monkeypatch.setattr(logging.getLogger("store"), "propagate", False)
    # Set to what they are, so that they are put back.
    monkeypatch.setattr(store.pool, "stamp_of", store.pool.stamp_of)
    monkeypatch.setattr(store.run_table, "_stamp", store.run_table._stamp)
    everything_read.ignore_ctime()
    with monkeypatch.context() as patch:
        patch.setattr(store.run_table, "_FRESH", 0)
        make_caches(path, images)
    found = Flipped(path, images)
    assert not {REFUSED, LEFT_OUT, "lost unseen"} & set(found.truth.values())
    kinds = {p.relative_to(path).parts[1] for p in found.files if "cache" in p.parts}
    assert kinds == {"contents", "results.jsonl", "stat", "thumbnails"}
    return found


def make_caches(path, images):
    """Read all, in another process as it were, so that every cache is there."""
    there_is = everything_read.what_there_is(path, NAMES)
    content = everything_read.FeatureStore(path).run(there_is["runs"][0]).predictions["content_sha256"][0]
    thumbnail = (images / "class1" / "1.png").read_bytes()
    write_disposable(path / "cache" / "thumbnails" / content, layout_of(content), thumbnail)
    everything_read.read_everything(path, images, there_is)


def judge(flipped, reads, where):
    """Return how many reads say that something is damaged; none may be wrong."""
    wrong = {
        name: read
        for name, read in reads.items()
        if read not in (flipped.truth[name], REFUSED) and not (read == LEFT_OUT and is_listing(name))
    }
    assert not wrong, f"{where}: {wrong}"
    if not reads.keys() >= flipped.truth.keys():
        assert where[0].name == "FORMAT"
        return 1
    return sum(read != flipped.truth[name] for name, read in reads.items())


def is_listing(name):
    """Whether this comes of a list that leaves a damaged item out and logs that, or of a report with placeholders."""
    return name.startswith(("row ", "catalog ", "results ", "thumbnail"))


@pytest.mark.parametrize(
    ("flips", "seed"),
    [
        pytest.param(120, 0, marks=pytest.mark.slow),
        *(pytest.param(1000, seed, marks=pytest.mark.campaign) for seed in range(1, 11)),
    ],
)
def test_no_flipped_bit_makes_a_new_process_read_a_wrong_number(flipped, flips, seed):
    generator = random.Random(seed)
    noticed = elsewhere = 0
    # Every file once, then at random.
    drawn = [(path, generator.randrange(8 * path.stat().st_size)) for path in flipped.files]
    drawn = (drawn + [flipped.draw(generator) for _ in range(flips)])[:flips]
    for number, (path, bit) in enumerate(drawn):
        flipped.flip(path, bit)
        where = (path.relative_to(flipped.path), bit, f"seed {seed}")
        if number % 50 == 7:
            # What has forgotten all it knew is as good as a new process: here is one.
            elsewhere += 1
            found = flipped.read_in_a_new_process()
            flipped.put_back(path)
            flipped.flip(path, bit)
            assert flipped.read() == found, where
        noticed += judge(flipped, flipped.read(), where) > 0
        flipped.put_back(path)
    assert flipped.read() == flipped.truth
    print(
        f"\nseed {seed}: {flips} flips over {len(flipped.files)} files, {noticed} noticed, the others without effect, "
        f"0 wrong reads; {elsewhere} of them read in a process of their own too, with the same result"
    )


@pytest.mark.heavy
def test_without_digests_a_flipped_bit_would_be_read(flipped, monkeypatch):
    """The test above can fail: a bit of each shard's first number, were nobody to check."""
    monkeypatch.setattr(store.hdf5, "_require_digest", lambda path, expected, found: None)
    shards = [path for path in flipped.files if path.parent.name == "shards"]
    for path in shards:
        with h5py.File(path, "r", locking=False) as file:
            first = file["features"].id.get_offset()
        flipped.flip(path, 8 * first)
        with pytest.raises(AssertionError, match=path.name):
            judge(flipped, flipped.read(), (path.relative_to(flipped.path),))
        flipped.put_back(path)
    assert len(shards) == 4
