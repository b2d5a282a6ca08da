"""The stand-in for Cloud Storage, driven by the real clients as they are installed, in a process of their own."""

import random
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.storage import Storage, cloud_storage
from running import environment

pytestmark = pytest.mark.slow  # servers, and processes that import gcsfs anew

CLIENTS = """
import gcsfs
from google.cloud import storage

fs = gcsfs.GCSFileSystem(use_listings_cache=False, skip_instance_cache=True)
bucket = storage.Client().bucket("bucket")
"""


@pytest.fixture
def storage() -> Iterator[Storage]:
    with cloud_storage("bucket", "other") as storage:
        storage.denied = set()
        # This module is about the stand-in. The platform sets the same variable, so that gcsfs asks nothing by gRPC.
        storage.environment["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
        yield storage


@pytest.fixture
def python(storage: Storage, tmp_path: Path) -> Callable[[str], str]:
    """Run Python code with both clients, where they read what the environment says about the stand-in."""

    def python(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", CLIENTS + textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True,
            env=environment(**storage.environment), timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return python


def test_gcsfs_puts_and_gets_files_folders_and_lists_of_them(python, storage, tmp_path):
    folder = tmp_path / "folder"
    (folder / "in ner/ü").mkdir(parents=True)
    contents = {"a.txt": b"a\r\n\n--==0==\n", "in ner/b#1%.bin": bytes(range(256)), "in ner/ü/c": b"c", "empty": b""}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    python("""
        fs.put("folder", "gs://bucket/all", recursive=True)
        fs.put(["folder/a.txt", "folder/empty"], ["gs://bucket/x/1", "gs://bucket/x/2"])
        fs.get("gs://bucket/all", "back", recursive=True)
        fs.get(["gs://bucket/x/1", "gs://bucket/x/2"], ["./one", "./two"])
        fs.get("gs://bucket/all/in ner/b#1%.bin", "single")
    """)
    assert storage.objects == {
        **{f"bucket/all/{name}": content for name, content in contents.items()},
        "bucket/x/1": contents["a.txt"],
        "bucket/x/2": b"",
    }
    back = {
        str(path.relative_to(tmp_path / "back")): path.read_bytes()
        for path in (tmp_path / "back").rglob("*")
        if path.is_file()
    }
    assert back == contents
    assert (tmp_path / "one").read_bytes() == contents["a.txt"]
    assert (tmp_path / "two").read_bytes() == b""
    assert (tmp_path / "single").read_bytes() == contents["in ner/b#1%.bin"]


def test_gcsfs_lists_moves_copies_and_removes(python, storage):
    for name in ("a/1.txt", "a/2.txt", "a/b/3.csv", "a.txt", "c/4.txt"):
        storage.put(f"bucket/{name}", name.encode(), contentType="text/plain")
    python("""
        assert sorted(fs.ls("gs://bucket")) == ["bucket/a", "bucket/a.txt", "bucket/c"]
        assert fs.find("gs://bucket/a") == ["bucket/a/1.txt", "bucket/a/2.txt", "bucket/a/b/3.csv"]
        assert fs.glob("gs://bucket/a/**/*.csv") == ["bucket/a/b/3.csv"]
        assert fs.glob("gs://bucket/*/?.txt") == ["bucket/a/1.txt", "bucket/a/2.txt", "bucket/c/4.txt"]
        assert fs.isdir("gs://bucket/a") and fs.isfile("gs://bucket/a.txt")
        assert fs.exists("gs://bucket/a/b") and not fs.exists("gs://bucket/a/x") and not fs.exists("gs://nowhere/a")
        info = fs.info("gs://bucket/a/1.txt")
        assert (info["size"], info["type"], info["contentType"]) == (7, "file", "text/plain"), info
        assert fs.cat_file("gs://bucket/a/b/3.csv", 2, 5) == b"b/3"
        fs.mv("gs://bucket/a/1.txt", "gs://bucket/moved.txt")
        fs.mv("gs://bucket/c", "gs://bucket/d", recursive=True)
        fs.cp("gs://bucket/a.txt", "gs://other/copy.txt")
        fs.rm("gs://bucket/a", recursive=True)
        try:
            fs.rm("gs://bucket/a/2.txt")
        except FileNotFoundError:
            pass
        else:
            raise AssertionError("it was removed twice")
    """)
    assert storage.objects == {
        "bucket/moved.txt": b"a/1.txt",
        "bucket/d/4.txt": b"c/4.txt",
        "bucket/a.txt": b"a.txt",
        "other/copy.txt": b"a.txt",
    }


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 5 * 2**20, 12 * 2**20 + 5])
def test_gcsfs_writes_and_reads_files_of_any_size(python, storage, tmp_path, size):
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    python("""
        from pathlib import Path
        content = Path("file").read_bytes()
        with fs.open("gs://bucket/at once", "wb") as file:
            file.write(content)
        with fs.open("gs://bucket/bit by bit", "wb", block_size=2**20) as file:
            for start in range(0, len(content), 999_983):
                file.write(content[start : start + 999_983])
        fs.put("file", "gs://bucket/put", chunksize=2**20)
        fs.pipe("gs://bucket/piped", content)
        with fs.open("gs://bucket/put", "rb", block_size=2**18) as file:
            assert file.read() == content
            file.seek(len(content) // 2)
            assert file.read(10) == content[len(content) // 2 :][:10]
    """)
    assert storage.objects == {f"bucket/{name}": content for name in ("at once", "bit by bit", "put", "piped")}


