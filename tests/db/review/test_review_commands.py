"""The commands around versions, run in this process on the small film."""

import json

import pytest

from assetforge.cli.app import run as run_words
from assetforge.cli.exit_codes import ExitCode


@pytest.fixture
def run(world, capsys):
    """``run(words) -> (exit code, document or None, stdout, stderr)``."""

    def go(*words):
        capsys.readouterr()
        code = run_words([*words, "--project", "film"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in words else None, out, err

    return go


def test_versions_are_listed_shown_and_published(run, world):
    code, document, *_ = run("version", "list", "mara", "--json")
    assert code == ExitCode.OK
    assert document["schema"] == "assetforge/version-list/1"
    assert [version["address"] for version in document["versions"]] == ["mara/v2", "mara/v1"]
    _, document, *_ = run("version", "show", "mara@latest", "--json")
    assert document["version"]["params"]["rank"] == 16
    code, _, out, _ = run("version", "show", "mara/v1")
    assert "mara/d1" in out
    code, document, *_ = run("version", "publish", "mara/v2", "--json")
    assert document["path"].endswith("loras/mara/mara-v002.safetensors")
    assert document["written"] is True
    code, _, out, _ = run("version", "import", "mara", str(world.weights("foreign", 5.0)), "-m", "found it")
    assert out.startswith("mara/v3 (sd15)")


def test_reviews_and_aliases(run):
    code, _, _, err = run("approve", "mara/v1", "--why", "looks like her", "--unseen")
    assert code == ExitCode.OK
    assert "never compared" in err
    assert run("approve", "mara/v1")[0] == ExitCode.USAGE
    assert run("reject", "mara/v2", "-m", "melts")[0] == ExitCode.OK
    assert run("alias", "set", "mara@hero", "mara/v1", "--why", "posters")[2] == "mara@hero is mara/v1.\n"
    assert run("alias", "set", "mara@latest", "mara/v1")[0] == ExitCode.USAGE
    _, document, *_ = run("alias", "log", "mara", "--json")
    assert [entry["name"] for entry in document["entries"]] == ["hero", "rejected", "approved"]
    assert run("version", "show", "mara/v9")[0] == ExitCode.NOT_FOUND


def test_suites(run, tmp_path):
    _, document, *_ = run("suite", "list", "--asset", "mara", "--json")
    assert [(suite["name"], suite["default"], suite["pictures"]) for suite in document["suites"]] == [
        ("tiny-core", True, 8)
    ]
    _, document, *_ = run("suite", "show", "tiny-core", "--asset", "mara", "--json")
    assert document["cells"][0]["prompt"] == "mrvale robot on a hill"
    assert "5 of the bare base" in run("suite", "show", "tiny-core")[2]
    file = tmp_path / "broken.toml"
    file.write_text("name = 3")
    assert run("suite", "add", str(file))[0] == ExitCode.USAGE


def test_render_and_compare_without_waiting_say_what_is_queued(run, world):
    code, document, _, err = run("render", "mara/v2", "--json")
    assert code == ExitCode.OK
    assert len(document["jobs"]) == 1
    assert "assetforge work" in err
    code, document, *_ = run("compare", "mara/v2", "--json")
    assert (document["baseline"], document["state"], document["report"]) == ("mara/v1", "queued", None)
    assert set(document["jobs"]) >= {1}


def test_a_finished_comparison_prints_its_figures_and_writes_the_report(run, world, tmp_path):
    world.compare("mara/v2")
    code, document, *_ = run("compare", "mara/v2", "--json")
    assert code == ExitCode.OK
    assert document["summary"]["verdict_inputs"]["probe"]["core"]["cells"] == 4
    assert "plan" not in document["summary"]
    assert document["report"].endswith("reports/mara-v2-against-v1-tiny-core.html")
    target = tmp_path / "sheet.html"
    code, _, out, _ = run("compare", "mara/v2", "--report", str(target))
    assert target.is_file()
    assert out.startswith("◐ INCONCLUSIVE  mara/v2 against mara/v1  tiny-core\n")
    assert out.splitlines()[-1] == "look    assetforge review mara/v2"
