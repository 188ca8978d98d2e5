"""Folders and tables behind URLs: an S3 server on the loopback (moto's), and what goes wrong on the way to it."""

import gc
import http.client
import http.server
import io
import socket
import struct
import threading
import warnings
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from extract import BadData, SourceCaches, SourceUnavailable, UnknownName, open_source
from extract.sources.places import UrlPlace

pytestmark = pytest.mark.framework


def png(number):
    buffer = io.BytesIO()
    Image.fromarray(np.full((9, 7, 3), number, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class Wire:
    """What stands between a client and the server: counts requests, and spoils those that it is told to."""

    def __init__(self, port):
        self.port = port
        self.requests = Counter()
        self.faults = []  # (method, a part of the path, what happens, how many times)
        wire = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def forward(self):
                wire.requests[self.command, self.path.partition("?")[0]] += 1
                fault = wire.next_fault(self.command, self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if fault == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    return
                if fault == "500":
                    self.send_response(500)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                connection = http.client.HTTPConnection("127.0.0.1", wire.port, timeout=30)
                connection.request(self.command, self.path, body, dict(self.headers))
                found = connection.getresponse()
                data = found.read()
                self.send_response(found.status)
                for name, value in found.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                length = found.getheader("Content-Length") if self.command == "HEAD" else None
                connection.close()
                self.send_header("Content-Length", length or str(len(data)))
                self.end_headers()
                if fault == "truncate":
                    self.wfile.write(data[: len(data) // 2])
                    self.close_connection = True
                elif self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815 - as http.server asks for them

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next_fault(self, method, path):
        for number, (of, part, what, left) in enumerate(self.faults):
            if of == method and part in path and left:
                self.faults[number] = (of, part, what, left - 1)
                return what
        return None

    def reads(self):
        return sum(
            count for (method, path), count in self.requests.items() if method == "GET" and path.endswith(".png")
        )


def collect_sockets():
    """Collect what the libraries have left open here, where it is no error; later it would be another test's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def moto_port():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()
    collect_sockets()


@pytest.fixture
def wire(moto_port, monkeypatch, tmp_path):
    import s3fs

    found = Wire(moto_port)
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "who"), ("AWS_SECRET_ACCESS_KEY", "sesame-open"), ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{found.server.server_port}"), ("AWS_MAX_ATTEMPTS", "2"),
        ("AWS_CONFIG_FILE", str(tmp_path / "none")), ("AWS_EC2_METADATA_DISABLED", "true"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    # Another endpoint is another file system, which fsspec would take from its cache.
    s3fs.S3FileSystem.clear_instance_cache()
    yield found
    for files in list(s3fs.S3FileSystem._cache.values()):
        if getattr(files, "_s3", None) is not None:
            files.close_session(files.loop, files._s3)
    s3fs.S3FileSystem.clear_instance_cache()
    found.server.shutdown()
    found.server.server_close()
    collect_sockets()


@pytest.fixture
def bucket(wire, request):
    import boto3

    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{wire.port}")
    name = f"bucket-{abs(hash(request.node.name)) % 10**8}"
    client.create_bucket(Bucket=name)

    def put(key, data):
        client.put_object(Bucket=name, Key=key, Body=data)

    put.name, put.client = name, client
    yield put
    client.close()


@pytest.fixture
def flowers(bucket):
    for number in range(6):
        bucket(f"data/flowers/{'rose' if number % 2 else 'daisy'}/{number}.png", png(number))
    # A folder that is an object of its own, as some tools make it; another kind of file; what a NAS leaves.
    bucket("data/flowers/rose/", b"")
    bucket("data/flowers/rose/notes.txt", b"no image")
    bucket("data/flowers/rose/@eaDir/1.png", png(99))
    bucket("data/other/x.png", png(77))
    return f"folder:s3://{bucket.name}/data/flowers"


def read(source, caches=None, split="all"):
    found = open_source(source, caches or SourceCaches())
    return {example.example_id: (example.label, example.read()) for example in found.examples(split)}


def test_a_folder_in_a_bucket_is_a_folder(flowers, bucket, wire):
    source = open_source(flowers)
    assert (source.name, source.splits, source.class_names) == (flowers, ("all",), ("daisy", "rose"))
    assert source.count("all") == 6
    assert source.ignored("all") == {".txt": 1, "@eaDir/": 1}
    assert read(flowers) == {f"{'rose' if n % 2 else 'daisy'}/{n}.png": (n % 2, png(n)) for n in (0, 2, 4, 1, 3, 5)}
    assert [one.read() for one in source.pick("all", ["rose/3.png"])] == [png(3)]
    with pytest.raises(UnknownName):
        source.count("train")


def test_parts_are_told_from_classes_by_their_names(bucket):
    for name in ("train/a/1.png", "train/b/2.png", "test/a/3.png"):
        bucket(f"set/{name}", png(int(name[-5])))
    source = open_source(f"folder:s3://{bucket.name}/set")
    assert (source.splits, source.class_names) == (("train", "test"), ("a", "b"))
    assert [one.example_id for one in source.examples("test")] == ["test/a/3.png"]


def test_what_is_unchanged_by_its_etag_is_not_read_again(flowers, bucket, wire, tmp_path):
    (tmp_path / "cache" / "stat").mkdir(parents=True)
    caches = SourceCaches(stat_cache=(tmp_path / "cache" / "stat", 2**62))

    def looked():
        wire.requests.clear()
        return [one.look().content for one in open_source(flowers, caches).examples("all")], wire.reads()

    first, reads = looked()
    assert reads == 6
    second, reads = looked()
    assert (second, reads) == (first, 0)
    assert read(flowers, caches)["rose/3.png"] == (1, png(3)), (
        "an image that is known is read where its bytes are wanted"
    )
    bucket("data/flowers/rose/3.png", png(200))
    third, reads = looked()
    assert reads == 1
    assert len(set(first) - set(third)) == 1
    secret = [path for path in tmp_path.rglob("*") if path.is_file() and b"sesame" in path.read_bytes()]
    assert not secret


def test_bytes_that_changed_without_a_word_are_refused(flowers, bucket, wire, tmp_path):
    (tmp_path / "cache" / "stat").mkdir(parents=True)
    caches = SourceCaches(stat_cache=(tmp_path / "cache" / "stat", 2**62))
    read(flowers, caches)
    examples = list(open_source(flowers, caches).examples("all"))
    bucket("data/flowers/rose/3.png", png(200))
    with pytest.raises(BadData, match=r"rose/3\.png: its bytes have changed"):
        [one.read() for one in examples]


@pytest.mark.parametrize("fault", ["500", "reset", "truncate"])
def test_a_fault_on_the_way_costs_a_retry_and_no_image(flowers, bucket, wire, fault):
    expected = read(flowers)
    wire.faults = [("GET", "/daisy/2.png", fault, 2), ("GET", "/rose/5.png", fault, 1), ("GET", "list-type", fault, 1)]
    assert read(flowers) == expected
    assert not any(left for *_, left in wire.faults)


def test_a_server_that_does_not_recover_ends_the_job_in_words(flowers, wire):
    source = open_source(flowers)
    wire.faults = [("GET", "/rose/5.png", "500", 1000)]
    with pytest.raises(SourceUnavailable, match=r"flowers/rose/5\.png: cannot be read, 5 times"):
        list(source.examples("all"))
    wire.faults = [("GET", "list-type", "500", 1000)]
    with pytest.raises(SourceUnavailable, match=r"data/flowers: cannot be listed, 5 times"):
        open_source(flowers)


def test_an_object_that_went_away_is_a_candidate_that_is_none(flowers, bucket):
    source = open_source(flowers)
    bucket.client.delete_object(Bucket=bucket.name, Key="data/flowers/rose/5.png")
    known = {one.example_id: one.look() for one in source.examples("all")}
    assert known["rose/5.png"].reason == "cannot be read: No such file or directory"
    assert sum(not one.reason for one in known.values()) == 5


def test_what_is_not_there_or_may_not_be_named_is_told(bucket, flowers, wire):
    for source in (f"folder:s3://{bucket.name}/nothing", "folder:s3://no-such-bucket-at-all/x"):
        with pytest.raises(SourceUnavailable, match=r"no such folder; expected PATH/CLASS/image\.jpg|cannot be listed"):
            open_source(source)
    with pytest.raises(SourceUnavailable, match="no package here opens nosuch://"):
        open_source("folder:nosuch://a/b")
    for url in ("s3://who:sesame-open@bucket/x", "s3://bucket/x?AWSAccessKeyId=sesame-open"):
        with pytest.raises(SourceUnavailable, match="a URL with credentials or a query") as told:
            UrlPlace(url)
        assert "sesame" not in str(told.value)


def test_a_table_in_a_bucket_names_images_beside_it_and_elsewhere(bucket, flowers, tmp_path):
    rows = ["path,label", "flowers/daisy/0.png,a", f"s3://{bucket.name}/data/other/x.png,b", "flowers/missing.png,a"]
    bucket("data/list.csv", "\n".join(rows).encode())
    source = open_source(f"table:s3://{bucket.name}/data/list.csv")
    assert source.class_names == ("a", "b")
    known = [one.look() for one in source.examples("all")]
    assert [one.reason for one in known] == ["", "", "cannot be read: No such file or directory"]
    assert [one.read() for one in source.pick("all", ["flowers/daisy/0.png"])] == [png(0)]
    with pytest.raises(SourceUnavailable, match=r"none\.csv: no such file; expected a table"):
        open_source(f"table:s3://{bucket.name}/data/none.csv")