def test_googles_client_checks_what_it_uploads_and_downloads(python, storage, tmp_path):
    (tmp_path / "big").write_bytes(random.Random(1).randbytes(9 * 2**20))
    printed = python("""
        import io
        from google.api_core.exceptions import NotFound, PreconditionFailed

        bucket.blob("a/text").upload_from_string("text", content_type="text/plain", if_generation_match=0)
        bucket.blob("a/big").upload_from_filename("big")
        chunked = bucket.blob("a/chunked", chunk_size=2**20)
        chunked.upload_from_file(open("big", "rb"))
        with bucket.blob("a/stream").open("wb", chunk_size=2**18) as file:
            file.write(b"x" * 600_000)
        for name in ("a/big", "a/chunked"):
            assert bucket.blob(name).download_as_bytes(checksum="crc32c") == open("big", "rb").read()
            assert bucket.blob(name).download_as_bytes(start=5, end=9) == open("big", "rb").read()[5:10]
        assert bucket.get_blob("a/text").content_type == "text/plain"
        assert [blob.name for blob in bucket.list_blobs(prefix="a/", page_size=1)] == ["a/big", "a/chunked", "a/stream", "a/text"]
        assert bucket.get_blob("none") is None and bucket.exists()
        bucket.copy_blob(bucket.blob("a/text"), bucket, "copy")
        bucket.blob("b/text").rewrite(bucket.blob("a/text"))
        for error, call in [
            (PreconditionFailed, lambda: bucket.blob("a/text").upload_from_string("again", if_generation_match=0)),
            (NotFound, lambda: bucket.blob("none").delete()),
        ]:
            try:
                call()
            except error as caught:
                print(type(caught).__name__)
        bucket.delete_blobs([bucket.blob("copy"), bucket.blob("a/text")])
        print(bucket.test_iam_permissions(["storage.objects.get", "storage.objects.list"]))
    """)
    assert printed.split("\n")[:3] == [
        "PreconditionFailed",
        "NotFound",
        "['storage.objects.get', 'storage.objects.list']",
    ]
    assert sorted(storage.objects) == ["bucket/a/big", "bucket/a/chunked", "bucket/a/stream", "bucket/b/text"]
    assert storage.objects["bucket/a/stream"] == b"x" * 600_000


def test_long_lists_come_in_pages(python, storage):
    names = [f"{number % 7}/{number:05d}" for number in range(2500)]
    for name in names:
        storage.put(f"bucket/many/{name}", b"")
    printed = python("""
        print(len(fs.find("gs://bucket/many")), len(list(bucket.list_blobs(prefix="many/"))))
        pages = bucket.list_blobs(prefix="many/", delimiter="/", page_size=3)
        list(pages)
        print(sorted(pages.prefixes), len(fs.ls("gs://bucket/many")))
    """)
    assert printed.splitlines() == ["2500 2500", f"{[f'many/{digit}/' for digit in range(7)]} 7"]


def test_a_test_can_deny_a_permission_and_make_requests_fail(python, storage):
    storage.put("bucket/old", b"old")
    storage.denied = {"storage.objects.delete"}
    storage.failures = [503]
    python("""
        fs.pipe("gs://bucket/new", b"new")
        for call in (lambda: fs.pipe("gs://bucket/old", b"new"), lambda: fs.rm("gs://bucket/old")):
            try:
                call()
            except OSError as error:
                assert "storage.objects.delete" in str(error)
            else:
                raise AssertionError("it was allowed")
    """)
    assert storage.objects == {"bucket/old": b"old", "bucket/new": b"new"}
