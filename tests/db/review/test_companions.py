"""Blocks in which another asset of the film is worn beside the version under test, and the film's own prompts."""

import pytest
from sqlmodel import select

from assetforge.api.job import RenderPayload
from assetforge.db.models import Alias, Asset
from assetforge.db.models_jobs import Comparison, Evaluation
from assetforge.errors import NotFoundError, UsageError
from assetforge.services import comparison, rendering
from assetforge.services.assets import add_asset, get_asset, set_asset
from assetforge.services.companions import MOST_COMPANIONS, find_company
from assetforge.services.comparison import get_comparison, request_comparison
from assetforge.services.drift import request_drift_checks
from assetforge.services.extension import extend
from assetforge.services.own_prompts import change_own_prompts, own_prompts
from assetforge.services.releases import approve
from assetforge.services.rendering import request_render, request_renders
from assetforge.services.report import write_report
from assetforge.services.suites import add_suite, choose_suite, get_suite
from assetforge.services.versions import import_version

DUO = """
name = "duo"
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

[[blocks]]
name = "pairs"
prompts = ["{trigger} {class} and {other} {other_class}", "{other} behind {trigger} {class}"]
seeds = [5]
beside = "cast"
beside_strength = 0.8
reserve = ["{trigger} {class} below {other}"]
"""


@pytest.fixture
def duo(world, tmp_path):
    """The film with the suite ``duo`` for mara; a function that adds it with changes."""

    def put(*changes):
        text = DUO
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "duo.toml"
        file.write_text(text)
        add_suite(world.project, file)

    put()
    set_asset(world.project, "mara", suite="duo")
    world.put = put
    return world


def add_other(world, name, kind="character", *, approved=True, values=(9.0,)):
    """Another asset with imported versions, the first of them approved."""
    if not any(name == one for one in names(world)):
        add_asset(world.project, name, kind, trigger=f"{name}x", class_word="woman" if kind == "character" else "")
    for value in values:
        import_version(world.project, name, world.weights(f"{name}{value}", value))
    if approved:
        approve(world.project, f"{name}/v1", why="good", review="skipped")


def names(world):
    with world.project.read() as session:
        return session.exec(select(Asset.name)).all()


def plan_of(world, evaluation):
    with world.project.read() as session:
        return session.get_one(Evaluation, evaluation).plan


def company_of(world, asset="mara"):
    info = get_asset(world.project, asset)
    return find_company(world.project, choose_suite(world.project, info, "sd15", "duo").definition, info)


def test_both_versions_wear_the_same_file_and_the_control_wears_it_alone(duo):
    add_other(duo, "ilse")
    request = request_renders(duo.project, ["mara/v2", "mara/v1"])
    plan = rendering.plan_job(duo.project, request.job_id)
    payload = RenderPayload.model_validate(plan.spec.payload)
    stacks = [
        (one.lora.name if one.lora else "", [(lora.name, strength) for lora, strength in one.companions])
        for one in payload.passes
    ]
    worn = [("ilse/v1", 0.8)]
    assert stacks == [("mara/v2", []), ("mara/v2", worn), ("", []), ("", worn), ("mara/v1", []), ("mara/v1", worn)]
    assert [one.prompt for one in payload.passes[1].cells] == [
        "mrvale robot and ilsex woman",
        "ilsex behind mrvale robot",
    ]
    hashes = {one.path: one.sha256 for one in plan.inputs}
    assert sorted(hashes) == [f"inputs/loras/{name}.safetensors" for name in ("ilse-v001", "mara-v001", "mara-v002")]
    assert {payload.passes[at].companions[0][0].sha256 for at in (1, 3, 5)} == {
        hashes["inputs/loras/ilse-v001.safetensors"]
    }
    for one in request.evaluations:
        assert plan_of(duo, one.id)["beside"]["pairs"][0]["name"] == "ilse/v1"


def test_a_newly_approved_companion_is_another_plan_and_a_pinned_one_is_not(duo, tmp_path):
    add_other(duo, "ilse", values=(9.0, 8.0))
    first = request_render(duo.project, "mara/v2")
    duo.render(first.job_id, tmp_path)
    assert request_render(duo.project, "mara/v2").reused == 2
    approve(duo.project, "ilse/v2", why="better", review="skipped")
    assert request_render(duo.project, "mara/v2").reused == 0
    duo.put(('beside = "cast"', 'beside = "ilse/v1"'))
    pinned = request_render(duo.project, "mara/v2")
    duo.render(pinned.job_id, tmp_path / "pinned")
    approve(duo.project, "ilse/v1", why="back", review="skipped")
    assert request_render(duo.project, "mara/v2").reused == 2


