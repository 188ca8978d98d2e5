import resource

import numpy as np
import pandas as pd
import pytest

from extract import BadData, Budget, Reading, SourceCaches, SourceUnavailable, UnknownName, open_source
from extract.shares import PartlyReadSource

HEAD = "path,label,split,group\n"


@pytest.fixture
def make_table(make_folder, make_jpeg):
    """Returns a function that writes a table beside the images a/0.jpg, a/1.jpg, b/2.jpg and b/3.jpg."""
    root = make_folder({f"{'ab'[n // 2]}/{n}.jpg": make_jpeg(n) for n in range(4)})

    def make(text, name="scans.csv"):
        path = root / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def seen(source, split="all"):
    return [(e.example_id, source.class_names[e.label], e.group) for e in source.examples(split)]


def test_rows_come_in_the_order_of_the_table(make_table, make_jpeg):
    table = make_table("path,label,extra\nb/3.jpg,roses,x\na/0.jpg,daisy,y\nb/2.jpg,roses,\n")
    source = open_source(f"table:{table}")
    assert (source.name, source.version, source.origin) == (f"table:{table}", "", {})
    assert (source.class_names, source.splits) == (("daisy", "roses"), ("all",))
    assert seen(source) == [("b/3.jpg", "roses", ""), ("a/0.jpg", "daisy", ""), ("b/2.jpg", "roses", "")]
    assert [e.data for e in source.examples("all")] == [make_jpeg(3), make_jpeg(0), make_jpeg(2)]
    assert (source.count("all"), source.ignored("all")) == (3, {})


def test_splits_are_called_as_folders_are_and_groups_are_kept(make_table):
    rows = "a/0.jpg,x,Test,p1\na/1.jpg,x,extra,p1\nb/2.jpg,y,val,p2\nb/3.jpg,y,training,p3\n"
    source = open_source(f"table:{make_table(HEAD + rows)}")
    assert source.splits == ("train", "validation", "test", "extra")
    assert [seen(source, split) for split in source.splits] == [
        [("b/3.jpg", "y", "p3")], [("b/2.jpg", "y", "p2")], [("a/0.jpg", "x", "p1")], [("a/1.jpg", "x", "p1")],
    ]  # fmt: skip
    assert source.class_names == ("x", "y")
    with pytest.raises(UnknownName, match=r"valid.*validation"):
        source.examples("valid")


def test_one_image_may_stand_in_several_rows_under_ids_of_their_own(make_table):
    table = make_table("example_id,path,label\n007,a/0.jpg,x\n7,a/0.jpg,y\n")
    source = open_source(f"table:{table}")
    assert seen(source) == [("007", "x", ""), ("7", "y", "")]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "9", "0"], ("0", "9", "10")),
        (["-1", "1", "0"], ("-1", "0", "1")),
        (["NA", "null", "None"], ("NA", "None", "null")),
        (["b", "10", "9"], ("10", "9", "b")),
    ],
)
def test_classes_are_sorted_and_none_is_taken_for_missing(make_table, labels, classes):
    rows = "".join(f"a/{n}.jpg,{label}\n" for n, label in enumerate(labels))
    table = make_table("path,label\n" + rows)
    assert open_source(f"table:{table}").class_names == classes


def test_paths_may_be_absolute_quoted_and_of_any_script(make_table, tmp_path, make_jpeg):
    (tmp_path / "Gänse, 花.jpg").write_bytes(make_jpeg(9))
    absolute = f"{tmp_path}/Gänse, 花.jpg"
    table = make_table(f'\ufeffpath,label\n"{absolute}",x\na/0.jpg,y\n')
    source = open_source(f"table:{table}")
    assert [e.data for e in source.examples("all")] == [make_jpeg(9), make_jpeg(0)]


def test_tab_separated_and_parquet_tables_are_read_alike(make_table):
    rows = {
        "path": ["b/3.jpg", "a/0.jpg"],
        "label": ["roses", "daisy"],
        "split": ["test", "train"],
        "group": ["1", "2"],
    }
    tabbed = make_table(pd.DataFrame(rows).to_csv(sep="\t", index=False), "scans.TSV")
    packed = make_table(b"", "scans.parquet")
    pd.DataFrame(rows).astype({"label": "category", "group": int}).to_parquet(packed)
    found = [open_source(f"table:{path}") for path in (tabbed, packed)]
    assert seen(found[0], "test") == seen(found[1], "test") == [("b/3.jpg", "roses", "1")]
    assert found[0].class_names == found[1].class_names == ("daisy", "roses")


