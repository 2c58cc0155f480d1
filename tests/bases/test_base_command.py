"""``assetforge base`` as a user or a script calls it."""

import json

import pytest

from assetforge.cli.app import run


@pytest.fixture
def sd15(write_folder, tmp_path):
    settings = {"unet": {"sample_size": 32}, "vae": {"block_out_channels": [1, 2, 3]}}
    return write_folder(tmp_path / "sd15", settings=settings)


def document(capsys, *words):
    capsys.readouterr()
    code = run([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_add_list_show_remove(sd15, capsys):
    code, added = document(capsys, "base", "add", "our-sd", sd15, "--licence", "CC0-1.0", "--resolution", 96)
    assert (code, added["schema"]) == (0, "assetforge/base-add/1")
    assert added["base"] | {"digest": ""} == {
        "name": "our-sd",
        "family": "sd15",
        "path": str(sd15),
        "digest": "",
        "resolution": 96,
        "licence": "CC0-1.0",
        "config": None,
        "registered": True,
    }
    code, listed = document(capsys, "base", "list")
    assert (code, listed["schema"]) == (0, "assetforge/base-list/1")
    assert [(base["name"], base["registered_by"]) for base in listed["bases"]] == [
        ("our-sd", "you"),
        ("example-linear", "assetforge-example"),
    ]
    assert listed["bases"][0]["digest"] == added["base"]["digest"]
    assert document(capsys, "base", "list", "--family", "sd15")[1]["bases"] == listed["bases"][:1]
    code, shown = document(capsys, "base", "show", "our-sd")
    assert (code, shown["schema"], shown["base"]) == (0, "assetforge/base-show/1", added["base"])
    code, removed = document(capsys, "base", "remove", "our-sd")
    assert (code, removed) == (0, {"schema": "assetforge/base-remove/1", "name": "our-sd"})
    assert document(capsys, "base", "show", "our-sd")[0] == 3
    assert document(capsys, "base", "show", sd15)[1]["base"]["name"] == "sd15"


def test_errors_have_their_exit_codes(sd15, tmp_path, capsys):
    assert document(capsys, "base", "add", "x", "org/name")[0] == 3
    assert document(capsys, "base", "add", "x", tmp_path)[0] == 2
    assert document(capsys, "base", "remove", "example-linear")[0] == 3
    code, said = document(capsys, "base", "add", "x", sd15, "--family", "sd51")
    assert (code, said["error"]) == (2, "UsageError")


def test_people_read_facts_and_what_is_missing(sd15, capsys):
    assert run(["base", "add", "our-sd", str(sd15)]) == 0
    assert "family      sd15\n" in capsys.readouterr().out
    sd15.rename(sd15.with_name("away"))
    assert run(["base", "list"]) == 0
    assert "our-sd: There is no file or folder" in capsys.readouterr().out


def test_base_list_needs_no_film_and_hashes_nothing(sd15, capsys, monkeypatch):
    run(["base", "add", "our-sd", str(sd15)])
    monkeypatch.setattr("assetforge.store.model_digest._hash_file", lambda *_: pytest.fail("hashed"))
    assert run(["base", "list"]) == 0