def test_a_film_with_one_asset_is_told_what_was_left_out(duo):
    request = request_render(duo.project, "mara/v2")
    assert request.left_out == {"pairs": "No other asset has an approved version for sd15 models."}
    assert [one.cells for one in request.evaluations] == [4, 4]
    info = duo.compare("mara/v2", "mara/v1")
    assert info.state == "succeeded"
    assert [flag["message"] for flag in info.summary["flags"] if flag["code"] == "left-out"] == [
        "The block pairs was left out. No other asset has an approved version for sd15 models."
    ]
    # Once somebody is there, the same wish is another plan.
    add_other(duo, "ilse")
    again = request_render(duo.project, "mara/v2")
    assert (again.left_out, again.reused) == ({}, 0)


@pytest.mark.parametrize(
    ("beside", "says"),
    [
        ("ilse@approved", "There is no version ilse@approved"),
        ("nobody/v1", "There is no asset named 'nobody'"),
        ("mara/v1", "mara/v1 is mara itself"),
        ("cast:prop", "No other asset of the types prop has an approved version"),
    ],
)
def test_whoever_cannot_be_found_is_named(duo, beside, says):
    add_other(duo, "ilse", approved=False)
    duo.put(('beside = "cast"', f'beside = "{beside}"'))
    company = company_of(duo)
    assert company.worn == {}
    assert says in company.left_out["pairs"]


def test_a_suite_of_pairs_alone_has_nothing_to_render(duo):
    start, end = DUO.index("[[blocks]]"), DUO.rindex("[[blocks]]")
    duo.put((DUO[start:end], ""))
    with pytest.raises(UsageError, match="No other asset has an approved version"):
        request_render(duo.project, "mara/v2")


def test_the_cast_is_those_of_the_same_type_first_and_never_more_than_a_few(duo):
    for name, kind in (("arc", "prop"), ("bo", "style"), ("cy", "character"), ("di", "character"), ("ed", "prop")):
        add_other(duo, name, kind, values=(float(ord(name[0])),))
    add_other(duo, "zoe", values=(3.0,))
    set_asset(duo.project, "di", archived=True)
    worn = [one.name for one in company_of(duo).worn["pairs"]]
    assert worn == ["cy/v1", "zoe/v1", "arc/v1", "bo/v1"]
    assert len(worn) == MOST_COMPANIONS
    duo.put(('beside = "cast"', 'beside = "cast:style,prop"'))
    assert [one.name for one in company_of(duo).worn["pairs"]] == ["bo/v1", "arc/v1", "ed/v1"]


def test_pairs_have_figures_of_their_own_and_their_prompts_lose_both_triggers(duo, tmp_path):
    add_other(duo, "ilse")
    info = request_comparison(duo.project, "mara/v2", "mara/v1")
    duo.render(info.jobs[0], tmp_path / "renders")
    (job,) = get_comparison(duo.project, info.id).jobs
    said = {one["key"]: one["prompt"] for one in comparison.plan_job(duo.project, job).spec.payload["images"]}
    assert said["new/0004"] == "robot and woman"
    assert said["control/0005"] == "behind robot"
    duo.score(job, tmp_path)
    done = get_comparison(duo.project, info.id)
    figures = done.summary["verdict_inputs"]["probe"]["blocks"]["pairs"]
    assert figures["cells"] == 2
    assert figures["delta"] > 0
    page = write_report(duo.project, info.id, tmp_path / "report.html").read_text("utf-8")
    assert "Worn beside it: ilse/v1. The base wears that alone." in page


def test_the_second_look_wears_what_the_first_one_wore(duo, tmp_path, monkeypatch):
    add_other(duo, "ilse", values=(9.0, 8.0))
    info = duo.compare("mara/v2", "mara/v1")
    with duo.project.write() as session:
        row = session.get_one(Comparison, info.id)
        row.summary = {
            **row.summary,
            "plan": {**row.summary["plan"], "looks": 2},
            "verdict": {"outcome": "inconclusive", "more_prompts": True, "headline": ""},
        }
        session.add(row)
    approve(duo.project, "ilse/v2", why="better", review="skipped")
    second = get_comparison(duo.project, extend(duo.project, info.id))
    payload = RenderPayload.model_validate(rendering.plan_job(duo.project, second.jobs[0]).spec.payload)
    assert [[lora.name for lora, _ in one.companions] for one in payload.passes] == [["ilse/v1"]] * 3
    assert [cell.prompt for cell in payload.passes[0].cells] == ["mrvale robot below ilsex"]