def test_whole_numbers_of_parquet_are_classes(make_table):
    packed = make_table(b"", "scans.parquet")
    pd.DataFrame({"path": ["a/0.jpg", "a/1.jpg"], "label": np.array([10, 9])}).to_parquet(packed)
    assert open_source(f"table:{packed}").class_names == ("9", "10")


def test_only_the_images_that_are_wanted_are_read(make_table, make_jpeg):
    table = make_table("path,label\na/0.jpg,x\na/1.jpg,x\nb/2.jpg,y\n")
    source = open_source(f"table:{table}")
    assert isinstance(source, PartlyReadSource)
    (table.parent / "a/0.jpg").unlink()
    assert [(at, e.data) for at, e in source.numbered_examples("all", lambda at: at == 1)] == [(1, make_jpeg(1))]
    assert [(e.example_id, e.data) for e in source.pick("all", {"b/2.jpg"})] == [("b/2.jpg", make_jpeg(2))]


def test_an_image_that_is_not_there_is_a_candidate_that_cannot_be_read(make_table):
    table = make_table("path,label\na/0.jpg,x\nnone.jpg,x\na/0.jpg/deeper.jpg,x\n")
    source = open_source(f"table:{table}")
    assert [e.look().reason for e in source.examples("all")] == [
        "", "cannot be read: No such file or directory", "cannot be read: Not a directory",
    ]  # fmt: skip


def test_files_that_have_not_changed_are_not_read_again(make_table, tmp_path):
    table = make_table("path,label,group\na/0.jpg,x,1\nb/3.jpg,y,2\n")
    (tmp_path / "cache").mkdir()
    cache = tmp_path / "cache" / "stat", 2**62
    first = [e.content_sha256() for e in open_source(f"table:{table}", SourceCaches(stat_cache=cache)).examples("all")]
    again = list(open_source(f"table:{table}", SourceCaches(stat_cache=cache)).examples("all"))
    assert [e.content_sha256() for e in again] == first
    assert all(not isinstance(e.data, bytes) for e in again)
    assert [e.group for e in again] == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "path and label missing; found: none"),
        ("path,label\n", "without rows"),
        ("file,label\na/0.jpg,x\n", "path missing; found: file, label"),
        ("a,b\n1,2\n", "path and label missing"),
        ("path,label\na/0.jpg,\na/1.jpg,x\nb/2.jpg,\n", "no label in row 1, 3 .*fill them or leave out the row"),
        (HEAD + "a/0.jpg,x,train,\n", "no group in row 1 .*fill it or leave out the column"),
        ("path,label\n" + ",x\n" * 5, "no path in row 1, 2, 3 and 2 more"),
        ("path,label\na/0.jpg,x\na/0.jpg,y\n", "a/0.jpg is duplicated in the base split 'all'.*example_id"),
        ("path,label\na/0.jpg,x\n\na/1.jpg,x,1,2\n", "line 4 has 4 fields, and there are 2 names"),
        ('path,label\n"a/0.jpg,x\n', "cannot be read as a table"),
        ("path,label,label\na/0.jpg,x,y\n", "2 columns are called label"),
        (b"path,label\n\xff\xfe,x\n", "cannot be read as a table"),
        (b"PAR1 and no more", "cannot be read as a table"),
    ],
)
def test_what_is_no_table_of_images_is_refused(make_table, text, message):
    name = "scans.parquet" if text == b"PAR1 and no more" else "scans.csv"
    with pytest.raises(BadData, match=message):
        open_source(f"table:{make_table(text, name)}")


def test_numbers_with_fractions_are_no_classes(make_table):
    packed = make_table(b"", "scans.parquet")
    pd.DataFrame({"path": ["a/0.jpg", "a/1.jpg"], "label": [0.5, 1.0]}).to_parquet(packed)
    with pytest.raises(BadData, match="label holds double; text or whole numbers expected"):
        open_source(f"table:{packed}")


