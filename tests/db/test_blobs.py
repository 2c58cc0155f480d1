import errno
import hashlib
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from assetforge.errors import StorageError
from assetforge.store.blobs import BlobStore, hash_file

fork = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path):
    return BlobStore(tmp_path / "blobs")


def _visible(store):
    """Everything in the store but its lock."""
    return [path for path in store.root.rglob("*") if path.is_file() and path.name != ".lock"]


def test_put_and_read_back(store, tmp_path):
    source = tmp_path / "picture"
    source.write_bytes(os.urandom(3_000_001))
    sha256, size = store.put_file(source)
    assert sha256 == hashlib.sha256(source.read_bytes()).hexdigest() == hash_file(source)[0]
    assert size == 3_000_001
    assert store.path(sha256) == store.root / sha256[:2] / sha256[2:]
    assert store.has(sha256)
    assert store.verify(sha256)
    assert store.size(sha256) == size
    assert store.read_bytes(sha256) == source.read_bytes()
    assert list(store) == [sha256]
    assert _visible(store) == [store.path(sha256)]


def test_the_result_is_read_only_and_the_source_is_not_linked(store, tmp_path):
    source = tmp_path / "picture"
    source.write_bytes(b"first")
    sha256, _ = store.put_file(source)
    assert store.path(sha256).stat().st_mode & 0o777 == 0o444
    source.write_bytes(b"second")
    assert store.verify(sha256)


def test_bytes_of_nothing(store):
    sha256 = store.put_bytes(b"")
    assert store.verify(sha256)
    assert store.size(sha256) == 0


@pytest.mark.parametrize("name", ["[a]*?.png", "line\nbreak.png", "  ", "-rf", "ünï 🎬.png", "a" * 250])
def test_names_of_sources_mean_nothing(store, tmp_path, name):
    source = tmp_path / name
    source.write_bytes(b"x")
    sha256, _ = store.put_file(source)
    store.copy_out(sha256, tmp_path / "out[1]" / name)
    store.place(sha256, tmp_path / "in\n" / name)
    assert (tmp_path / "out[1]" / name).read_bytes() == b"x"
    assert (tmp_path / "in\n" / name).read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_hashes_name_blobs(store, name):
    with pytest.raises(StorageError):
        store.path(name)


def test_what_cannot_be_read_is_said(store, tmp_path):
    with pytest.raises(StorageError, match=r"missing\.png could not be read"):
        store.put_file(tmp_path / "missing.png")
    with pytest.raises(StorageError, match="is missing"):
        store.copy_out("0" * 64, tmp_path / "x")
    with pytest.raises(StorageError, match="is missing"):
        store.place("0" * 64, tmp_path / "x")
    with pytest.raises(StorageError):
        store.put_file(tmp_path)
    assert not (tmp_path / "x").exists()
    assert _visible(store) == []


def test_verify_finds_one_flipped_bit(store):
    sha256 = store.put_bytes(os.urandom(100_000))
    path = store.path(sha256)
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(77_777)
        byte = stream.read(1)[0]
        stream.seek(77_777)
        stream.write(bytes([byte ^ 1]))
    assert not store.verify(sha256)
    assert not store.verify("0" * 64)


def test_putting_again_heals_a_truncated_blob(store):
    data = os.urandom(1000)
    sha256 = store.put_bytes(data)
    store.path(sha256).chmod(0o644)
    os.truncate(store.path(sha256), 10)
    store.put_bytes(data)
    assert store.verify(sha256)


def test_putting_again_renews_the_grace_time(store):
    sha256 = store.put_bytes(b"old")
    os.utime(store.path(sha256), (1, 1))
    inode = store.path(sha256).stat().st_ino
    store.put_bytes(b"old")
    assert store.path(sha256).stat().st_mtime > time.time() - 60
    assert store.path(sha256).stat().st_ino == inode


