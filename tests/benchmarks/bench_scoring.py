"""What scoring and reporting cost beside rendering: 96 cells by 2 versions on the toybox, with their base controls.

A real film: the demo's references of a character, two imported LoRAs, a suite of 96 cells. The first 24 cells are rendered by the plugin's renderer and timed; the
other pictures are made from those, each a different one, since scoring cares for their number and size only. Then comes what a score job does in its process,
with every metric of the core and the toybox that fits a character, then the figures and the verdict, then the report. Seconds are the processor's, of all threads,
so that neighbours on the machine count for little.

Required: score job, verdict and report take at most a quarter of the seconds that rendering the two versions' 192 pictures takes; controls are rendered once per base
and left out there. Shown: each part, each metric, and scoring again, when all is known.
"""

import hashlib
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_rendering
import numpy as np
import torch
from assetforge_diffusers.params import RendererParams
from assetforge_diffusers.renderer import DiffusersRenderer
from assetforge_toybox.demo import build
from PIL import Image

from assetforge.api.job import JobSpec, LoraRef, OutputFile, RenderedCell, RenderPayload, Result
from assetforge.api.params import Params
from assetforge.db.models_jobs import Job
from assetforge.extension.registry import reset_registry
from assetforge.jobs.bundle import write_bundle
from assetforge.jobs.child_score import score_images
from assetforge.jobs.context import JobRuntime
from assetforge.services import comparison, rendering
from assetforge.services.assets import add_asset
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.projects import Project, create_project
from assetforge.services.report import write_report
from assetforge.services.suites import add_suite
from assetforge.services.versions import import_version
from assetforge.testing.contexts import FolderContext

LIMIT = 0.25
CELLS, VERSIONS, RENDERED = 96, 2, 24
SEEDS = {"core": [11, 12, 13], "core-out": [21, 22, 23], "bleed": [31, 32, 33, 34]}
"""12, 12 and 6 prompts make 96 cells."""


def write_suite(path: Path) -> None:
    """The toybox's own prompts in 96 cells."""
    from assetforge_toybox.presets import SUITES

    suite = next(one for one in SUITES if one.name == "character-toybox")
    lines = ['name = "bench"', 'family = "sd15"', 'asset_types = ["character"]']
    lines += [f"{name} = {getattr(suite, name)}" for name in ("steps", "cfg", "width", "height")]
    for block in suite.blocks:
        if block.name in SEEDS:
            lines += ["[[blocks]]", f'name = "{block.name}"', f"prompts = {json.dumps(block.prompts)}"]
            lines += [f"seeds = {SEEDS[block.name]}"]
    path.write_text("\n".join(lines), encoding="utf-8")


def make_film(root: Path) -> Project:
    """A film with references, held-out ones among them, those of another character, and two versions."""
    project = create_project("film", folder=root / "film")
    for asset in build(root / "drawn").assets:
        if asset.type != "character":
            continue
        add_asset(project, asset.name, asset.type, trigger=asset.trigger, class_word=asset.class_word)
        add_references(project, asset.name, asset.batches)
        freeze(project, asset.name, held_out=4)
    bench_rendering.VERSIONS = VERSIONS
    (root / "loras").mkdir()
    for version in bench_rendering.make_versions(root / "loras"):
        import_version(project, "mara", root / "loras" / version.file, family="sd15")
    write_suite(root / "suite.toml")
    add_suite(project, root / "suite.toml")
    return project


def render(project: Project, payload: RenderPayload, folder: Path, say: dict[str, float]) -> list[Any]:
    """The first cells of the version under test, as the renderer draws them."""
    (folder / "cache").mkdir(parents=True)
    first = next(one for one in payload.passes if one.lora is not None)
    file = project.blobs.path(first.lora.sha256)
    (folder / "lora.safetensors").write_bytes(file.read_bytes())
    renderer = DiffusersRenderer()
    context = FolderContext(workdir=folder, cache=folder / "cache", params=RendererParams())
    renderer.open(payload.base, payload.settings, context)
    renderer.use([(LoraRef(name="mara/v2", file="lora.safetensors", sha256=first.lora.sha256), 1.0)])
    # The first picture pays for what is made ready once.
    list(renderer.render(first.cells[:1]))
    start = time.process_time()
    pictures = list(renderer.render(first.cells[:RENDERED]))
    say["rendering 24 cells"] = time.process_time() - start
    renderer.close()
    return pictures


