"""What training again changes is found in comparisons of versions that differ in their seed only, and sets the margins of later verdicts."""

import numpy as np
import pytest
from sqlmodel import select

from assetforge.db.models import Asset, BaseModelRecord, Run, Version
from assetforge.db.models_jobs import Comparison, Evaluation, Job
from assetforge.db.queue_rows import enqueue
from assetforge.services.assets import add_asset
from assetforge.services.noise import known_noise, retrain_noise


def add(world, number, *, like, seed, asset="mara", **changes):
    """A version like another one, but for its seed and what is named."""
    with world.project.write() as session:
        row = session.exec(select(Asset).where(Asset.name == asset)).one()
        old = session.exec(select(Version).where(Version.asset_id == row.id, Version.number == like)).one()
        run = session.get_one(Run, old.run_id)
        world.add_version(session, row.id, number, run.dataset_id, run.base_model_id, rank=run.params["rank"])
        new = session.exec(select(Version).where(Version.asset_id == row.id, Version.number == number)).one()
        new.step = changes.pop("step", new.step)
        made = session.get_one(Run, new.run_id)
        for name, value in {"seed": seed, **changes}.items():
            setattr(made, name, value)
        session.add(made)
        return made.id


def add_kin(world, name):
    """Another asset with two versions that differ in their seed only."""
    asset = add_asset(world.project, name, "character", trigger=f"{name}x", class_word="robot")
    with world.project.write() as session:
        shas = [world.add_reference(session, asset.id, 100 + seed, f"standing, {seed}") for seed in range(4)]
        items = [(sha, "standing", "held_out" if index < 2 else "train") for index, sha in enumerate(shas)]
        dataset = world.add_dataset(session, asset.id, 1, items)
        base = session.exec(select(BaseModelRecord)).first().id
        world.add_version(session, asset.id, 1, dataset, base, rank=8)
    add(world, 2, like=1, seed=1, asset=name)


def noise(world, asset="mara", **about):
    with world.project.read() as session:
        row = session.exec(select(Asset).where(Asset.name == asset)).one()
        base = session.exec(select(BaseModelRecord).where(BaseModelRecord.name == "tiny")).one()
        return retrain_noise(session, row, base.id, **about)


def effect(info, name="probe"):
    return next(one["effect"] for one in info.summary["verdict"]["metrics"] if one["name"] == name)


def test_a_comparison_of_two_seeds_is_a_measurement_and_margins_follow(world):
    assert world.compare("mara/v2", "mara/v1").summary["verdict"]["metrics"][0]["margin"] == 0.0
    assert noise(world) == {}, "v1 and v2 differ in more than their seed"
    add(world, 3, like=2, seed=7)
    pair = world.compare("mara/v3", "mara/v2")
    found = noise(world)
    guards = {one["name"]: one["value"] for one in pair.summary["verdict"]["guards"]}
    assert found["probe"] == [pytest.approx(effect(pair))]
    assert found["stray"] == [pytest.approx(guards["stray"])]
    # The state of one version is no difference between two.
    assert "validity" in guards
    assert "validity" not in found
    again = world.compare("mara/v2", "mara/v1", metrics=["probe"]).summary["verdict"]
    assert again["metrics"][0]["margin"] == pytest.approx(2 * abs(effect(pair)))
    assert any(reason["code"] == "retrain-margin" for reason in again["reasons"])
    bounds = {one["name"]: one["bound"] for one in again["guards"]}
    assert bounds["stray"] == pytest.approx(2 * abs(found["stray"][0]))


