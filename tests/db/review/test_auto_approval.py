"""Nothing is approved by itself unless project.toml says so in words."""

import threading

import pytest

from assetforge.db.models_jobs import Comparison, Evaluation
from assetforge.errors import ConfigError
from assetforge.paths import user_config_file
from assetforge.services.auto_approval import apply_policy
from assetforge.services.project_config import set_value
from assetforge.services.releases import alias_log, approve, reject
from assetforge.services.sequels import Sequels
from assetforge.services.versions import resolve_version

CLEAR = {"name": "validity", "title": "number of broken pictures", "outcome": "clear"}


@pytest.fixture
def passing(world):
    """A function that compares mara/v2 with the approved mara/v1, and has the verdict that a suite with more prompts would give."""
    approve(world.project, "mara/v1", why="the first", review="skipped")
    info = world.compare("mara/v2")

    def make(outcome="pass", guards=(CLEAR,), **more):
        with world.project.write() as session:
            row = session.get_one(Comparison, info.id)
            verdict = {
                **row.summary["verdict"],
                "outcome": outcome,
                "headline": "mara/v2 is not worse",
                "not_measured": [],
            }
            row.summary = {**row.summary, "verdict": {**verdict, "guards": list(guards), **more}}
            session.add(row)
        return info.id

    return make


@pytest.fixture
def policy(world):
    set_value(world.project.paths.config, "approval.automatic", "when it passes")


def stage(world):
    return resolve_version(world.project, "mara/v2").stage


def look(world):
    said = []
    Sequels(world.project, said.append)()
    return said


def test_never_without_the_words(world, passing):
    number = passing()
    assert not apply_policy(world.project, number)
    assert look(world) == []
    assert stage(world) == "candidate"


@pytest.mark.usefixtures("policy")
def test_when_it_passes_the_policy_approves_once_and_says_so(world, passing):
    number = passing()
    assert apply_policy(world.project, number)
    assert not apply_policy(world.project, number)
    entry = alias_log(world.project, "mara", "approved")[0]
    assert (entry.version, entry.previous, entry.actor) == ("mara/v2", "mara/v1", "policy")
    assert entry.why == 'project.toml says [approval] automatic = "when it passes", and mara/v2 is not worse'
    assert entry.evidence["comparison"] == number
    assert entry.evidence["outcome"] == "pass"
    assert entry.evidence["policy"] == "when it passes"
    assert "without a person" in entry.evidence["unseen"]
    assert len(alias_log(world.project, "mara")) == 2


@pytest.mark.usefixtures("policy")
def test_the_watcher_sees_to_it_and_says_once_why_not(world, passing):
    passing(guards=[CLEAR, {"name": "bleed", "title": "leak", "outcome": "suspect"}])
    said = []
    sequels = Sequels(world.project, said.append)
    sequels()
    sequels()
    assert said == ["mara/v2 waits for a person: leak is suspect"]
    passing()
    sequels()
    assert said[1:] == ["the approval of mara/v2 follows from the policy of the film"]
    sequels()
    assert len(said) == 2
    assert stage(world) == "approved"


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize(
    "verdict",
    [
        {"outcome": "inconclusive"},
        {"outcome": "regressed"},
        {"guards": [{**CLEAR, "outcome": "veto"}]},
        {"guards": [CLEAR, {**CLEAR, "outcome": "suspect"}]},
        {"guards": [{**CLEAR, "outcome": "not measured"}], "not_measured": [CLEAR["title"]]},
        {"not_measured": ["faces"]},
    ],
)
def test_only_a_pass_with_everything_measured_and_clear(world, passing, verdict):
    assert not apply_policy(world.project, passing(**verdict))
    assert stage(world) == "candidate"


@pytest.mark.usefixtures("policy")
def test_an_open_guard_rail_lies_within_its_margin_and_is_no_objection(world, passing):
    assert apply_policy(world.project, passing(guards=[CLEAR, {**CLEAR, "outcome": "open"}]))
    assert stage(world) == "approved"


@pytest.mark.usefixtures("policy")
def test_a_summary_without_a_verdict_approves_nothing(world, passing):
    number = passing()
    with world.project.write() as session:
        row = session.get_one(Comparison, number)
        row.summary = {key: value for key, value in row.summary.items() if key != "verdict"}
        session.add(row)
    assert not apply_policy(world.project, number)


@pytest.mark.usefixtures("policy")
def test_what_a_person_decided_stays(world, passing):
    number = passing()
    reject(world.project, "mara/v2", why="hands melt", review="skipped")
    assert not apply_policy(world.project, number)
    assert stage(world) == "rejected"


@pytest.mark.usefixtures("policy")
def test_going_back_is_not_undone(world, passing):
    number = passing()
    assert apply_policy(world.project, number)
    approve(world.project, "mara/v1", why="the scar", review="skipped")
    assert not apply_policy(world.project, number)
    assert look(world) == []
    assert resolve_version(world.project, "mara@approved").number == 1


@pytest.mark.usefixtures("policy")
def test_an_older_version_or_another_baseline_is_a_persons_decision(world, passing):
    number = passing()
    approve(world.project, "mara/v2", why="second", review="skipped")
    back = world.compare("mara/v1", "mara/v2")
    with world.project.write() as session:
        row = session.get_one(Comparison, back.id)
        row.summary = {**row.summary, "verdict": {**row.summary["verdict"], "outcome": "pass", "guards": []}}
        session.add(row)
    assert not apply_policy(world.project, back.id)
    assert not apply_policy(world.project, number)


@pytest.mark.usefixtures("policy")
def test_the_newest_comparison_has_the_last_word(world, passing):
    number = passing()
    world.compare("mara/v2", "mara/v1", metrics=["probe"])
    assert not apply_policy(world.project, number)


@pytest.mark.usefixtures("policy")
def test_a_quick_look_is_not_enough(world, passing):
    number = passing()
    with world.project.write() as session:
        row = session.get_one(Evaluation, session.get_one(Comparison, number).evaluation_id)
        row.plan = {**row.plan, "suite": {**row.plan["suite"], "name": "tiny-core-quick"}}
        session.add(row)
    assert not apply_policy(world.project, number)


@pytest.mark.usefixtures("policy")
def test_two_at_once_approve_once(world, passing):
    number, done = passing(), []
    threads = [threading.Thread(target=lambda: done.append(apply_policy(world.project, number))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False, False, False, True]
    assert len(alias_log(world.project, "mara", "approved")) == 2


def test_neither_a_user_nor_the_environment_speaks_for_the_film(world, passing, monkeypatch):
    monkeypatch.setenv("ASSETFORGE_APPROVAL__AUTOMATIC", "when it passes")
    monkeypatch.setenv("ASSETFORGE_APPROVAL__WORST_CELLS", "1")
    assert not apply_policy(world.project, passing())
    assert world.project.config.approval.worst_cells == 4
    user_config_file().write_text('[approval]\nautomatic = "when it passes"\n')
    with pytest.raises(ConfigError, match="the word of a film"):
        apply_policy(world.project, 1)


@pytest.mark.parametrize(("key", "value"), [("automatic", "always"), ("automatic", True), ("worst_cells", 0)])
def test_other_words_are_refused(world, key, value):
    with pytest.raises(ConfigError, match=f"approval.{key}"):
        set_value(world.project.paths.config, f"approval.{key}", value)
