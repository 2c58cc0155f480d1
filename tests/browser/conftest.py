"""A finished comparison with a verdict, its report, and a browser to look at it with."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from assetforge.db.models_jobs import Comparison
from assetforge.domain.verdict import Calibration, GuardEvidence, MetricEvidence, judge
from assetforge.services.report import write_report

HERE = Path(__file__).parent


def _module(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_review = _module("review_world", HERE.parent / "db" / "review" / "conftest.py")
_chromium = _module("chromium_for_tests", HERE / "chromium.py")
registry = _review.registry
world = _review.world


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium; without one the tests that need it are skipped."""
    if _chromium.find_chromium() is None:
        pytest.skip("there is no Chromium")
    running = _chromium.Chromium(tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


@pytest.fixture
def look(browser):
    """The browser, which must have neither asked the network for anything nor found anything wrong."""
    browser.requests.clear()
    browser.errors.clear()
    yield browser
    browser.get("1")
    assert browser.requests == []
    assert browser.errors == []


def a_verdict(mean):
    """What the judge says of 24 prompts whose mean change is this."""
    scatter = np.linspace(-0.02, 0.02, 24)[:, None] + np.zeros(2)
    base = np.full((24, 2), 0.7)
    known = Calibration(
        references=[0.8, 0.82, 0.79, 0.85] * 4,
        floor=[0.3, 0.32, 0.35],
        impostors=[0.4, 0.5, 0.45, 0.55] * 4,
        retrain=[0.004, -0.003],
    )
    primary = MetricEvidence(
        name="probe",
        title="identity",
        new=base + mean + scatter,
        baseline=base,
        minimum_margin=0.02,
        calibration=known,
    )
    colours = MetricEvidence(
        name="colours",
        title="colours",
        new=base + 0.01 + scatter / 2,
        baseline=base,
        minimum_margin=0.05,
        can_pass=False,
    )
    guards = [
        GuardEvidence(name="validity", title="number of broken pictures", limit=0.0, value=0.0),
        GuardEvidence(name="bleed", title="likeness without the trigger", margin=0.02, new=base - 0.01, baseline=base),
        GuardEvidence(name="copies", title="share of copies of training pictures", limit=0.05),
    ]
    return judge("mara/v2", "mara/v1", primary, secondary=[colours], guards=guards, unready=["face"])


@pytest.fixture
def make_report(world, tmp_path):
    """A function that writes the report of mara/v2 against mara/v1 whose mean change is ``mean``, or of mara/v1 alone when it is ``None``."""

    def write(mean=-0.05):
        if mean is None:
            return write_report(world.project, world.compare("mara/v1").id, tmp_path / "first.html")
        info = world.compare("mara/v2", "mara/v1")
        with world.project.write() as session:
            row = session.get_one(Comparison, info.id)
            verdict = json.loads(json.dumps(a_verdict(mean).as_json()))
            row.summary = {**row.summary, "verdict": verdict, "sentence": f"{verdict['headline']}. And the rest."}
            session.add(row)
        return write_report(world.project, info.id, tmp_path / "report.html")

    return write
