"""What a film and an asset say about metrics: parameters, the one that decides, and what `metric list` tells of it."""

import json
import sys
import types

import numpy as np
import pytest

from assetforge.api import Params, param
from assetforge.api.specs import MetricSpec
from assetforge.cli.app import run
from assetforge.db.models import Run
from assetforge.db.models_jobs import Comparison
from assetforge.errors import NotFoundError, UsageError
from assetforge.extension.discovery import Candidate
from assetforge.extension.manager import LoadedPlugin
from assetforge.services.assets import set_asset
from assetforge.services.comparison import plan_job, request_comparison
from assetforge.services.metrics import list_metrics, metrics_of
from assetforge.services.project_config import set_value
from assetforge.services.projects import open_project
from assetforge.services.ranking import check_measurable


class Corners:
    """Mean colours of the four quarters."""

    def embed(self, images):
        halves = [half for image in images for half in (image[: len(image) // 2], image[len(image) // 2 :])]
        rows = [half.mean(axis=(0, 1)) - 110 for half in halves]
        return np.asarray(rows, dtype=np.float32).reshape(len(images), 6)


class CornersParams(Params):
    side: int = param(64, "Side.", ge=8, le=512)
    blur: float = param(0.0, "Blur.", ge=0)


@pytest.fixture
def needs():
    """What the metric ``corners`` needs; write to it to take its weights away."""
    return [""]


@pytest.fixture(autouse=True)
def corners(registry, needs, monkeypatch):
    module = types.ModuleType("corners_plugin")
    module.Corners, module.ready = Corners, lambda: needs[0]
    monkeypatch.setitem(sys.modules, "corners_plugin", module)
    given = {"title": "Corners", "kind": "embedding", "load": "corners_plugin:Corners", "params": CornersParams}
    metrics = (
        MetricSpec(name="corners", gates=True, ready="corners_plugin:ready", margin=0.03, licence="MIT", **given),
        MetricSpec(name="copies", gates=True, copy_limit=0.9999, **given),
    )
    plugin = Candidate(name="corners", distribution="corners-plugin", version="1.0", target="corners_plugin")
    registry.add(LoadedPlugin(plugin, specs={"metric": metrics}))


def params_of(project, **about):
    info = request_comparison(project, "mara/v2", "mara/v1", **about)
    return {one["engine"]["name"]: one["params"] for one in info.summary["plan"]["metrics"]}


def film_says(project, values):
    set_value(project.paths.config, "regression.metric_params", values)
    project.close()
    return open_project(project.root)


def test_parameters_of_the_film_and_the_asset_reach_the_job_and_the_asset_goes_first(world, tmp_path):
    film = film_says(world.project, {"corners": {"side": 32, "blur": 0.5}, "probe": {}})
    try:
        assert params_of(film)["corners"] == {"side": 32, "blur": 0.5}
        set_asset(film, "mara", settings={"metric_params": {"corners": {"side": 16}}})
        assert params_of(film)["corners"] == {"side": 16, "blur": 0.5}
        world.project = film
        info = world.compare("mara/v2", "mara/v1")
        assert info.state == "succeeded"
        names = [one["engine"]["name"] for one in info.summary["plan"]["metrics"]]
        with film.read() as session:
            job = session.get_one(Comparison, info.id).job_id
        payload = plan_job(film, job).spec.payload
        assert payload["params_list"][names.index("corners")] == {"side": 16, "blur": 0.5}
        assert {one.name: one.params for one in metrics_of(film, "mara")}["corners"]["side"] == 16
    finally:
        film.close()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"corners": {"sied": 3}}, "The metric corners has no parameter 'sied'. Did you mean 'side'"),
        ({"corners": {"side": 3}}, "The metric corners cannot take side=3: input should be greater than or equal to 8"),
        ({"corner": {"side": 32}}, "for a metric 'corner', which does not exist, in the setting metric_params of mara"),
        ({"corners": 3}, "The setting metric_params of mara does not give values by metric"),
        ([], None),
    ],
)
def test_parameters_that_do_not_fit_are_named(world, values, said):
    set_asset(world.project, "mara", settings={"metric_params": values})
    if said is None:
        assert params_of(world.project)["corners"] == {"side": 64, "blur": 0.0}
        return
    with pytest.raises(UsageError) as caught:
        request_comparison(world.project, "mara/v2")
    assert said in str(caught.value)


def test_a_metric_that_the_film_misspells_is_named(world):
    film = film_says(world.project, {"corner": {"side": 32}})
    try:
        with pytest.raises(UsageError, match=r"'corner', which does not exist, in \[regression.metric_params\]"):
            request_comparison(film, "mara/v2")
    finally:
        film.close()


def test_the_asset_chooses_which_metric_decides(world):
    assert world.compare("mara/v2", "mara/v1").summary["primary"] == "probe"
    set_asset(world.project, "mara", settings={"primary": "corners"})
    info = world.compare("mara/v2", "mara/v1")
    assert info.summary["primary"] == "corners"
    names = [one["name"] for one in info.summary["verdict"]["metrics"]]
    assert names[0] == "corners"
    assert "probe" in names[1:]
    assert info.summary["unmeasured_choice"] == ""
    set_asset(world.project, "mara", settings={"primary": None})
    assert world.compare("mara/v2", "mara/v1").summary["primary"] == "probe"


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("ssim", UsageError, "cannot decide about mara: it does not tell one asset from another"),
        ("copies", UsageError, "cannot decide about mara: it finds copies"),
        ("style-only", UsageError, "cannot decide about mara"),
        ("cornerss", NotFoundError, "no metric named 'cornerss'.*Did you mean corners"),
        (["corners"], UsageError, "The setting primary of mara is not the name of a metric"),
    ],
)
def test_what_cannot_decide_is_refused_when_it_is_chosen(world, name, error, said):
    with pytest.raises(error, match=f"(?s){said}"):
        set_asset(world.project, "mara", settings={"primary": name})


