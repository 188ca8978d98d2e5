import pytest
from PIL import Image

from store import FeatureStore

pytestmark = pytest.mark.framework


def explain(run, trained, *arguments, head="logistic"):
    return run("explain", "--run", trained.run(head), "--store", trained.store, *arguments)


def test_logits_of_the_maps_are_those_of_the_stored_rows(run, trained):
    folder = trained.images / "red"
    code, found, _ = explain(run, trained, folder, "--top", 5, "--json")
    assert code == 0
    store = FeatureStore(trained.store)
    rows = store.get("colours", "all", trained.extractor)
    head = store.run(trained.run()).head
    logits = (rows.features[:] - head["mean"]) / head["scale"] @ head["kernel"] + head["bias"]
    of_image = dict(zip(rows.example_ids.tolist(), logits, strict=True))
    assert len(found["explanations"]) == 14
    for row in found["explanations"]:
        expected = of_image[row["image"].removeprefix(f"{trained.images}/")]
        assert sorted(entry["class"] for entry in row["classes"]) == ["blue", "green", "red"]
        for entry in row["classes"]:
            assert entry["logit"] == pytest.approx(expected[rows.class_names.index(entry["class"])], abs=2e-5)
            assert entry["map_mean"] + entry["intercept"] == pytest.approx(entry["logit"])
        shares = [entry["probability"] for entry in row["classes"]]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)


def test_drawings_lie_beside_a_page_that_shows_them(run, trained, tmp_path):
    odd = tmp_path / 'a"<b>.png'
    odd.write_bytes(trained.files[0].read_bytes())
    code, out, err = explain(run, trained, odd, trained.files[1], "--out", tmp_path / "out", head="ridge")
    assert code == 0
    assert "0 of 2 images did not train this run; 2 did, and say less" in err
    assert out.strip() == str(tmp_path / "out" / "index.html")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["0001-a__b_.png", "0002-01.png", "index.html", "linprobe-report.json"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<b>.png" not in page
    assert 'src="0001-a__b_.png"' in page
    with Image.open(tmp_path / "out" / "0002-01.png") as image:
        assert image.width > 3 * image.height  # an image and three maps side by side


def test_a_bad_image_is_named_and_the_others_are_explained(run, trained, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    code, found, err = explain(run, trained, tmp_path / "bad.png", trained.files[0], "--json")
    assert code == 65
    assert [row["image"] for row in found["explanations"]] == [str(trained.files[0])]
    assert f"{tmp_path / 'bad.png'}: not an image" in err


def test_layers_are_listed_and_drawn_channel_by_channel(run, trained, tmp_path):
    code, out, _ = explain(run, trained, "--list-layers")
    assert (code, out.split()) == (0, ["first", "last"])
    code, found, _ = explain(
        run, trained, trained.files[0], "--layers", "last", "--layers", "first", "--out", tmp_path / "out", "--json"
    )
    assert code == 0
    assert found["explanations"][0]["layers"] == [
        {"layer": "last", "height": 8, "width": 8, "channels": 12},
        {"layer": "first", "height": 16, "width": 16, "channels": 8},
    ]
    with Image.open(tmp_path / "out" / "0001-00-layer1.png") as image:
        # 12 tiles of 8 by 8 in four columns and three rows, lines between them, enlarged 24 times.
        assert image.size == (37 * 24, 28 * 24)


def test_an_unknown_layer_names_the_nearest(run, trained):
    code, _, err = explain(run, trained, trained.files[0], "--layers", "frist")
    assert code == 2
    assert "did you mean 'first'?" in err


def test_a_head_that_is_not_linear_has_no_maps(run, trained):
    code, _, err = explain(run, trained, trained.files[0], head="knn")
    assert code == 2
    assert "this is knn" in err


def test_an_extractor_without_a_network_has_no_maps(run, trained):
    code, _, err = run("explain", "--run", "colours/pixels/logistic", "--store", trained.store, trained.files[0])
    assert code == 65
    assert "pixels: is no TensorFlow network" in err