def test_the_noise_of_several_pairs_is_their_root_mean_square(world):
    add(world, 3, like=2, seed=7)
    add(world, 4, like=2, seed=8)
    pairs = [world.compare(*two) for two in (("mara/v3", "mara/v2"), ("mara/v4", "mara/v2"), ("mara/v4", "mara/v3"))]
    effects = np.array([effect(one) for one in pairs])
    assert sorted(noise(world)["probe"]) == pytest.approx(sorted(effects))
    judged = world.compare("mara/v2", "mara/v1").summary["verdict"]["metrics"][0]
    assert judged["margin"] == pytest.approx(2 * np.sqrt((effects**2).mean()))


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("seed", 0),
        ("params", {"rank": 4, "learning_rate": 0.0005}),
        ("dataset_id", 1),
        ("trainer", "other"),
        ("trainer_version", "2"),
        ("step", 600),
        ("base", "another"),
        ("start", "a" * 64),
    ],
)
def test_whatever_else_differs_makes_no_pair(world, change, value):
    run = add(world, 3, like=2, **{"seed": 7, **({} if change in ("base", "start") else {change: value})})
    with world.project.write() as session:
        if change == "base":
            other = BaseModelRecord(name=value, family="sd15", digest="c" * 64, path="/nowhere", resolution=32)
            session.add(other)
            session.flush()
            session.get_one(Run, run).base_model_id = other.id
        if change == "start":
            job = enqueue(session, kind="train", subject="mara", run_id=run, payload={"start": value})
            session.get_one(Job, job).state = "succeeded"
    assert world.compare("mara/v3", "mara/v2", metrics=["probe"] if change != "base" else ()).state == "succeeded"
    assert noise(world) == {}


def test_only_pictures_of_the_base_model_count(world):
    add(world, 3, like=2, seed=7)
    info = world.compare("mara/v3", "mara/v2")
    with world.project.write() as session:
        other = BaseModelRecord(name="another", family="sd15", digest="c" * 64, path="/nowhere", resolution=32)
        session.add(other)
        session.flush()
        row = session.get_one(Comparison, info.id)
        session.get_one(Evaluation, row.evaluation_id).base_model_id = other.id
    assert noise(world) == {}


def test_the_asset_s_own_pairs_go_before_those_of_its_type(world):
    add_kin(world, "ilse")
    add_asset(world.project, "ink", "style", trigger="ink")
    kin = world.compare("ilse/v2", "ilse/v1")
    assert noise(world)["probe"] == noise(world, "ilse")["probe"] == [pytest.approx(effect(kin))]
    assert noise(world, "ink") == {}
    judged = world.compare("mara/v2", "mara/v1").summary["verdict"]["metrics"][0]
    assert judged["margin"] == pytest.approx(2 * abs(effect(kin)))
    add(world, 3, like=2, seed=7)
    own = world.compare("mara/v3", "mara/v2", metrics=["probe"])
    found = noise(world)
    assert found["probe"] == [pytest.approx(effect(own))]
    # What was not measured on the asset itself is still known from others.
    assert found["diversity"] == noise(world, "ilse")["diversity"]
    with world.project.read() as session:
        known = known_noise(session, session.exec(select(Asset).where(Asset.name == "mara")).one(), 1)
    assert "probe" in known.own
    assert "diversity" not in known.own
    assert {"probe", "diversity"} <= set(known.kin)


def test_no_comparison_is_its_own_measure(world):
    add(world, 3, like=2, seed=7)
    first = world.compare("mara/v3", "mara/v2", metrics=["probe"])
    assert first.summary["verdict"]["metrics"][0]["margin"] == 0.0
    assert noise(world, leave_out=first.id) == {}
    # However often, in whatever way and in whichever direction the two were compared.
    for again in (world.compare("mara/v3", "mara/v2"), world.compare("mara/v2", "mara/v3")):
        assert again.summary["verdict"]["metrics"][0]["margin"] == 0.0
        assert noise(world, leave_out=again.id) == {}
    add(world, 4, like=2, seed=8)
    other = world.compare("mara/v4", "mara/v3")
    assert noise(world, leave_out=first.id)["probe"] == [pytest.approx(effect(other))]


def test_of_several_comparisons_of_one_pair_the_newest_counts(world):
    add(world, 3, like=2, seed=7)
    world.compare("mara/v3", "mara/v2", metrics=["probe"])
    newest = world.compare("mara/v2", "mara/v3")
    assert noise(world)["probe"] == [pytest.approx(effect(newest))]


def test_comparisons_from_before_there_were_verdicts_are_no_measurements(world):
    add(world, 3, like=2, seed=7)
    info = world.compare("mara/v3", "mara/v2")
    with world.project.write() as session:
        row = session.get_one(Comparison, info.id)
        row.summary = {key: value for key, value in row.summary.items() if key not in ("verdict", "plan", "rounds")}
    assert noise(world) == {}