def test_the_chosen_metric_has_to_be_among_those_that_run_and_read_the_base(world):
    set_asset(world.project, "mara", settings={"primary": "corners", "metrics": ["probe", "ssim"]})
    with pytest.raises(UsageError, match="'corners' was chosen to decide about mara and is not among those to run"):
        request_comparison(world.project, "mara/v2")
    set_asset(world.project, "mara", settings={"primary": "other-base", "metrics": None})
    with pytest.raises(
        UsageError, match="'other-base', which was chosen to decide, cannot read pictures of the base model 'tiny'"
    ):
        request_comparison(world.project, "mara/v2")


def test_nothing_takes_the_place_of_a_chosen_metric_that_cannot_run(world, needs):
    needs[0] = "corners needs corners.bin in /models."
    set_asset(world.project, "mara", settings={"primary": "corners"})
    summary = world.compare("mara/v2", "mara/v1").summary
    verdict = summary["verdict"]
    assert (summary["primary"], summary["unmeasured_choice"]) == ("", "Corners")
    assert (verdict["outcome"], verdict["metrics"][0]["name"], verdict["metrics"][0]["effect"]) == (
        "inconclusive",
        "likeness",
        None,
    )
    assert {"likeness", "Corners"} <= {*verdict["not_measured"]}
    assert verdict["reasons"][0]["code"] == "primary-not-measured"
    assert "Corners, which was chosen to decide, could not run here" in summary["sentence"]
    assert "Corners was chosen to decide" in next(
        flag["message"] for flag in summary["flags"] if flag["code"] == "identity-not-measured"
    )
    # The other metric is a secondary one like any other.
    assert "probe" in [one["name"] for one in verdict["metrics"][1:]]
    with pytest.raises(UsageError, match="Corners, which was chosen to decide, cannot run here"):
        check_measurable(world.project, "mara")


def test_metrics_are_listed_by_what_they_decide(world, needs):
    found = {one.name: one for one in metrics_of(world.project, "mara")}
    assert (found["probe"].decides, found["corners"].decides, found["copies"].decides) == (
        "primary",
        "secondary",
        "guard",
    )
    assert (found["ssim"].decides, found["lab-difference"].decides) == ("guard", "flag")
    assert found["style-only"].decides == found["other-base"].decides == "nothing"
    assert found["style-only"].why == "style-only is for: style."
    assert found["other-base"].why == "other-base cannot read pictures of tiny."
    assert (found["corners"].declared, found["corners"].noise, found["corners"].margin) == (0.03, None, 0.03)
    needs[0] = "corners needs corners.bin in /models."
    set_asset(world.project, "mara", settings={"primary": "corners"})
    chosen = {one.name: one for one in metrics_of(world.project, "mara")}
    assert (chosen["corners"].decides, chosen["corners"].why, chosen["corners"].chosen) == ("not ready", needs[0], True)
    assert chosen["probe"].decides == "secondary"
    set_asset(world.project, "mara", settings={"primary": None, "metrics": ["probe"]})
    assert {one.name: one.why for one in metrics_of(world.project, "mara")}["ssim"].startswith("ssim is not among")


def test_measured_noise_widens_the_margin_that_is_listed(world):
    world.compare("mara/v2", "mara/v1")
    with world.project.write() as session:
        first, second = session.get_one(Run, 1), session.get_one(Run, 2)
        # As if both were one recipe on one dataset with two seeds.
        second.dataset_id, second.params, second.seed = first.dataset_id, first.params, 1
    probe = next(one for one in metrics_of(world.project, "mara") if one.name == "probe")
    assert probe.pairs == 1
    assert probe.noise > 0
    assert probe.margin == pytest.approx(2 * probe.noise)


def test_the_command_lists_metrics_with_and_without_an_asset(world, needs, capsys):
    needs[0] = "corners needs corners.bin in /models."
    assert run(["metric", "list", "mara", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["asset"]) == ("assetforge/metric-list/1", "mara")
    rows = {one["name"]: one for one in document["metrics"]}
    assert (rows["probe"]["decides"], rows["corners"]["decides"], rows["corners"]["licence"]) == (
        "primary",
        "not ready",
        "MIT",
    )
    assert run(["metric", "list", "--json"]) == 0
    rows = {one["name"]: one for one in json.loads(capsys.readouterr().out)["metrics"]}
    assert rows["probe"]["decides"] == "primary or secondary"
    assert {one.name for one in list_metrics()} == {*rows}
    assert run(["metric", "list", "mara"]) == 0
    shown = capsys.readouterr().out
    assert needs[0] in shown
    assert "copies above 0.9999" in " ".join(shown.split())
    assert run(["metric", "list", "nobody"]) == 3
    assert run(["asset", "set", "mara", "--set", "primary=ssim"]) == 2
    assert run(["asset", "set", "mara", "--set", "primary=corners"]) == 0
    assert run(["asset", "set", "mara", "--set", 'metric_params={"corners": {"side": 16}}']) == 0
    capsys.readouterr()
    assert run(["metric", "list", "mara"]) == 0
    assert "Corners was chosen to and cannot run here" in capsys.readouterr().out
