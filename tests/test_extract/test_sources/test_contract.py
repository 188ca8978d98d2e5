"""What every source promises, whatever it reads."""

import io

import numpy as np
import pytest
from PIL import Image

from extract import SourceCaches, UnknownName, open_source
from extract.sources.memory import MEMORY_SCHEME, MemorySource
from extract.sources.schemes import SCHEMES, guess_scheme, source_forms

TOPICS = (
    "animals/birds", "animals/mammals", "clothes", "food/fruit", "food/vegetables", "household/tools", "plants/flowers",
    "seasonal/christmas", "seasonal/halloween", "town/roadsigns",
)  # fmt: skip
MOTIFS = ("apple_red", "apple-core", "pear", "quince", "hats/one", "hats/two")
OTHERS = (
    "animals/birds/cartoon/tux.png", "animals/fish/lionfish.png", "symbols/chess/b_1_king.png", "animals/birds/owl.ogg"
)  # fmt: skip
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (8, 6, 5, 3), dtype=np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Two base splits of two classes, and a file that is no image."""
    for number, pixels in enumerate(PIXELS):
        path = tmp_path / "data" / ("train" if number < 5 else "test") / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(pixels))
    (tmp_path / "data" / "train" / "a" / "notes.txt").write_text("no image")
    return tmp_path / "data"


class SourceContract:
    """Subclass it with the scheme and a fixture `source` that has two base splits, `train` and `test`, or others."""

    scheme: str
    splits = ("train", "test")

    @pytest.fixture
    def source(self):
        raise NotImplementedError

    def test_its_name_begins_with_its_scheme(self, source):
        assert source.name.startswith(f"{self.scheme}:")

    def test_its_splits_and_classes_are_distinct_names(self, source):
        assert sorted(source.splits) == sorted(self.splits)
        assert len(source.class_names) >= 2
        assert len(set(source.class_names)) == len(source.class_names)
        assert all(isinstance(name, str) and name for name in source.class_names)

    def test_examples_come_in_the_same_order_every_time(self, source):
        for split in source.splits:
            first, second = list(source.examples(split)), list(source.examples(split))
            assert [e.example_id for e in first] == [e.example_id for e in second]
            assert [e.content_sha256() for e in first] == [e.content_sha256() for e in second]
            assert len({e.example_id for e in first}) == len(first) > 0
            assert {e.label for e in first} <= set(range(len(source.class_names)))

    def test_it_counts_its_examples_or_does_not_know(self, source):
        for split in source.splits:
            assert source.count(split) in (None, len(list(source.examples(split))))
            assert all(count > 0 for count in source.ignored(split).values())
            assert source.orientation in ("exif", "stored")

    def test_it_picks_what_is_there_in_its_own_order(self, source):
        split = self.splits[0]
        every = [example.example_id for example in source.examples(split)]
        wanted = [every[3], "no such example", every[0]]
        picked = list(source.pick(split, wanted))
        assert [example.example_id for example in picked] == [every[0], every[3]]
        contents = {example.example_id: example.content_sha256() for example in source.examples(split)}
        assert all(example.content_sha256() == contents[example.example_id] for example in picked)

    def test_an_unknown_split_is_refused_before_anything_is_read(self, source):
        for ask in (source.count, source.ignored, lambda split: list(source.examples(split))):
            with pytest.raises(UnknownName, match="trian"):
                ask("trian")


class TestFolder(SourceContract):
    scheme = "folder"

    @pytest.fixture
    def source(self, folder):
        return open_source(f"folder:{folder}")


class TestStamps(SourceContract):
    scheme = "bundled"

    @pytest.fixture
    def source(self, tmp_path):
        # A photograph of each topic where the package has it, and what the package has beside.
        for name in (*(f"{topic}/{word}.png" for topic in TOPICS for word in MOTIFS), *OTHERS):
            path = tmp_path / "stamps" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(PIXELS[0]))
        return open_source("bundled:stamps", SourceCaches(stamps=tmp_path / "stamps"))

    def test_drawings_symbols_and_sounds_are_no_candidates(self, source):
        found = {example.example_id for split in source.splits for example in source.examples(split)}
        assert found.isdisjoint(OTHERS)
        assert len(found) == len(MOTIFS) * len(TOPICS)

    def test_motifs_never_part_and_two_fifths_of_each_topic_are_tested(self, source):
        groups = {split: {example.group for example in source.examples(split)} for split in source.splits}
        assert groups["train"].isdisjoint(groups["test"])
        assert {"clothes/apple", "clothes/hats"} <= groups["train"] | groups["test"]
        tested = np.bincount([example.label for example in source.examples("test")])
        # Of six.
        assert (tested == 2).all()


class TestHuggingFace(SourceContract):
    scheme = "hf"

    @pytest.fixture
    def source(self, folder, tmp_path):
        import datasets

        # As somebody has it who works with the library: the folder, read by it and saved.
        datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path)).save_to_disk(
            tmp_path / "saved"
        )
        return open_source(f"hf:{tmp_path / 'saved'}")


class TestTable(SourceContract):
    scheme = "table"

    @pytest.fixture
    def source(self, folder):
        lines = [
            f"{path.relative_to(folder)},{path.parent.name},{path.parent.parent.name}"
            for path in sorted(folder.rglob("*.png"))
        ]
        (folder / "table.csv").write_text("\n".join(["path,label,split", *lines]))
        return open_source(f"table:{folder}/table.csv")


class TestNpz(SourceContract):
    scheme = "npz"

    @pytest.fixture
    def source(self, tmp_path):
        labels = np.arange(8) % 2
        np.savez(
            tmp_path / "a.npz",
            train_images=PIXELS[:5], train_labels=labels[:5], test_images=PIXELS[5:], test_labels=labels[5:],
        )  # fmt: skip
        return open_source(f"npz:{tmp_path}/a.npz")


@pytest.mark.framework
class TestTfds(SourceContract):
    scheme = "tfds"

    @pytest.fixture
    def source(self, fashion_mnist_folder):
        return open_source("tfds:fashion_mnist", SourceCaches(tfds_data_dir=fashion_mnist_folder))


class TestBundled(SourceContract):
    scheme = "bundled"

    @pytest.fixture
    def source(self):
        return open_source("bundled:digits")


class TestMemory(SourceContract):
    scheme = MEMORY_SCHEME

    @pytest.fixture
    def source(self):
        return MemorySource(
            "made", list(PIXELS), [0, 1] * 4, class_names=["a", "b"], example_ids=[f"{at}" for at in range(8)],
            splits=["train"] * 5 + ["test"] * 3,
        )  # fmt: skip


def test_every_scheme_is_held_to_the_contract():
    assert {kind.scheme for kind in SourceContract.__subclasses__()} == {*SCHEMES, MEMORY_SCHEME}


def test_what_a_source_looks_like_is_read_from_the_table():
    assert source_forms() == [
        "folder:PATH",
        "table:FILE",
        "npz:FILE",
        "tfds:NAME",
        "hf:NAME",
        "bundled:digits",
        "bundled:stamps",
    ]
    with pytest.raises(UnknownName, match=r"fodler:x: no such dataset source; .*folder:PATH"):
        open_source("fodler:x")


@pytest.mark.parametrize(
    ("name", "scheme"), [("x", "folder"), ("x.csv", "table"), ("x.TSV", "table"), ("x.npz", "npz"), ("x.png", None)]
)
def test_a_path_without_a_scheme_has_a_likeliest_one(tmp_path, name, scheme):
    path = tmp_path / name
    path.mkdir() if "." not in name else path.touch()
    assert guess_scheme(path) == scheme
    assert guess_scheme(tmp_path / "nothing.csv") is None
