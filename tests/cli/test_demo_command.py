"""What surrounds the demo: its film, and how it ends. The loop itself takes minutes: `make demo`."""

import pytest

from assetforge.api.protocols import DemoFilm
from assetforge.cli import demo as command
from assetforge.jobs.demo import DemoOutcome, open_demo_film
from assetforge.services.project_config import set_value


def test_verdicts_of_a_demo_film_are_asked_for_once_unless_somebody_wants_more(tmp_path):
    film = DemoFilm(name="night-harbour", title="Night Harbour", assets=())
    with open_demo_film(film, tmp_path / "film") as project:
        assert project.config.regression.extend is False
        set_value(project.paths.config, "regression.extend", value=True)
    with open_demo_film(film, tmp_path / "film") as project:
        assert project.config.regression.extend is True


def summary(new, baseline, verdict):
    return {
        "new": new,
        "baseline": baseline,
        "verdict": verdict,
        "sentence": f"{verdict['headline']}. It is nearer." if verdict else "It is nearer.",
        "primary": "probe",
        "references": {"used": 3},
    }


@pytest.mark.parametrize(("outcome", "shown"), [("pass", "● PASS"), ("regressed", "▲ REGRESSED")])
def test_the_demo_ends_with_the_verdict_its_report_and_what_to_do_next(tmp_path, capsys, outcome, shown):
    verdict = {"outcome": outcome, "headline": "it is what it is", "metrics": [], "guards": [], "reasons": []}
    made = DemoOutcome(
        project="night-harbour",
        folder=tmp_path,
        judged="mara/v2",
        assets=["mara", "ilse"],
        verdict_inputs={"mara/v2": summary("mara/v2", "mara/v1", verdict), "ilse/v1": summary("ilse/v1", "", None)},
        reports=["reports/mara.html", "reports/ilse.html"],
        seconds={"training": 60.0},
    )
    command._print(made)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "  ilse/v1  reports/ilse.html" in lines
    end = lines[lines.index("") + 1 :]
    assert end[0] == f"{shown}  mara/v2 against mara/v1  one look: project.toml says [regression] extend = false"
    assert end[1:3] == ["it is what it is.", "It is nearer."]
    assert end[4] == "report   reports/mara.html"
    assert [line.split()[0] for line in end[5:]] == ["figures", "look", "decide", "deliver"]
    assert "review mara/v2" in end[6]
    assert "approve mara/v2 --why" in end[7]
