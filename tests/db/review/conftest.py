"""A small film with two versions of one asset, and stand-ins for the children of render and score jobs."""

import hashlib
import importlib
import io
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image as Pillow
from safetensors.numpy import save_file

from assetforge.api.job import OutputFile, RenderedCell, RenderPayload, Result, ScorePayload
from assetforge.api.specs import ExecutorSpec, MetricSpec, RendererSpec, SuiteBlock, SuiteSpec
from assetforge.builtin.pixel_metric_specs import PIXEL_METRICS
from assetforge.db.models import (
    BaseModelRecord,
    DatasetItemRow,
    DatasetVersion,
    Image,
    Reference,
    Run,
    Version,
)
from assetforge.db.models_jobs import Job
from assetforge.extension import registry as registry_module
from assetforge.extension.discovery import Candidate
from assetforge.extension.manager import LoadedPlugin
from assetforge.services import comparison, rendering
from assetforge.services.assets import add_asset

SIZE = 32
SUITE = SuiteSpec(
    name="tiny-core",
    title="Tiny",
    family="sd15",
    asset_types=("character",),
    blocks=(
        SuiteBlock(name="core", prompts=("{trigger} {class} on a hill", "{trigger} {class} at night"), seeds=(1, 2)),
        SuiteBlock(name="strength", prompts=("{trigger} {class} on a hill",), seeds=(1,), strengths=(0.0, 0.5, 1.0)),
        SuiteBlock(name="bleed", prompts=("a {class} in a field",), seeds=(1,)),
    ),
    steps=2,
    width=SIZE,
    height=SIZE,
)
CELLS, CONTROLS = 8, 5
ASSET_COLOUR = (220, 60, 40)


def picture(seed, pull=0.0, size=SIZE):
    """Noise of a seed, pulled towards the colour of the asset."""
    ground = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    pixels = np.array(Pillow.fromarray(ground).resize((size, size), Pillow.Resampling.BICUBIC), float)
    return ((1 - pull) * pixels + pull * np.array(ASSET_COLOUR)).astype(np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def registry(monkeypatch):
    """Builtin specs, and a plugin with a suite, a renderer and an embedding metric."""
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "none")
    built = review_registry()
    monkeypatch.setattr(registry_module, "_current", built)
    return built


def review_registry():
    """See :func:`registry`; no other plugin may be loaded."""
    built = registry_module.load_registry()
    known = {entry.spec.name for entry in built.metrics()}
    specs = {
        "suite": (SUITE,),
        "renderer": (RendererSpec(name="paint", title="Paint", families=("sd15",), load="review_plugin:Paint"),),
        "metric": (
            MetricSpec(
                name="probe",
                title="Probe",
                kind="embedding",
                asset_types=("character",),
                gates=True,
                bases=("tiny",),
                load="review_plugin:Probe",
            ),
            MetricSpec(
                name="other-base",
                title="Reads pictures of another base only",
                kind="embedding",
                gates=True,
                bases=("huge",),
                load="review_plugin:Probe",
            ),
            MetricSpec(
                name="style-only", title="Style", kind="embedding", asset_types=("style",), load="review_plugin:Style"
            ),
            *(spec for spec in PIXEL_METRICS if spec.name not in known),
        ),
        "executor": ()
        if any(entry.spec.name == "local" for entry in built.executors())
        else (ExecutorSpec(name="local", title="Here", load="review_plugin:Local"),),
    }
    built.add(
        LoadedPlugin(
            Candidate(name="review", distribution="review-plugin", version="1.0", target="review_plugin"), specs=specs
        )
    )
    return built