def test_a_table_that_is_not_there_and_another_suffix_are_told(make_table, tmp_path):
    with pytest.raises(SourceUnavailable, match="no such file"):
        open_source(f"table:{tmp_path}/none.csv")
    with pytest.raises(BadData, match=r"\.csv, \.tsv, \.parquet"):
        open_source(f"table:{make_table(HEAD, 'scans.xls')}")


# Tables of any size


def parquet(file, **columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), file)
    return file


def test_columns_that_are_not_used_are_not_read(tmp_path):
    import pyarrow as pa

    # Of a column that nobody needs a cell may be of any kind and size.
    wide = pa.array([{"a": [1.5] * 1000}] * 3)
    path = parquet(tmp_path / "t.parquet", path=["1.png", "2.png", "3.png"], label=[10, 9, 10], other=wide)
    source = open_source(f"table:{path}")
    assert (source.class_names, source.count("all")) == (("9", "10"), 3)


def test_a_value_that_repeats_is_kept_once(tmp_path):
    import pyarrow as pa

    # 6 kB on disk, 2 GB were each row to have a text of its own.
    text = "x" * 20_000
    label = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array([text]))
    path = parquet(tmp_path / "t.parquet", path=[f"{at}.png" for at in range(100_000)], label=label)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert open_source(f"table:{path}").class_names == (text,)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19  # KiB


def test_more_rows_than_anybody_has_are_refused_before_they_are_read(tmp_path, monkeypatch):
    path = parquet(tmp_path / "t.parquet", path=["1.png"] * 11, label=["a"] * 11)
    monkeypatch.setattr("extract.sources.table._MOST_ROWS", 10)
    with pytest.raises(BadData, match=r"11 rows, at most 10 expected; split it"):
        open_source(f"table:{path}")


def test_a_message_names_the_first_columns_and_not_all(make_table):
    names = ",".join(f"column{at}" for at in range(5000))
    with pytest.raises(BadData, match=r"found: column0, .*column7 and 4992 more\.$"):
        open_source(f"table:{make_table(names)}")


@pytest.mark.framework
def test_missing_files_end_the_job_at_the_budget_and_not_at_the_end(make_table, lab):
    table = make_table("path,label\n" + "".join(f"no/{at}.png,{'ab'[at % 2]}\n" for at in range(5000)))
    source = open_source(f"table:{table}")
    with pytest.raises(BadData, match=r"4 of the 4 images read so far cannot be decoded"):
        lab.extract(source, budget=Budget(3))


@pytest.mark.parametrize(
    ("separator", "slash", "encoding", "message"),
    [
        (";", "/", "utf-8", r"separated by ';'; save it with commas"),
        ("\t", "/", "utf-8", r"separated by tabs; save it with commas, or call it \.tsv"),
        (",", "/", "utf-16", "it is UTF-16; save it as UTF-8"),
        (",", "/", "cp1252", r"it is not UTF-8 \(byte 0xe4 at \d+\), perhaps Windows-1252; save it as UTF-8"),
        (",", "\\", "utf-8", r"paths with backslashes, as Windows writes them, such as .*; write 'img/0\.png'"),
    ],
)
def test_tables_as_windows_writes_them_are_refused_with_the_cause(tmp_path, separator, slash, encoding, message):
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "0.png").write_bytes(b"")
    text = f"path{separator}label\r\nimg{slash}0.png{separator}K\u00e4fer\r\n"
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    with pytest.raises(BadData, match=message):
        open_source(f"table:{tmp_path}/t.csv")


@pytest.mark.parametrize(("one", "other"), [("cat", "Cat"), ("1", "01"), ("dog", "dog ")])
def test_labels_that_look_alike_are_refused_with_their_counts(make_table, one, other):
    table = make_table(f"path,label\n1.png,{one}\n2.png,{one}\n3.png,{other}\n4.png,zebra\n")
    with pytest.raises(BadData, match=rf"labels that look alike: '{one}' \(2\) and '{other}' \(1\)"):
        open_source(f"table:{table}")
    assert len(open_source(f"table:{table}", reading=Reading(merge=True)).class_names) == 2