def test_drift_is_asked_of_pictures_that_wear_one_file(duo, tmp_path):
    add_other(duo, "ilse")
    request = request_render(duo.project, "mara/v2")
    duo.render(request.job_id, tmp_path)
    with duo.project.write() as session:
        evaluation = session.get_one(Evaluation, request.evaluations[0].id)
        blocks = {cell["block"] for cell in evaluation.plan["cells"]}
    assert blocks == {"core", "pairs"}
    (check,) = request_drift_checks(duo.project, ["mara/v2"], pictures=50).checks
    cells = {cell["index"]: cell for cell in evaluation.plan["cells"]}
    assert {cells[index]["block"] for index in check.detail["cells"]} == {"core"}


def test_own_prompts_become_a_block_of_that_asset_only(duo, tmp_path):
    before = request_render(duo.project, "mara/v2")
    duo.render(before.job_id, tmp_path)
    assert change_own_prompts(
        duo.project, "mara", add=["{trigger} {class}  at the pier ", "wide shot of {trigger}"]
    ) == (
        "{trigger} {class} at the pier",
        "wide shot of {trigger}",
    )
    # Nothing is added twice.
    change_own_prompts(duo.project, "mara", add=["wide shot of {trigger}"])
    after = request_render(duo.project, "mara/v2")
    assert after.suite == before.suite
    assert after.reused == 0
    own = [cell for cell in plan_of(duo, after.evaluations[0].id)["cells"] if cell["block"] == "own"]
    assert [cell["prompt"] for cell in own] == ["mrvale robot at the pier"] * 2 + ["wide shot of mrvale"] * 2
    assert len({cell["seed"] for cell in own}) == 2
    # The film's suite is what it was, for every other asset and for the quick size.
    assert {block.name for block in get_suite(duo.project, "duo").definition.blocks} == {"core", "pairs"}
    quick = request_render(duo.project, "mara/v2", quick=True)
    assert {cell["block"] for cell in plan_of(duo, quick.evaluations[0].id)["cells"]} == {"core"}
    # Without them the older pictures are what is asked for again.
    change_own_prompts(duo.project, "mara", remove=["2", "{trigger} {class} at the pier"])
    again = request_render(duo.project, "mara/v2")
    assert [one.id for one in again.evaluations] == [one.id for one in before.evaluations]
    assert "own_prompts" not in get_asset(duo.project, "mara").settings


def test_a_comparison_stays_what_it_was_when_own_prompts_come(duo):
    info = duo.compare("mara/v2", "mara/v1")
    change_own_prompts(duo.project, "mara", add=["{trigger} at the pier"])
    assert get_comparison(duo.project, info.id).summary == info.summary
    other = duo.compare("mara/v2", "mara/v1")
    assert other.id != info.id
    assert other.summary["verdict_inputs"]["probe"]["blocks"]["own"]["cells"] == 2
    assert other.summary["suite"]["digest"] != info.summary["suite"]["digest"]


@pytest.mark.parametrize(
    ("prompt", "says"), [("  ", "empty"), ("{triger} walks", "placeholder"), ("{other} walks", "beside")]
)
def test_an_own_prompt_that_cannot_be_filled_is_refused(duo, prompt, says):
    with pytest.raises(UsageError, match=says):
        change_own_prompts(duo.project, "mara", add=[prompt])
    assert own_prompts("mara", get_asset(duo.project, "mara").settings) == ()


def test_own_prompts_that_are_not_there_or_were_set_by_hand_are_named(duo):
    with pytest.raises(NotFoundError, match="no own prompt '3'"):
        change_own_prompts(duo.project, "mara", remove=["3"])
    set_asset(duo.project, "mara", settings={"own_prompts": "one"})
    with pytest.raises(UsageError, match="not a list of prompts"):
        request_render(duo.project, "mara/v2")


def test_an_approval_of_a_companion_is_found_by_its_alias(duo):
    """The cast follows the alias, not the stage: a version that was approved once and is no more is not worn."""
    add_other(duo, "ilse", values=(9.0, 8.0))
    approve(duo.project, "ilse/v2", why="better", review="skipped")
    with duo.project.read() as session:
        assert len(session.exec(select(Alias).where(Alias.name == "approved")).all()) == 1
    assert [one.name for one in company_of(duo).worn["pairs"]] == ["ilse/v2"]