@dataclass
class World:
    """The film, and hands that do what children do."""

    project: object
    folder: object

    def weights(self, name, value, metadata=None):
        path = self.folder / f"{name}.safetensors"
        tensors = {
            "lora_unet_x.lora_down.weight": np.full((2, 4), value, np.float32),
            "lora_unet_x.lora_up.weight": np.full((4, 2), value, np.float32),
        }
        save_file(
            tensors, str(path), metadata={"ss_base_model_version": "sd_v1-5", "ss_steps": "300", **(metadata or {})}
        )
        return path

    def add_reference(self, session, asset_id, seed, caption):
        data = png(picture(1000 + seed, pull=0.8, size=48))
        sha256 = self.project.blobs.put_bytes(data)
        session.add(
            Image(
                sha256=sha256, size=len(data), format="PNG", mode="RGB", width=48, height=48, phash=seed, sharpness=1.0
            )
        )
        session.flush()
        session.add(Reference(asset_id=asset_id, sha256=sha256, caption=caption, file_name=f"{seed}.png"))
        return sha256

    def add_dataset(self, session, asset_id, number, items, parent=None):
        tree = hashlib.sha256(repr(items).encode()).hexdigest()
        held = sum(split == "held_out" for _, _, split in items)
        row = DatasetVersion(
            asset_id=asset_id,
            number=number,
            tree_hash=tree,
            parent_id=parent,
            train_count=len(items) - held,
            held_out_count=held,
        )
        session.add(row)
        session.flush()
        for sha256, caption, split in items:
            session.add(
                DatasetItemRow(dataset_id=row.id, sha256=sha256, caption=caption, crop="", repeats=1, split=split)
            )
        return row.id

    def add_version(self, session, asset_id, number, dataset_id, base_id, rank):
        run = Run(
            asset_id=asset_id,
            dataset_id=dataset_id,
            base_model_id=base_id,
            recipe="character-tiny",
            trainer="paint-lora",
            trainer_version="1",
            plugin="review-plugin",
            plugin_version="1.0",
            params={"rank": rank, "learning_rate": 0.0005},
            recipe_key=f"key{number}",
            seed=0,
            state="succeeded",
        )
        session.add(run)
        session.flush()
        sha256, _ = self.project.blobs.put_file(self.weights(f"v{number}", float(number)))
        parent = number - 1 if number > 1 else None
        session.add(
            Version(
                asset_id=asset_id,
                number=number,
                run_id=run.id,
                parent_id=parent,
                family="sd15",
                weights=sha256,
                tensor_hash=f"t{number}",
            )
        )
        session.flush()

    def job(self, job_id):
        with self.project.read() as session:
            return session.get_one(Job, job_id)

    def finish(self, job_id, state="succeeded"):
        with self.project.write() as session:
            session.get_one(Job, job_id).state = state

    def render_result(self, job_id, workdir, *, engine=None, spoil=None):
        """What a renderer's child would leave behind."""
        plan = rendering.plan_job(self.project, job_id)
        payload = RenderPayload.model_validate(plan.spec.payload)
        cells, outputs = [], []
        for one in payload.passes:
            for cell in one.cells:
                pull = 0.0
                if one.lora is not None:
                    number = int(one.lora.name.rsplit("v", 1)[1])
                    pull = (0.2 + 0.2 * number) * cell.strength * (0.1 if cell.block == "bleed" else 1.0)
                seed = int.from_bytes(hashlib.sha256(f"{cell.prompt}{cell.seed}".encode()).digest()[:4])
                path = workdir / "outputs" / f"{one.evaluation}-{cell.index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(png(picture(seed, pull)))
                if spoil:
                    spoil(path, one, cell)
                relative = path.relative_to(workdir).as_posix()
                if path.exists():
                    cells.append(RenderedCell(evaluation=one.evaluation, index=cell.index, file=relative, seconds=0.1))
                    outputs.append(
                        OutputFile(
                            path=relative,
                            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                            size=path.stat().st_size,
                        )
                    )
        return Result(
            job=job_id,
            attempt=1,
            outputs=tuple(outputs),
            cells=tuple(cells),
            engine=engine or {"device": "cpu", "dtype": "float32"},
        )

    def render(self, job_id, workdir, **kwargs):
        rendering.register_result(self.project, job_id, self.render_result(job_id, workdir, **kwargs), workdir)
        self.finish(job_id)

    def score_result(self, job_id):
        """What a score child would say: the probe looks at mean colours, pixel metrics are the real ones."""
        plan = comparison.plan_job(self.project, job_id)
        payload = ScorePayload.model_validate(plan.spec.payload)
        files = {one.path: one.data or self.project.blobs.path(one.sha256).read_bytes() for one in plan.inputs}
        pixels = {
            image.key: np.asarray(Pillow.open(io.BytesIO(files[image.file])).convert("RGB")) for image in payload.images
        }
        scores = {}
        for metric in payload.metrics:
            if metric.name == "probe":
                scores[metric.name] = {key: (value.mean(axis=(0, 1)) - 110).tolist() for key, value in pixels.items()}
                continue
            module, attribute = metric.load.split(":")
            code = getattr(importlib.import_module(module), attribute)()
            if hasattr(code, "compare"):
                values = code.compare([(pixels[a], pixels[b]) for a, b in payload.pairs])
                scores[metric.name] = {f"{a}|{b}": value for (a, b), value in zip(payload.pairs, values, strict=True)}
            elif hasattr(code, "embed"):
                scores[metric.name] = dict(zip(pixels, code.embed(list(pixels.values())).tolist(), strict=True))
            else:
                scores[metric.name] = dict(zip(pixels, code.score(list(pixels.values())), strict=True))
        return Result(job=job_id, attempt=1, outputs=(), scores=scores)

    def score(self, job_id, workdir):
        comparison.register_result(self.project, job_id, self.score_result(job_id), workdir)
        self.finish(job_id)

    def compare(self, new, base="", **kwargs):
        """A comparison, taken to its end."""
        info = comparison.request_comparison(self.project, new, base, **kwargs)
        while info.jobs:
            for job_id in info.jobs:
                workdir = self.folder / f"job{job_id}"
                {"render": self.render, "score": self.score}[self.job(job_id).kind](job_id, workdir)
            info = comparison.get_comparison(self.project, info.id)
        return info


@pytest.fixture
def world(project, registry, tmp_path):
    """mara with v1 on d1 and v2 on d2; d2 has two references more and one new caption."""
    return make_world(project, tmp_path)


def make_world(project, folder):
    """See :func:`world`; what the hands leave behind goes into a folder."""
    made = World(project=project, folder=folder / "hands")
    made.folder.mkdir()
    asset = add_asset(project, "mara", "character", trigger="mrvale", class_word="robot")
    with project.write() as session:
        shas = [made.add_reference(session, asset.id, seed, f"standing, {seed}") for seed in range(8)]
        first = [
            (sha, f"standing, {index}", "held_out" if index < 2 else "train") for index, sha in enumerate(shas[:6])
        ]
        second = [
            *first[:5],
            (shas[5], "a better <b>caption</b> [bold]", "train"),
            (shas[6], "new place & [red]", "train"),
            (shas[7], "<script>", "held_out"),
        ]
        d1 = made.add_dataset(session, asset.id, 1, first)
        d2 = made.add_dataset(session, asset.id, 2, second, parent=d1)
        base = BaseModelRecord(name="tiny", family="sd15", digest="b" * 64, path=str(folder), resolution=32)
        session.add(base)
        session.flush()
        made.add_version(session, asset.id, 1, d1, base.id, rank=8)
        made.add_version(session, asset.id, 2, d2, base.id, rank=16)
    return made