def rendered(job: int, payload: RenderPayload, pictures: list[Any], folder: Path) -> Result:
    """What the renderer's job would leave behind; what was not rendered is what was, moved and tinted by its place."""
    cells, outputs = [], []
    for number, one in enumerate(payload.passes):
        for cell in one.cells:
            picture = np.roll(pictures[cell.index % RENDERED], cell.index // RENDERED + 4 * number, axis=1)
            tinted = np.clip(picture + np.array((2 * number, cell.index % 5, 0)), 0, 255).astype(np.uint8)
            path = folder / "outputs" / f"{one.evaluation}-{cell.index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(tinted).save(path)
            relative, data = path.relative_to(folder).as_posix(), path.read_bytes()
            cells.append(RenderedCell(evaluation=one.evaluation, index=cell.index, file=relative, seconds=0.1))
            outputs.append(OutputFile(path=relative, sha256=hashlib.sha256(data).hexdigest(), size=len(data)))
    return Result(job=job, attempt=1, outputs=tuple(outputs), cells=tuple(cells), engine={"device": "cpu"})


def finish(project: Project, job: int) -> None:
    """What the supervisor writes."""
    with project.write() as session:
        session.get_one(Job, job).state = "succeeded"


def timed(say: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    """Do some work and note the processor's seconds."""
    start = time.process_time()
    result = work()
    say[name] = time.process_time() - start
    return result


class Timed(JobRuntime):
    """A job that notes when each metric is done."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.parts: dict[str, float] = {}
        self._last = time.process_time()

    def log(self, message: str) -> None:
        """Say nothing; metrics report by name when they are done."""
        now = time.process_time()
        self.parts[message.partition(":")[0]] = now - self._last
        self._last = now


def score(spec: JobSpec, workdir: Path) -> tuple[Any, dict[str, float]]:
    """The score job's work."""
    context = Timed(workdir, spec, 1, Params())
    return score_images(context), context.parts


def measure(root: Path) -> dict[str, Any]:
    """Render, score, report."""
    say: dict[str, float] = {}
    os.environ["ASSETFORGE_CACHE"] = str(root / "cache")
    with make_film(root) as project:
        info = comparison.request_comparison(
            project, "mara/v2", "mara/v1", suite="bench", base_model="toybox", device="cpu"
        )
        pictures: list[Any] = []
        for job in info.jobs:
            payload = RenderPayload.model_validate(rendering.plan_job(project, job).spec.payload)
            pictures = pictures or render(project, payload, root / "renderer", say)
            made = rendered(job, payload, pictures, root / "made")
            rendering.register_result(project, job, made, root / "made")
            finish(project, job)
        info = comparison.get_comparison(project, info.id)
        (job,) = info.jobs
        plan = timed(say, "planning", lambda: comparison.plan_job(project, job))
        workdir = project.paths.job(job)
        timed(say, "bundle", lambda: write_bundle(plan, workdir, project.blobs, project.paths.trash))
        scores, parts = timed(say, "scoring", lambda: score(plan.spec, workdir))
        again, _ = timed(say, "scoring again", lambda: score(plan.spec, workdir))
        assert again == scores, "scores that were known are others"
        result = Result(job=job, attempt=1, outputs=(), scores=scores)
        timed(say, "verdict", lambda: comparison.register_result(project, job, result, workdir))
        finish(project, job)
        timed(say, "report", lambda: write_report(project, info.id))
        images = len(plan.spec.payload["images"])
        counts = comparison.get_comparison(project, info.id).summary["counts"]
    assert counts["cells"] == CELLS, counts
    whole = say["rendering 24 cells"] * CELLS * VERSIONS / RENDERED
    spent = sum(say[name] for name in ("planning", "bundle", "scoring", "verdict", "report"))
    return {
        "name": "scoring",
        "figure": round(spent / whole, 3),
        "unit": "of the rendering time of 96 cells x 2 versions",
        "limit": LIMIT,
        "ok": spent <= LIMIT * whole,
        "rendering_s": round(whole, 1),
        "scoring_and_report_s": round(spent, 2),
        "pictures": images,
        "parts_s": {name: round(seconds, 2) for name, seconds in say.items()},
        "metrics_s": {name: round(seconds, 2) for name, seconds in parts.items()},
    }


def main() -> int:
    """Measure and print; return the exit code."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.environ["ASSETFORGE_PLUGINS"] = "diffusers,toybox"
    reset_registry()
    with tempfile.TemporaryDirectory() as name:
        os.environ["ASSETFORGE_HOME"] = str(Path(name) / "home")
        figures = measure(Path(name))
    print(json.dumps(figures))
    return 0 if figures["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
