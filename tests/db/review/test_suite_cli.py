"""``assetforge suite`` and ``assetforge render --quick`` as people and scripts use them."""

import json

import pytest

from assetforge.cli.app import run as run_words
from assetforge.cli.exit_codes import ExitCode
from assetforge.services.assets import add_asset
from assetforge.services.releases import approve
from assetforge.services.versions import import_version

DUO = """
name = "duo"
title = "Two of them"
family = "sd15"
asset_types = ["character"]
steps = 2
cfg = 4
width = 32
height = 32

[[blocks]]
name = "core"
prompts = ["{trigger} {class} on a hill", "{trigger} {class} at night"]
seeds = [1, 2]
quick = 1
reserve = ["{trigger} {class} in the rain"]

[[blocks]]
name = "pairs"
prompts = ["{trigger} {class} and {other}"]
seeds = [5]
beside = "cast"
"""


@pytest.fixture
def run(world, capsys, tmp_path):
    """``run(words) -> (exit code, document or None, stdout, stderr)``, in a film that has the suite ``duo``."""

    def go(*words):
        capsys.readouterr()
        code = run_words([*words, "--project", "film"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in words and code == ExitCode.OK else None, out, err

    (tmp_path / "duo.toml").write_text(DUO)
    go("suite", "add", str(tmp_path / "duo.toml"))
    return go


def add_ilse(world):
    add_asset(world.project, "ilse", "character", trigger="ilsx")
    import_version(world.project, "ilse", world.weights("ilse", 9.0))
    approve(world.project, "ilse/v1", why="good", review="skipped")


def test_a_list_says_what_a_suite_costs(run):
    code, document, *_ = run("suite", "list", "--json")
    assert code == ExitCode.OK
    duo = next(one for one in document["suites"] if one["name"] == "duo")
    figures = ("pictures", "quick", "reserve", "controls", "in_all", "second_look", "max_renders")
    assert [duo[name] for name in figures] == [5, 2, 2, 5, 15, True, 400]
    text = run("suite", "list")[2]
    assert text.splitlines()[0].split()[3:9] == ["pictures", "quick", "reserve", "base", "in", "all"]


def test_show_counts_for_the_asset_and_says_who_is_missing(run, world):
    assert "5 of each version, and 5 of the bare base: 15 for a first comparison" in run("suite", "show", "duo")[2]
    _, document, *_ = run("suite", "show", "duo", "--asset", "mara", "--json")
    assert [document[name] for name in ("pictures", "controls", "in_all", "reserve")] == [4, 4, 12, 2]
    assert document["left_out"] == {"pairs": "No other asset has an approved version for sd15 models."}
    text = run("suite", "show", "duo", "--asset", "mara")[2]
    assert "left out  pairs: No other asset has an approved version" in text
    add_ilse(world)
    _, document, *_ = run("suite", "show", "duo", "--asset", "mara", "--json")
    assert document["beside"] == {"pairs": ["ilse/v1"]}
    assert document["cells"][-1]["prompt"] == "mrvale robot and ilsx"
    assert document["cells"][-1]["beside"]["name"] == "ilse/v1"
    assert "beside    pairs: ilse/v1" in run("suite", "show", "duo", "--asset", "mara")[2]
    assert run("suite", "show")[0] == ExitCode.USAGE


def test_show_without_a_name_is_the_suite_that_the_asset_is_rendered_through(run):
    run("asset", "set", "mara", "--suite", "duo")
    _, document, *_ = run("suite", "show", "--asset", "mara", "--json")
    assert document["name"] == "duo"


def test_a_reserve_beyond_the_budget_is_said_to_stay_unused(run, monkeypatch):
    assert "7 of the 400 that [regression] max_renders allows" in run("suite", "show", "duo")[2]
    monkeypatch.setenv("ASSETFORGE_REGRESSION__MAX_RENDERS", "6")
    assert "7 are more than the 6 that [regression] max_renders allows" in run("suite", "show", "duo")[2]
    monkeypatch.setenv("ASSETFORGE_REGRESSION__EXTEND", "false")
    assert "[regression] extend = false leaves unused" in run("suite", "show", "duo")[2]


def test_own_prompts_are_added_listed_and_removed(run):
    code, document, _, err = run(
        "suite", "own", "mara", "--add", "{trigger} {class} at the pier", "--add", "the empty pier", "--json"
    )
    assert code == ExitCode.OK
    assert document["schema"] == "assetforge/suite-own/1"
    assert (document["prompts"], document["changed"]) == (["{trigger} {class} at the pier", "the empty pier"], True)
    assert "nothing calls mara: the empty pier" in err
    assert "the empty pier" in run("suite", "own", "mara", "--list")[2]
    assert run("suite", "own", "mara", "--list", "--add", "x")[0] == ExitCode.USAGE
    _, document, *_ = run("suite", "show", "duo", "--asset", "mara", "--json")
    assert [cell["prompt"] for cell in document["cells"] if cell["block"] == "own"] == [
        "mrvale robot at the pier"
    ] * 2 + ["the empty pier"] * 2
    assert "own prompts of mara, film" in run("suite", "show", "duo", "--asset", "mara")[2]
    _, document, *_ = run("suite", "own", "mara", "--remove", "2", "--remove", "1", "--json")
    assert document["prompts"] == []
    assert "has no own prompts" in run("suite", "own", "mara")[3]
    assert run("suite", "own", "mara", "--add", "{triger} walks")[0] == ExitCode.USAGE
    assert run("suite", "own", "mara", "--remove", "gone")[0] == ExitCode.NOT_FOUND


def test_markup_in_own_prompts_is_printed_as_it_is(run):
    run("suite", "own", "mara", "--add", "{trigger} [red]at the pier[/red]")
    assert "{trigger} [red]at the pier[/red]" in run("suite", "own", "mara")[2]


def test_render_takes_the_quick_size_and_says_what_it_leaves_out(run, world):
    _, document, *_ = run("render", "mara/v2", "--suite", "duo", "--quick", "--json")
    assert document["suite"] == "duo-quick"
    assert [one["cells"] for one in document["evaluations"]] == [2, 2]
    assert document["left_out"] == {}
    assert "The block pairs was left out." in run("render", "mara/v2", "--suite", "duo")[2]
    assert run("render", "mara/v2", "--suite", "tiny-core", "--quick")[0] == ExitCode.USAGE
