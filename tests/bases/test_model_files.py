"""Digests of models on disk, and models in the hub's cache."""

import hashlib
import logging
import os
from pathlib import Path

import pytest

from assetforge.errors import NotFoundError
from assetforge.paths import hub_cache_dir
from assetforge.store import model_digest as module
from assetforge.store.hub_cache import find_snapshot, is_hub_id
from assetforge.store.model_digest import model_digest
from assetforge.store.model_places import find_place, is_place


def sha(data):
    return hashlib.sha256(data).hexdigest()


def test_a_folder_is_known_by_the_names_and_hashes_of_its_files(tmp_path):
    for name, data in {"b/x.safetensors": b"1", "a.json": b"2", "b/chat.jinja": b"3", "b/notes.md": b"4"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    lines = f"a.json {sha(b'2')}\nb/chat.jinja {sha(b'3')}\nb/x.safetensors {sha(b'1')}"
    assert model_digest(tmp_path) == sha(lines.encode())
    assert model_digest(tmp_path / "a.json") == sha(b"2")


def test_a_single_file_is_known_by_its_bytes_and_the_folder_that_completes_it(tmp_path):
    file, config = tmp_path / "film.safetensors", tmp_path / "config"
    config.mkdir()
    file.write_bytes(b"weights")
    (config / "model_index.json").write_bytes(b"{}")
    both = model_digest(file, config)
    assert both == sha(f"checkpoint {sha(b'weights')}\nconfig/model_index.json {sha(b'{}')}".encode())
    assert model_digest(file.rename(tmp_path / "other.safetensors"), config) == both
    (config / "model_index.json").write_bytes(b"{ }")
    assert model_digest(tmp_path / "other.safetensors", config) != both
    with pytest.raises(NotFoundError, match="no model in"):
        model_digest(tmp_path / "other.safetensors", tmp_path / "gone")


def test_big_files_are_read_once_however_they_are_reached(tmp_path, monkeypatch):
    model = tmp_path / "model"
    model.mkdir()
    (tmp_path / "blob").write_bytes(bytes(2 << 20))
    (model / "x.safetensors").symlink_to(tmp_path / "blob")
    (model / "small.json").write_text("{}")
    heard = []
    first = model_digest(model, progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == ((2 << 20) + 2, (2 << 20) + 2)
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)

    read = []
    monkeypatch.setattr(module, "_hash_file", lambda file, counter: read.append(file.name) or sha(file.read_bytes()))
    assert model_digest(model) == first
    assert model_digest(tmp_path / "blob") == sha(bytes(2 << 20))
    assert read == ["small.json"]
    os.utime(tmp_path / "blob", ns=(1, 1))
    assert model_digest(model) == first
    assert sorted(read) == ["small.json", "small.json", "x.safetensors"]


def test_a_damaged_memory_is_not_believed(tmp_path, home):
    file = tmp_path / "x.safetensors"
    file.write_bytes(bytes(2 << 20))
    first = model_digest(file)
    for memory in (home / "cache" / "model-digests").iterdir():
        memory.write_bytes(b"{")
    assert model_digest(file) == first


def test_many_files_are_hashed_at_once_and_an_error_ends_all(tmp_path, monkeypatch):
    for number in range(20):
        (tmp_path / f"{number}.safetensors").write_bytes(bytes([number]) * 100_000)
    names = sorted(f"{number}.safetensors" for number in range(20))
    lines = [f"{name} {sha(bytes([int(name.split('.')[0])]) * 100_000)}" for name in names]
    assert model_digest(tmp_path) == sha("\n".join(lines).encode())

    def broken(done, total):
        raise RuntimeError("the terminal is gone")

    with pytest.raises(RuntimeError, match="terminal"):
        model_digest(tmp_path, progress=broken)


def test_a_long_wait_without_progress_is_announced(tmp_path, monkeypatch, caplog):
    (tmp_path / "x.safetensors").write_bytes(b"12345")
    monkeypatch.setattr(module, "_WORTH_A_WORD", 5)
    with caplog.at_level(logging.WARNING):
        model_digest(tmp_path, progress=lambda *_: None)
        assert caplog.messages == []
        model_digest(tmp_path)
    assert caplog.messages == [f"Reading 0.0 GB of {tmp_path} once, to know the model by its hash."]


def test_where_the_hub_keeps_its_files(tmp_path, monkeypatch):
    assert hub_cache_dir() == tmp_path / "hf" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert hub_cache_dir() == tmp_path / "elsewhere"
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.delenv("HF_HOME")
    assert hub_cache_dir() == Path.home() / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert hub_cache_dir() == tmp_path / "xdg" / "huggingface" / "hub"


def test_hub_ids():
    assert all(is_hub_id(text) for text in ("org/name", "o-r.g/n_a.me@main", "org/name@refs/pr/3"))
    assert not any(is_hub_id(text) for text in ("name", "/org/name", "org/name/x", "org/../x", "org/name@../x", "~/x"))
    assert [text for text in ("mara", "./x", "~/x", "a/b", "x.safetensors") if not is_place(text)] == ["mara"]


def test_a_snapshot_is_found_by_branch_and_by_commit(write_folder, write_snapshot, tmp_path):
    folder = write_folder(tmp_path / "made")
    old = write_snapshot(folder, "org/name", "aaaa", branch="v1/old")
    new = write_snapshot(folder, "org/name", "bbbb")
    assert find_snapshot("org/name").path == new
    assert find_snapshot("org/name@main").pinned == "org/name@bbbb"
    assert find_snapshot("org/name@v1/old").path == find_snapshot("org/name@aaaa").path == old
    assert find_place("org/name").source == "org/name@bbbb"
    assert model_digest(new) == model_digest(folder)


def test_what_is_not_in_the_cache_is_said_with_the_command_that_fetches_it(write_folder, write_snapshot, tmp_path):
    with pytest.raises(NotFoundError, match=r"`hf download org/name` fetches it; assetforge fetches nothing by itself"):
        find_snapshot("org/name")
    write_snapshot(write_folder(tmp_path / "made"), "org/name", "aaaa", branch="")
    with pytest.raises(NotFoundError, match=r"no revision main of org/name; it has aaaa.*`hf download org/name`"):
        find_snapshot("org/name")
    with pytest.raises(NotFoundError, match=r"no revision v2 .*`hf download org/name --revision v2`"):
        find_snapshot("org/name@v2")
    with pytest.raises(NotFoundError, match="no file or folder /nowhere/at/all"):
        find_place("/nowhere/at/all")


def test_a_link_into_the_cache_keeps_its_telling_name(tmp_path):
    (tmp_path / "blob").write_bytes(b"x")
    (tmp_path / "film.safetensors").symlink_to(tmp_path / "blob")
    assert find_place(str(tmp_path / "film.safetensors")).name == "film.safetensors"