def test_a_published_file_is_an_own_writable_copy_and_replaces_the_old_one(store, tmp_path):
    first, second = store.put_bytes(b"first"), store.put_bytes(b"second")
    out = tmp_path / "loras" / "mara-v001.safetensors"
    store.copy_out(first, out)
    store.copy_out(second, out)
    out.write_bytes(b"edited by somebody")
    assert store.verify(first)
    assert store.verify(second)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_damaged_blob_is_never_published(store, tmp_path):
    sha256 = store.put_bytes(b"first")
    store.path(sha256).chmod(0o644)
    store.path(sha256).write_bytes(b"worse")
    with pytest.raises(StorageError, match="damaged"):
        store.copy_out(sha256, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_placing_uses_no_space_and_replaces(store, tmp_path):
    first, second = store.put_bytes(b"first"), store.put_bytes(b"second")
    target = tmp_path / "inputs" / "a.png"
    store.place(first, target)
    store.place(first, target)
    store.place(second, target)
    assert target.stat().st_ino == store.path(second).stat().st_ino
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_placing_on_another_filesystem_copies(store, tmp_path):
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second filesystem here")
    with tempfile.TemporaryDirectory(dir=other) as folder:
        sha256 = store.put_bytes(b"first")
        store.place(sha256, Path(folder) / "a")
        assert (Path(folder) / "a").read_bytes() == b"first"


def test_a_batch_becomes_visible_at_its_end_and_not_at_all_when_it_fails(store):
    with store.batch() as batch:
        hashes = {batch.put_bytes(str(number % 50).encode()) for number in range(100)}
        assert not any(store.has(sha256) for sha256 in hashes)
    assert set(store) == hashes
    assert len(hashes) == 50

    def fail_half_way():
        with store.batch() as batch:
            batch.put_bytes(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert set(store) == hashes
    assert len(_visible(store)) == 50


def _put_all(store, files, results):
    results.put([store.put_file(path)[0] for path in files])


def test_several_processes_put_the_same_files(store, tmp_path):
    files = []
    for number in range(40):
        files.append(tmp_path / f"{number}")
        files[-1].write_bytes(hashlib.sha256(str(number).encode()).digest() * 5000)
    results = fork.Queue()
    workers = [fork.Process(target=_put_all, args=(store, files, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert all(answer == answers[0] for answer in answers)
    assert sorted(answers[0]) == list(store)
    assert all(store.verify(sha256) for sha256 in store)
    assert len(_visible(store)) == 40


def test_a_killed_put_leaves_nothing_visible(store, tmp_path):
    fifo = tmp_path / "slow"
    os.mkfifo(fifo)
    code = f"from pathlib import Path; from assetforge.store.blobs import BlobStore; BlobStore(Path({str(store.root)!r})).put_file(Path({str(fifo)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code])
    with fifo.open("wb", buffering=0) as stream:
        stream.write(b"x" * 200_000)
        while not any(path.stat().st_size for path in store.incoming.glob("*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(store) == []
    assert not [path for path in _visible(store) if path.parent != store.incoming]


def test_a_source_that_grows_is_stored_as_it_was_read(store, tmp_path):
    source = tmp_path / "growing"
    source.write_bytes(b"x" * 5_000_000)
    stop = fork.Event()

    def grow():
        with source.open("ab") as stream:
            while not stop.is_set():
                stream.write(b"y" * 1000)
                stream.flush()
                time.sleep(0.001)

    worker = fork.Process(target=grow)
    worker.start()
    try:
        hashes = [store.put_file(source) for _ in range(5)]
    finally:
        stop.set()
        worker.join()
    for sha256, size in hashes:
        assert store.verify(sha256)
        assert store.size(sha256) == size


def _put_with_limit(store, path, results):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try:
        store.put_file(path)
    except StorageError as error:
        results.put(str(error))
    else:
        results.put("")


def test_a_write_that_fails_half_way_leaves_nothing(store, tmp_path):
    big = tmp_path / "big"
    big.write_bytes(b"x" * 3_000_000)
    results = fork.Queue()
    worker = fork.Process(target=_put_with_limit, args=(store, big, results))
    worker.start()
    assert "larger than this system allows" in results.get(timeout=30)
    worker.join()
    assert _visible(store) == []


def test_a_full_disk_is_said_and_leaves_nothing(store, tmp_path, monkeypatch):
    # /dev/full really answers "no space left" to every write.
    big = tmp_path / "big"
    big.write_bytes(b"x" * 3_000_000)
    real = os.write

    def write(descriptor, data):
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            return real(full, data)
        finally:
            os.close(full)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StorageError, match="disk is full") as caught:
        store.put_file(big)
    with pytest.raises(StorageError, match="disk is full"), store.batch() as batch:
        batch.put_bytes(b"y")
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert _visible(store) == []
