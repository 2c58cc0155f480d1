"""The whole loop on a demo film: references, datasets, LoRAs, an approval, a published file, a second version, renders, a verdict. What becomes of the second version a person decides.

Every step is one that a user would take, through the same services; repeating the demo on the same film reuses everything that is there.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assetforge.api.protocols import DemoAsset, DemoFilm
from assetforge.errors import JobError, NotFoundError
from assetforge.extension.registry import get_registry, load
from assetforge.jobs.supervisor import ensure_supervisor, wait_for_job
from assetforge.paths import projects_dir
from assetforge.services.activity import acting_as
from assetforge.services.assets import add_asset, list_assets
from assetforge.services.comparison import ComparisonInfo, get_comparison, request_comparison
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.project_config import set_value
from assetforge.services.projects import Project, create_project, open_project
from assetforge.services.releases import approve, publish
from assetforge.services.report import write_report
from assetforge.services.training import request_training
from assetforge.services.versions import list_versions, resolve_version

__all__ = ["DemoListener", "DemoOutcome", "find_demo", "open_demo_film", "run_demo"]


@dataclass(frozen=True, slots=True)
class DemoListener:
    """Who is told how the demo goes.

    Attributes:
        stage: Called with a sentence when a stage begins.
        step: Called with (done, total, note) while jobs run.
    """

    stage: Callable[[str], None]
    step: Callable[[int, int, str], None]


@dataclass
class DemoOutcome:
    """What the demo made; the document of ``assetforge demo --json``.

    Attributes:
        judged: The version that is up for a decision.
        verdict: What was found out about it: ``pass``, ``regressed`` or ``inconclusive``.
        headline: The same in a sentence, without a full stop.
        verdict_inputs: Summary of every comparison by version.
        reports: Paths of the reports; that of the judged version comes first.
        seconds: How long each stage took.
    """

    project: str
    folder: Path
    judged: str = ""
    verdict: str = ""
    headline: str = ""
    assets: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    approved: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    verdict_inputs: dict[str, Any] = field(default_factory=dict)
    reports: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def run_demo(listener: DemoListener, *, name: str = "", folder: Path | None = None) -> DemoOutcome:
    """Take a demo film through the loop.

    Args:
        listener: Who is told.
        name: Which demo; by default the first that a plugin brings.
        folder: Where the film goes; by default a folder of its name among the user's projects. An existing demo film is continued.

    Raises:
        NotFoundError: No plugin brings a demo.
        JobError: A job of the demo failed.
    """
    spec = find_demo(name)
    with tempfile.TemporaryDirectory(prefix="assetforge-demo-") as drawn:
        film: DemoFilm = load(spec.load)(Path(drawn))
        with open_demo_film(film, folder) as project:
            outcome = DemoOutcome(project=project.name, folder=project.root)
            ensure_supervisor(project)
            _Demo(project, film, listener, outcome).run()
            outcome.versions = [version.address for version in list_versions(project)]
            return outcome


class _Demo:
    """One pass through the loop; the lead is the asset whose second version is made."""

    def __init__(self, project: Project, film: DemoFilm, listener: DemoListener, outcome: DemoOutcome) -> None:
        self.project, self.film, self.listener, self.outcome = project, film, listener, outcome
        self.lead = film.assets[0]

    def run(self) -> None:
        """The lead goes ahead, so that its second version trains while the others' first ones do: the machine is never idle."""
        lead, others = self.lead, self.film.assets[1:]
        with self._stage("references", f"{len(self.film.assets)} assets and their first references"):
            for asset in self.film.assets:
                self._add_asset(asset)
                self._references(asset, 0)
        with self._stage("training", "Training LoRAs on a real (tiny) diffusion model"):
            first = self._train(lead, priority=2)
            waiting = {asset.name: self._train(asset) for asset in others}
            self._wait([first], f"{lead.name}/v1")
            self._approve(f"{lead.name}/v1", "the demo takes the first version, so that there is one to compare with")
            self.outcome.published.append(str(publish(self.project, f"{lead.name}@approved").path))
        with self._stage(
            "second version", f"New references of {lead.name} arrive; version 2 is trained, and the others go on"
        ):
            self._references(lead, 1)
            second = self._train(lead, priority=1)
            comparisons = [self._compare_when_trained(name, job) for name, job in waiting.items()]
            self._wait([second], f"{lead.name}/v2")
        with self._stage(
            "comparison",
            f"Rendering with the same prompts and seeds: {lead.name}/v2 against {lead.name}/v1, the others in the quick size",
        ):
            judged = request_comparison(self.project, f"{lead.name}/v2", f"{lead.name}/v1", priority=1)
            self._judged(self._finish(judged))
            for info in comparisons:
                self._finish(info)

    @contextmanager
    def _stage(self, name: str, sentence: str) -> Iterator[None]:
        self.listener.stage(sentence)
        start = time.perf_counter()
        yield
        self.outcome.seconds[name] = round(time.perf_counter() - start, 1)

    def _add_asset(self, asset: DemoAsset) -> None:
        if asset.name not in {existing.name for existing in list_assets(self.project)}:
            add_asset(
                self.project,
                asset.name,
                asset.type,
                trigger=asset.trigger,
                class_word=asset.class_word,
                recipe=asset.recipe,
                suite=asset.suite,
            )
        self.outcome.assets.append(asset.name)

    def _references(self, asset: DemoAsset, batch: int) -> None:
        add_references(
            self.project, asset.name, [asset.batches[batch]], recursive=True, rights="drawn by assetforge-toybox"
        )
        frozen = freeze(self.project, asset.name, note=f"batch {batch + 1}", held_out=asset.held_out or None)
        if frozen.address not in self.outcome.datasets:
            self.outcome.datasets.append(frozen.address)

    def _train(self, asset: DemoAsset, priority: int = 0) -> int | None:
        request = request_training(self.project, asset.name, cause="demo", priority=priority)
        self.outcome.runs.append(request.run)
        return request.job

    def _compare_when_trained(self, name: str, job: int | None) -> ComparisonInfo:
        self._wait([job], f"{name}/v1")
        return request_comparison(self.project, f"{name}/v1", quick=True)

    def _wait(self, wanted: Sequence[int | None], what: str) -> None:
        """Follow jobs to their end; what was reused has no job."""
        jobs = [job for job in wanted if job is not None]
        shares = dict.fromkeys(jobs, 0.0)
        for job in jobs:

            def on_event(event: dict[str, Any], job: int = job) -> None:
                if event.get("kind") == "progress":
                    shares[job] = event["step"] / max(1, event["total"])
                    self.listener.step(round(100 * sum(shares.values())), 100 * len(jobs), what)

            state = wait_for_job(self.project, job, on_event)
            if state != "succeeded":
                raise JobError(
                    f"Job {job} of the demo ended as {state}.",
                    hint=f"`assetforge jobs logs {job} --project {self.project.root}` shows why.",
                )
            shares[job] = 1.0

    def _finish(self, info: ComparisonInfo) -> ComparisonInfo:
        """The last word of a comparison, after writing its report."""
        while info.jobs or info.extended_by is not None:
            self._wait(info.jobs, f"comparing {info.version}")
            info = get_comparison(self.project, info.extended_by or info.id)
        if info.state != "succeeded":
            raise JobError(f"The comparison of {info.version} ended as {info.state}: {info.summary.get('error', '')}")
        self.outcome.verdict_inputs[info.version] = dict(info.summary)
        self.outcome.reports.append(str(write_report(self.project, info.id)))
        return info

    def _judged(self, info: ComparisonInfo) -> None:
        self.outcome.judged, self.outcome.verdict = info.version, info.outcome
        self.outcome.headline = info.summary["verdict"]["headline"]

    def _approve(self, address: str, why: str) -> None:
        if resolve_version(self.project, address).stage != "approved":
            # Nobody looks here; the record of the film tells so.
            with acting_as("demo"):
                approve(self.project, address, why=why, review="skipped")
        self.outcome.approved.append(address)


def find_demo(name: str) -> Any:
    """The spec of a demo film; by default of the first that a plugin brings.

    Raises:
        NotFoundError: No plugin brings a demo.
    """
    if name:
        return get_registry().demo(name).spec
    demos = get_registry().demos()
    if not demos:
        raise NotFoundError("No plugin brings a demo film.", hint="Install assetforge-toybox, or run `make install`.")
    return demos[0].spec


def open_demo_film(film: DemoFilm, folder: Path | None) -> Project:
    """The film of a demo, made when it is not there; by default in a folder of its name among the user's films. Its verdicts are asked for once."""
    root = folder or projects_dir() / film.name
    if (root / "project.toml").is_file():
        return open_project(root)
    project = create_project(film.name, folder=root, title=film.title)
    # A demo is waited for, and a reserve of prompts would double its renders.
    set_value(project.paths.config, "regression.extend", value=False)
    return project
