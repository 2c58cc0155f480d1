"""``assetforge demo --watch``: pictures are dropped into a folder, and versions with renders and a comparison come of it by themselves."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assetforge.api.protocols import DemoAsset, DemoFilm
from assetforge.cli.compare_text import print_outcome
from assetforge.cli.output import emit, plain, say
from assetforge.errors import JobError
from assetforge.extension.registry import load
from assetforge.jobs.demo import find_demo, open_demo_film
from assetforge.paths import projects_dir
from assetforge.services.assets import add_asset, list_assets
from assetforge.services.comparison import ComparisonInfo, list_comparisons
from assetforge.services.project_config import set_value
from assetforge.services.projects import Project
from assetforge.services.references import list_references
from assetforge.services.runs import list_runs
from assetforge.services.versions import list_versions

__all__ = ["watch_demo"]

_LIMIT_S = 1800.0
_RULES = {
    "watch.settle_seconds": 1.0,
    "retrain.mode": "auto",
    "retrain.quiet_minutes": 0.05,
    "retrain.cooldown_minutes": 0.0,
    "retrain.min_new": 6,
    "budget.runs_per_day": 8,
}


def watch_demo(*, name: str, folder: Path | None) -> None:
    """Watch a folder in a process of its own, and do nothing but copy files into it.

    Raises:
        NotFoundError: No plugin brings a demo.
        JobError: What should have come of it did not, within half an hour.
    """
    with tempfile.TemporaryDirectory(prefix="assetforge-demo-") as drawn:
        film: DemoFilm = load(find_demo(name).load)(Path(drawn))
        lead = film.assets[0]
        with open_demo_film(film, folder or projects_dir() / f"{film.name}-watched") as project:
            seconds: dict[str, float] = {}
            _prepare(project, lead)
            with _watcher(project):
                for number, batch in enumerate(lead.batches, 1):
                    started = time.perf_counter()
                    pictures = _drop(project, lead, batch, number)
                    version = f"{lead.name}/v{number}"
                    say(f"{pictures} pictures dropped into {lead.name}'s folder; nobody touches the keyboard now")
                    info = _await(project, version)
                    seconds[version] = round(time.perf_counter() - started, 1)
                    say(
                        f"{version} and its report are there after {seconds[version]:.0f} s: {info.outcome or 'nothing to compare it with'}"
                    )
            _tell(project, lead, seconds)


def _prepare(project: Project, lead: DemoAsset) -> None:
    for key, value in _RULES.items():
        set_value(project.paths.config, key, value)
    if lead.name not in {asset.name for asset in list_assets(project)}:
        add_asset(
            project,
            lead.name,
            lead.type,
            trigger=lead.trigger,
            class_word=lead.class_word,
            recipe=lead.recipe,
            suite=lead.suite,
        )


@contextmanager
def _watcher(project: Project) -> Iterator[None]:
    """A watcher as a person would start it; whatever it starts goes on without it."""
    command = [sys.executable, "-P", "-m", "assetforge", "--project", str(project.root), "watch"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60.0)


def _drop(project: Project, lead: DemoAsset, batch: Path, number: int) -> int:
    """Copy pictures and captions the way a colleague would, one after the other, captions first."""
    inbox = next(asset.references for asset in list_assets(project) if asset.name == lead.name) / f"delivery-{number}"
    inbox.mkdir(parents=True, exist_ok=True)
    files = sorted((path for path in batch.rglob("*") if path.is_file()), key=lambda path: path.suffix != ".txt")
    for path in files:
        shutil.copy(path, inbox / path.name)
    return sum(path.suffix != ".txt" for path in files)


def _await(project: Project, version: str) -> ComparisonInfo:
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline:
        comparisons = [one for one in list_comparisons(project) if one.version == version]
        found = [one for one in comparisons if one.state == "succeeded" and one.report]
        if found:
            return found[0]
        failed = [run for run in list_runs(project) if run.state in ("failed", "lost")]
        if failed:
            raise JobError(
                f"Run {failed[0].id} of the demo {failed[0].state}: {failed[0].error}",
                hint=f"`assetforge run logs {failed[0].id} --project {project.root}` shows why.",
            )
        time.sleep(0.5)
    raise JobError(
        f"{version} and its comparison did not come within {_LIMIT_S / 60:.0f} minutes.",
        hint=f"`assetforge --project {project.root} watch --explain` says why.",
    )


def _tell(project: Project, lead: DemoAsset, seconds: dict[str, float]) -> None:
    comparisons = [one for one in list_comparisons(project) if one.state == "succeeded" and one.report]
    document = {
        "projects": [project.name],
        "folder": project.root,
        "references": list_references(project, lead.name, limit=1).total,
        "versions": [version.address for version in list_versions(project)],
        "causes": [run.cause for run in list_runs(project)],
        "reports": [str(project.root / one.report) for one in comparisons],
        "seconds": seconds,
    }

    def text() -> None:
        plain(f"{project.name} is in {project.root}")
        for run in sorted(list_runs(project), key=lambda run: run.id):
            plain(f"  run {run.id} by {run.requested_by}: {run.cause} -> {', '.join(run.versions)}")
        judged = comparisons[0]
        plain("")
        print_outcome(judged.summary, note="one look" if judged.summary["plan"].get("looks", 1) == 1 else "")
        plain("")
        for one in comparisons:
            plain(f"report  {project.root / one.report}")
        plain(f"look    assetforge --project {project.root} review {judged.version}")

    emit("demo", document, text)
