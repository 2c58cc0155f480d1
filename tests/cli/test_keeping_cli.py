"""project, asset, fsck, gc, backup, restore, doctor as a user types them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assetforge.cli.app import run
from assetforge.paths import projects_dir
from assetforge.services.projects import create_project, open_project


@pytest.fixture
def cli(capsys):
    """``cli(words...)`` runs a command line and returns (exit code, document or text, stderr)."""

    def call(*words):
        capsys.readouterr()
        code = run([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in words else out, err

    return call


def test_a_film_from_nothing(cli, home):
    code, text, err = cli("project", "list")
    assert (code, text) == (0, "")
    assert "Make one" in err
    code, made, _ = cli("project", "new", "night-harbour", "--title", "Night Harbour", "--json")
    assert code == 0
    assert made["schema"] == "assetforge/project-new/1"
    assert Path(made["root"]) == projects_dir() / "night-harbour"
    assert cli("asset", "add", "mara", "--class", "woman", "--trigger", "mra")[0] == 0
    assert cli("asset", "add", "brass-lamp", "--type", "prop")[0] == 0
    code, listed, _ = cli("project", "list", "--json")
    assert listed["schema"] == "assetforge/project-list/1"
    assert [(film["name"], film["title"], film["assets"]) for film in listed["projects"]] == [
        ("night-harbour", "Night Harbour", 2)
    ]
    assert listed["projects"][0]["id"] == made["id"]
    code, shown, _ = cli("project", "show", "night-harbour", "--json")
    assert [asset["name"] for asset in shown["assets"]] == ["mara", "brass-lamp"]
    assert "Night Harbour" in cli("project", "show")[1]
    code, asset, _ = cli("asset", "set", "mara", "--description", "the captain", "--set", "height=1.7", "--json")
    assert asset["asset"]["description"] == "the captain"
    assert asset["asset"]["settings"] == {"height": 1.7}
    assert [asset["name"] for asset in cli("asset", "list", "--json", "--type", "prop")[1]["assets"]] == ["brass-lamp"]
    assert "woman" in cli("asset", "show", "mara")[1]
    assert cli("asset", "set", "mara", "--archived")[0] == 0
    assert "mara" not in cli("asset", "list")[1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("project", "new", "Night Harbour"), 2, "'night-harbour' would do"),
        (("project", "new", "film"), 2, "not empty"),
        (("project", "show", "nothing"), 3, "no film named 'nothing'"),
        (("--project", "nothing", "asset", "list"), 3, "no film named 'nothing'"),
        (("asset", "show", "nobody"), 3, "no asset named 'nobody'"),
        (("asset", "add", "x", "--type", "charakter"), 3, "character"),
        (("fsck", "--quick", "--deep"), 2, "exclude each other"),
        (("restore", "nothing.tar"), 3, "no backup"),
        (("gc", "--grace-hours", "0"), 2, "gc.grace_hours"),
    ],
)
def test_exit_codes_and_one_clear_sentence(cli, project, words, code, said):
    project.close()
    got, _, err = cli(*words)
    assert got == code
    assert said in err
    assert "Traceback" not in err


def test_a_film_that_cannot_be_read_is_listed_with_the_reason(cli, project):
    project.close()
    create_project("other").close()
    (projects_dir() / "other" / "project.toml").write_text("name = ")
    broken = projects_dir() / "broken"
    create_project("broken").close()
    (broken / ".assetforge" / "forge.db").write_bytes(b"x" * 5000)
    for left in broken.glob(".assetforge/forge.db-*"):
        left.unlink()
    code, listed, _ = cli("project", "list", "--json")
    assert code == 0
    assert {film["name"]: bool(film["problem"]) for film in listed["projects"]} == {
        "film": False,
        "other": True,
        "broken": True,
    }


def test_listing_films_imports_no_tables_and_no_torch(project):
    project.close()
    code = (
        "import sys; from assetforge.cli.app import run; assert run(['project', 'list']) == 0;"
        "heavy = {'sqlmodel', 'sqlalchemy', 'alembic', 'torch', 'numpy', 'PIL', 'pydantic', 'pluggy'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "film" in done.stdout


def test_fsck_says_no_and_repairs(cli, project):
    from assetforge.db.models import Image

    sha256 = project.blobs.put_bytes(b"picture")
    with project.write() as session:
        session.add(Image(sha256=sha256, size=7, format="PNG", mode="RGB", width=1, height=1, phash=0, sharpness=1.0))
    copy = project.paths.reports / "copy.png"
    project.blobs.copy_out(sha256, copy)
    assert cli("fsck")[0] == 0
    assert cli("fsck", "--deep", "--json")[1]["sound"] is True
    project.blobs.path(sha256).unlink()
    code, report, err = cli("fsck", "--quick", "--json")
    assert code == 1
    assert [problem["kind"] for problem in report["report"]["problems"]] == ["missing"]
    assert "--repair" in err
    assert cli("fsck", "--repair")[0] == 1
    (project.paths.jobs / "000001").mkdir()
    copy.rename(project.paths.jobs / "000001" / "a.png")
    assert cli("fsck", "--repair")[0] == 0
    assert cli("fsck")[0] == 0


def test_gc_asks_before_it_takes(cli, project):
    sha256 = project.blobs.put_bytes(b"old")
    os.utime(project.blobs.path(sha256), (time.time() - 200_000,) * 2)
    code, looked, _ = cli("gc", "--dry-run", "--json")
    assert (code, looked["dry_run"], looked["by_kind"], looked["trashed"]) == (0, True, {"blob": 1}, 3)
    code, _, err = cli("gc")
    assert code == 2
    assert "--yes" in err
    assert project.blobs.has(sha256)
    code, took, _ = cli("gc", "--yes", "--json")
    assert (code, took["dry_run"], took["by_kind"]) == (0, False, {"blob": 1})
    assert not project.blobs.has(sha256)
    assert "Nothing to remove" in cli("gc")[1]


def test_backup_restore_archive(cli, project, tmp_path):
    assert cli("asset", "add", "mara")[0] == 0
    code, text, _ = cli("backup", tmp_path / "film.tar")
    assert (code, text) == (0, f"{tmp_path / 'film.tar'}\n")
    assert cli("restore", tmp_path / "film.tar", "--check", "--json")[1]["backup"]["project_id"] == project.id
    assert cli("restore", tmp_path / "film.tar", "--to", tmp_path / "again")[0] == 0
    with open_project(tmp_path / "again") as again:
        assert again.id == project.id
    data = bytearray((tmp_path / "film.tar").read_bytes())
    data[3000] ^= 1
    (tmp_path / "bad.tar").write_bytes(data)
    assert cli("restore", tmp_path / "bad.tar", "--check")[0] == 1
    code, _, _ = cli("project", "archive", tmp_path / "whole.tar", "--remove")
    assert code == 2
    assert project.root.exists()
    assert cli("project", "archive", tmp_path / "whole.tar", "--remove", "--yes")[0] == 0
    assert not project.root.exists()
    assert cli("restore", tmp_path / "whole.tar")[0] == 0
    assert "mara" in cli("asset", "list")[1]


def test_going_back_to_an_older_database(cli, project, tmp_path):
    from assetforge.db.migrate import copy_database

    copy_database(project.paths.database, tmp_path / "before.db")
    assert cli("asset", "add", "mara")[0] == 0
    code, document, err = cli("restore", tmp_path / "before.db", "--json")
    assert code == 0
    assert document["missing"] == 0
    assert str(project.paths.backups) in err
    assert cli("asset", "list", "--json")[1]["assets"] == []
    assert cli("restore", document["replaced"])[0] == 0
    assert len(cli("asset", "list", "--json")[1]["assets"]) == 1


def test_doctor_names_what_is_wrong(cli, project):
    code, report, _ = cli("--project", "film", "doctor", "--json")
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
    assert verdicts["database"] == verdicts["project.toml"] == verdicts["settings"] == "ok"
    project.paths.config.write_text('name = "film"\n[plugins]\nrequired = ["assetforge-unheard-of"]\n[default]\n')
    code, text, _ = cli("--project", "film", "doctor")
    assert code == 1
    assert "Did you mean 'defaults'" in text
    project.paths.config.write_text('name = "film"\n[plugins]\nrequired = ["assetforge-unheard-of"]\n')
    code, text, _ = cli("--project", "film", "doctor")
    assert code == 1
    assert "assetforge-unheard-of" in text
    project.close()
    project.paths.database.write_bytes(b"y" * 5000)
    code, report, _ = cli("--project", "film", "doctor", "--json")
    assert {check["name"]: check["verdict"] for check in report["checks"]}["database"] == "fault"


def test_disks_are_told_apart():
    from assetforge.store.filesystems import filesystem_of, is_networked

    assert filesystem_of(Path("/proc")) == "proc"
    assert filesystem_of(Path("/"))
    assert [is_networked(kind) for kind in ("ext4", "apfs", "nfs4", "CIFS", "fuse.sshfs")] == [
        False,
        False,
        True,
        True,
        True,
    ]
