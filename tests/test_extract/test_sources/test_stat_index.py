import os
from pathlib import Path

import pytest
from PIL import Image

from extract.errors import BadData
from extract.header import Header
from extract.sources.example import Known, UnreadFile
from extract.sources.schemes import SourceCaches, open_source
from extract.sources.stat_index import StatIndex

NOW = 2_000_000_000_000_000_000
KNOWN = Known(b"c" * 32, Header("PNG", "RGB", 3, 4), "", 5)


@pytest.fixture
def cache(tmp_path):
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache" / "stat"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"12345")
    os.utime(path, ns=(NOW - 10**12, NOW - 10**12))
    return path


def learnt(cache, file, known=KNOWN, now=NOW):
    index = StatIndex(cache / "x.index", now)
    index.learn("a.png", file.stat(), known)
    index.save()
    return StatIndex(cache / "x.index", now)


def test_an_unchanged_file_is_known_in_the_next_job(cache, file):
    assert learnt(cache, file).find("a.png", file.stat()) == KNOWN


@pytest.mark.parametrize("broken", [Known(b"d" * 32, None, "empty file", 5)])
def test_why_a_file_is_no_image_is_known_too(cache, file, broken):
    assert learnt(cache, file, broken).find("a.png", file.stat()) == broken


def test_another_name_size_or_time_is_not_known(cache, file):
    index = learnt(cache, file)
    assert index.find("b.png", file.stat()) is None
    os.utime(file, ns=(NOW - 10**12, NOW - 10**12 + 1))
    assert index.find("a.png", file.stat()) is None
    file.write_bytes(b"123456")
    os.utime(file, ns=(NOW - 10**12, NOW - 10**12))
    assert index.find("a.png", file.stat()) is None


def test_a_file_that_changed_a_moment_before_the_job_is_not_believed(cache, file):
    os.utime(file, ns=(NOW, NOW - 10**9))
    assert learnt(cache, file).find("a.png", file.stat()) is None


@pytest.mark.parametrize("position", [0, 31, 32, 100, -1])
def test_one_flipped_bit_makes_the_whole_index_empty(cache, file, position):
    learnt(cache, file)
    path = cache / "x.index"
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    assert StatIndex(path, NOW).find("a.png", file.stat()) is None


def test_an_index_of_other_decoding_rules_is_empty(cache, file, monkeypatch):
    index = learnt(cache, file)
    assert index.find("a.png", file.stat()) is not None
    monkeypatch.setattr("extract.sources.stat_index.DECODING_RULES", 999)
    assert StatIndex(cache / "x.index", NOW).find("a.png", file.stat()) is None


def test_nothing_is_written_where_there_is_no_store(tmp_path, file):
    learnt(tmp_path / "nothing" / "stat", file)
    assert not (tmp_path / "nothing").exists()


def make_folder(tmp_path):
    for name, data in (("a/1.png", b"one"), ("b/2.png", b"two")):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        os.utime(path, ns=(NOW - 10**12, NOW - 10**12))
    return f"folder:{tmp_path}/images"


def test_a_second_look_at_a_folder_opens_no_image(cache, tmp_path, monkeypatch):
    source = make_folder(tmp_path)
    first = [example.look() for example in open_source(source, SourceCaches(stat_cache=(cache, NOW))).examples("all")]
    monkeypatch.setattr(Path, "read_bytes", refuse_images(Path.read_bytes))
    second = [example.look() for example in open_source(source, SourceCaches(stat_cache=(cache, NOW))).examples("all")]
    assert second == first
    assert all(known.reason for known in second), "three bytes are no image, and the index remembers why"


def test_all_that_a_header_says_is_kept(cache, tmp_path):
    source = make_folder(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, alpha = tmp_path / "images" / "a" / "1.png", tmp_path / "images" / "b" / "2.png"
    Image.new("RGB", (4, 3)).save(turned, exif=exif)
    Image.new("RGBA", (4, 3)).save(alpha)
    for path in (turned, alpha):
        os.utime(path, ns=(NOW - 10**12, NOW - 10**12))
    first = [example.look() for example in open_source(source, SourceCaches(stat_cache=(cache, NOW))).examples("all")]
    second = [example.look() for example in open_source(source, SourceCaches(stat_cache=(cache, NOW))).examples("all")]
    assert first == second
    assert (second[0].header.orientation, second[1].header.has_transparency) == (6, True)


def test_what_a_package_would_remedy_is_looked_at_again(cache, file):
    index = StatIndex(cache / "x.index", NOW)
    known = Known(b"1" * 32, None, "a HEIC image, which needs the package pi-heif", file.stat().st_size)
    index.learn("a.png", file.stat(), known)
    assert index.find("a.png", file.stat()) is None


def refuse_images(read_bytes):
    def guarded(path):
        assert path.suffix != ".png", f"{path} was read again"
        return read_bytes(path)

    return guarded


def test_a_file_that_hides_its_change_is_found_out_when_it_is_read(tmp_path, file):
    known = Known.of_file(b"12345")
    assert UnreadFile(file, known).read() == b"12345"
    file.write_bytes(b"54321")
    with pytest.raises(BadData, match=r"a\.png: its bytes have changed, though size and modification time have not"):
        UnreadFile(file, known).read()
