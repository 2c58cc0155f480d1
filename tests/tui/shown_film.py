"""The film of the snapshots: five assets with versions, comparisons, decisions, a folder that waits, and a queue. The same on every machine and on every day."""

import dataclasses
import hashlib
import io
import sqlite3
import time
import uuid
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import pytest
from PIL import Image as Pillow
from sqlmodel import select

from assetforge.api.job import OutputFile, RenderedCell, RenderPayload, Result, ScorePayload
from assetforge.api.params import Params, param
from assetforge.api.specs import (
    BaseModelSpec,
    ExecutorSpec,
    MetricSpec,
    RecipeSpec,
    RendererSpec,
    SuiteBlock,
    SuiteSpec,
    TrainerSpec,
)
from assetforge.db.models import Asset, DatasetVersion, Run, Version
from assetforge.db.models_jobs import Evaluation, Job
from assetforge.extension import registry as registry_module
from assetforge.extension.discovery import Candidate
from assetforge.extension.manager import LoadedPlugin, PluginFailure
from assetforge.paths import ProjectPaths
from assetforge.services import comparison, projects, rendering
from assetforge.services.assets import add_asset
from assetforge.services.base_models import find_base, record_base
from assetforge.services.captions import set_caption
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.project_config import set_value
from assetforge.services.references import exclude_reference, list_references
from assetforge.services.releases import approve, reject
from assetforge.watch.watcher import Watcher
from tests.db.review.conftest import World
from tests.tui import run_jobs
from tests.tui.drawn_pictures import drawn, png

__all__ = [
    "NASTY",
    "ask_for_comparison",
    "build_film",
    "build_nasty_film",
    "fill_queue",
    "put_aside",
    "shown_registry",
    "stamp",
]

NASTY = "a[/b] [red]\x1b[31m\nsecond line\u202e مرحبا 🎬 " + "so-long-a-name-" * 8

_FILM_ID = uuid.UUID(int=0x6E69_6768_7420_6861_7262_6F75_7200_0001)
_BASE = "harbour-base"

_PROMPTS = (
    "{trigger} {class} on a hill at dusk, wide shot",
    "{trigger} {class} in profile in heavy rain, night",
    "{trigger} {class} on the quay beside a lamp",
    "{trigger} {class} at the window, morning light",
    "{trigger} {class} in a crowd on the ferry",
    "{trigger} {class} asleep in the wheelhouse",
    "{trigger} {class} running down a stair",
    "{trigger} {class} under a bridge, fog",
)
SUITE = SuiteSpec(
    name="film-core",
    title="Core",
    family="sd15",
    asset_types=("character", "prop", "style"),
    blocks=(
        SuiteBlock(name="core", prompts=_PROMPTS[:5], seeds=(1,)),
        SuiteBlock(name="core-out", prompts=_PROMPTS[5:], seeds=(1,)),
        SuiteBlock(name="strength", prompts=_PROMPTS[:1], seeds=(1,), strengths=(0.4, 0.7, 1.0, 1.3)),
        SuiteBlock(name="bleed", prompts=("a {class} in a field",), seeds=(1,)),
    ),
    steps=20,
    width=64,
    height=64,
)
_CAPTIONS = (
    "in profile, heavy rain, night",
    "on the quay, waist up, looking back",
    "close up, laughing, lamp light",
    "walking away, long coat, fog",
    "at the rail of the ferry, dawn",
)


class TrainerParams(Params):
    """How a LoRA is trained."""

    rank: int = param(16, "Rank of the LoRA: how much it can learn.", group="Network", ge=1, le=256)
    alpha: float = param(8.0, "Scale of the LoRA; it is applied as alpha / rank.", group="Network", gt=0, le=1024)
    network: Literal["lora", "dora"] = param("lora", "Kind of adapter.", group="Network")
    steps: int = param(1900, "Optimizer steps.", unit="steps", group="Length", ge=1, le=1_000_000)
    learning_rate: float = param(1e-4, "Step size of the optimizer.", group="Learning", gt=0, lt=1)
    text_encoder: bool = param(False, "Adapt the text encoder too.", group="Learning")


def base_folder():
    """Where the base model of the snapshots lies: beside the films."""
    folder = projects.projects_dir().parent / "base"
    folder.mkdir(exist_ok=True)
    if not (folder / "model_index.json").exists():
        (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    return folder


def shown_registry():
    """A plugin with all that the film needs, and one of every kind that a person has to look at; whatever is installed here is left out."""
    built = registry_module.load_registry()
    # Whatever else is installed here is only named as left out.
    built._plugins = [one for one in built.plugins if one.candidate.source == "builtin"]
    for plugin in built.plugins:
        # Neither versions nor times may stand in pictures that are compared.
        plugin.candidate = dataclasses.replace(plugin.candidate, version="1.0")
        plugin.import_s = plugin.hooks_s = 0.0
    known = {entry.spec.name for entry in built.executors()}
    here = () if "local" in known else (ExecutorSpec(name="local", title="Here", load="studio:Local"),)
    specs = {
        "trainer": (
            TrainerSpec(
                name="studio-lora",
                title="LoRA",
                families=("sd15",),
                load="studio:Trainer",
                params=TrainerParams,
                resumable=True,
            ),
        ),
        "recipe": tuple(
            RecipeSpec(
                name=f"{kind}-film",
                title=f"A {kind} of this film",
                summary=f"Values that suit a {kind} of 10 to 50 pictures.",
                family="sd15",
                trainer="studio-lora",
                asset_types=(kind,),
                base=_BASE,
                params={"rank": rank},
            )
            for kind, rank in (("character", 32), ("prop", 16), ("style", 8))
        ),
        "base_model": (
            BaseModelSpec(
                name=_BASE,
                title="Harbour",
                family="sd15",
                locate="tests.tui.shown_film:base_folder",
                resolution=512,
                licence="Apache-2.0",
            ),
        ),
        "suite": (SUITE,),
        "renderer": (RendererSpec(name="studio-render", title="Renderer", families=("sd15",), load="studio:Renderer"),),
        "metric": (
            _metric("identity", "Identity", ("character", "prop"), gates=True),
            _metric("palette", "Palette", (), gates=False),
        ),
        "executor": here,
    }
    built.add(LoadedPlugin(_candidate("studio", "assetforge-studio"), specs=specs))
    broken = LoadedPlugin(_candidate("skin-tones", "assetforge-skin-tones"), state="quarantined")
    built._plugins.append(broken)
    built._loader.failures.append(
        PluginFailure(
            name="skin-tones",
            distribution="assetforge-skin-tones",
            stage="import",
            reason="ModuleNotFoundError: No module named 'colour_science'",
            traceback='Traceback (most recent call last):\n  File "skin_tones/plugin.py", line 3, in <module>\n'
            "    import colour_science\n    ^^^^^^^^^^^^^^^^^^^^^\nModuleNotFoundError: No module named 'colour_science'\n",
        )
    )
    built._plugins.append(LoadedPlugin(_candidate("old-importer", "assetforge-old-importer"), state="disabled"))
    return built


def _metric(name, title, types, *, gates):
    return MetricSpec(
        name=name,
        title=title,
        kind="embedding",
        asset_types=types,
        gates=gates,
        bases=(_BASE,),
        margin=0.05,
        load="studio:Metric",
    )


def _candidate(name, distribution):
    return Candidate(name=name, distribution=distribution, version="1.0", target=name.replace("-", "_"))


@dataclasses.dataclass
class _Studio(World):
    """Hands that do what the children of jobs do, with drawn pictures."""

    shares: dict = dataclasses.field(default_factory=dict)

    def add_pictures(self, asset, seeds):
        """References from files; their hashes in the order of the files."""
        folder = self.folder / f"{asset}-{seeds[0]}"
        folder.mkdir()
        for at in seeds:
            size = [(96, 64), (64, 96), (96, 96), (120, 80)][at % 4]
            (folder / f"{asset} {at:02}.png").write_bytes(png(drawn(asset, f"{asset}{at}", size=size)))
        add_references(self.project, asset, [folder], origin="unit stills", rights="cleared for the film")

    def add_version(self, asset, number, dataset, *, rank=16, parent=None, note=""):
        """A version as a run would have made it."""
        base = find_base(_BASE)
        with self.project.write() as session:
            row = session.exec(select(Asset).where(Asset.name == asset)).one()
            frozen = session.exec(
                select(DatasetVersion).where(DatasetVersion.asset_id == row.id, DatasetVersion.number == dataset)
            ).one()
            run = Run(
                asset_id=row.id,
                dataset_id=frozen.id,
                base_model_id=record_base(session, base),
                recipe=f"{row.type}-film",
                trainer="studio-lora",
                trainer_version="1",
                plugin="assetforge-studio",
                plugin_version="1.0",
                params={"rank": rank, "steps": 1900, "learning_rate": 0.0001},
                recipe_key=f"{asset}{number}",
                seed=0,
                state="succeeded",
                requested_by="director",
            )
            session.add(run)
            session.flush()
            sha256, _ = self.project.blobs.put_file(self.weights(f"{asset}-v{number}", float(number)))
            older = session.exec(select(Version).where(Version.asset_id == row.id, Version.number == parent)).first()
            session.add(
                Version(
                    asset_id=row.id,
                    number=number,
                    run_id=run.id,
                    parent_id=older.id if older else None,
                    family="sd15",
                    weights=sha256,
                    tensor_hash=f"{asset}{number}",
                    note=note,
                )
            )

    def render_result(self, job_id, workdir):
        """What a renderer would leave behind: later versions are nearer to the asset, but for a second one of the lamp."""
        plan = rendering.plan_job(self.project, job_id)
        payload = RenderPayload.model_validate(plan.spec.payload)
        cells, outputs = [], []
        for one in payload.passes:
            name, number = self._who(one)
            for cell in one.cells:
                worse = name == "brass-lamp" and number > 1
                likeness = 0 if not number else 120 if worse else 190 + 9 * number
                wobble = hashlib.sha256(f"{number}{cell.prompt}{cell.seed}".encode()).digest()[0] % 40
                share = max(0, min(256, int((likeness - wobble) * cell.strength))) // (
                    8 if cell.block == "bleed" else 1
                )
                data = png(drawn(name, f"{cell.prompt}{cell.seed}", share))
                self.shares[hashlib.sha256(data).hexdigest()] = share / 256
                path = workdir / "outputs" / f"{one.evaluation}-{cell.index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                relative = path.relative_to(workdir).as_posix()
                cells.append(RenderedCell(evaluation=one.evaluation, index=cell.index, file=relative, seconds=0.1))
                outputs.append(OutputFile(path=relative, sha256=hashlib.sha256(data).hexdigest(), size=len(data)))
        engine = {"device": "cuda", "dtype": "bfloat16"}
        return Result(job=job_id, attempt=1, outputs=tuple(outputs), cells=tuple(cells), engine=engine)

    def _who(self, one):
        if one.lora is not None:
            asset, _, number = one.lora.name.partition("/v")
            return asset, int(number)
        with self.project.read() as session:
            evaluation = session.get_one(Evaluation, one.evaluation)
            return session.get_one(Asset, evaluation.asset_id).name, 0

    def score_result(self, job_id):
        """What a scorer would say: likeness as it was drawn, and the colours of the picture."""
        plan = comparison.plan_job(self.project, job_id)
        payload = ScorePayload.model_validate(plan.spec.payload)
        files = {one.path: one.data or self.project.blobs.path(one.sha256).read_bytes() for one in plan.inputs}
        likeness, colours = {}, {}
        for image in payload.images:
            data = files[image.file]
            share = self.shares.get(hashlib.sha256(data).hexdigest(), 1.0)
            other = image.key.startswith("other/")
            likeness[image.key] = [0.0, 0.3, 1.0] if other else [share, (1 - share**2) ** 0.5, 0.1]
            pixels = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"), float)
            colours[image.key] = (pixels.mean(axis=(0, 1)) - 100).round(1).tolist()
        scores = {"identity": likeness, "palette": colours}
        return Result(job=job_id, attempt=1, outputs=(), scores={one.name: scores[one.name] for one in payload.metrics})


def build_film(home):
    """Make the film below ``home``; gives its folder."""
    with _known_id():
        project = projects.create_project("night-harbour", title="Night Harbour")
    with project:
        hands = _Studio(project=project, folder=home / "hands")
        hands.folder.mkdir()
        _fill_mara(hands)
        _fill_others(hands)
        stamp(project.root)
        return project.root


@contextmanager
def _known_id():
    # Sides of a blind vote are drawn by the film's id.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uuid, "uuid4", lambda: _FILM_ID)
        yield


def _fill_mara(hands):
    project = hands.project
    add_asset(
        project,
        "mara",
        "character",
        trigger="mrvale",
        class_word="woman",
        description="Harbour pilot, thirties, yellow oilskin; a scar over the left eye from act two on.",
        settings={"metrics": ["identity", "palette"]},
    )
    hands.add_pictures("mara", range(12))
    _caption(project, "mara")
    freeze(project, "mara", note="first stills")
    hands.add_version("mara", 1, 1, rank=16)
    hands.compare("mara/v1")
    approve(project, "mara/v1", why="the first that is her", review="skipped")
    hands.add_version("mara", 2, 1, rank=8, parent=1)
    reject(project, "mara/v2", why="the coat goes brown in rain", review="skipped")
    hands.add_pictures("mara", range(12, 17))
    addresses = [one.address for one in list_references(project, "mara").items]
    set_caption(project, addresses[0], "in profile, heavy rain, night, hood up")
    set_caption(project, addresses[3], "in profile, scar over the left eye")
    exclude_reference(project, addresses[5], "out of focus")
    freeze(project, "mara", note="storm stills, one out of focus less")
    hands.add_version("mara", 3, 2, rank=32, parent=1)
    hands.compare("mara/v3", "mara/v1")


def _fill_others(hands):
    project, metrics = hands.project, {"metrics": ["identity", "palette"]}
    add_asset(project, "ilse", "character", trigger="ilsmrn", class_word="woman", settings=metrics)
    hands.add_pictures("ilse", range(9))
    _caption(project, "ilse")
    freeze(project, "ilse")
    hands.add_version("ilse", 1, 1)
    approve(project, "ilse/v1", why="reads well in every light", review="skipped")
    add_asset(project, "brass-lamp", "prop", trigger="brslmp", class_word="lamp", settings=metrics)
    hands.add_pictures("brass-lamp", range(8))
    freeze(project, "brass-lamp")
    hands.add_version("brass-lamp", 1, 1)
    approve(project, "brass-lamp/v1", why="the dent is there", review="skipped")
    hands.add_version("brass-lamp", 2, 1, rank=4, parent=1)
    hands.compare("brass-lamp/v2", "brass-lamp/v1")
    add_asset(project, "porter", "character", trigger="prtrhn", class_word="man", settings=metrics)
    hands.add_pictures("porter", range(6))
    freeze(project, "porter")
    hands.add_version("porter", 1, 1)
    hands.add_pictures("porter", range(6, 8))
    add_asset(project, "ink-wash", "style", trigger="inkwsh", description="Grey washes, hard paper edge.")
    hands.add_pictures("ink-wash", range(5))


def _caption(project, asset):
    for at, one in enumerate(list_references(project, asset).items):
        if at % 6 != 5:
            set_caption(project, one.address, _CAPTIONS[at % len(_CAPTIONS)])


def stamp(root, *, days=4.25):
    """Everything happened some days ago, one after the other within minutes, so that words such as ``4 days ago`` hold for hours."""
    began = datetime.now(UTC) - timedelta(days=days)
    with closing(sqlite3.connect(ProjectPaths(root).database)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = {name: kind for _, name, kind, *_ in connection.execute(f"PRAGMA table_info('{table}')")}
            for column in [one for one in columns if one == "at" or one.endswith("_at")]:
                rows = connection.execute(f"SELECT rowid FROM '{table}' WHERE {column} IS NOT NULL").fetchall()
                for (row,) in rows:
                    at = began + timedelta(seconds=2 * row + (column == "finished_at"))
                    value = at.timestamp() if columns[column] == "FLOAT" else f"{at:%Y-%m-%d %H:%M:%S.%f}"
                    connection.execute(f"UPDATE '{table}' SET {column} = ? WHERE rowid = ?", (value, row))
        connection.commit()


def build_nasty_film(home):
    """Make a film in which everything that people write tries to break things; gives its folder."""
    with projects.create_project("nasty", title=NASTY) as project:
        hands = _Studio(project=project, folder=home / "nasty-hands")
        hands.folder.mkdir()
        longest = "mara-" + "very-long-" * 5 + "name"
        for name, drawing, kind in (("mara", "mara", "character"), (longest, "brass-lamp", "prop")):
            add_asset(project, name, kind, trigger="mrvale", description=NASTY)
            folder = hands.folder / drawing
            folder.mkdir()
            for at in range(6):
                odd = ("a[b] [red]", "\u202ename 名前", "two\nlines", "🎬 👩\u200d🚀", "[b]", "x" * 120)[at]
                (folder / f"{odd} {at}.png").write_bytes(png(drawn(drawing, f"nasty{at}", size=(96, 72))))
            add_references(project, name, [folder], origin=NASTY, rights=NASTY)
            for one in list_references(project, name).items[:4]:
                set_caption(project, one.address, NASTY)
        hands_on = list_references(project, "mara").items[1].address
        exclude_reference(project, hands_on, NASTY)
        freeze(project, "mara", note=NASTY)
        hands.add_version("mara", 1, 1, note=NASTY)
        approve(project, "mara/v1", why=NASTY, review="skipped")
        stamp(project.root, days=5.25)
        return project.root


def put_aside(root):
    """Files that wait for a person: one is cut off, one too small, one has an odd name as well; one is taken in."""
    config = ProjectPaths(root).config
    set_value(config, "watch.settle_seconds", 0.1)
    set_value(config, "watch.min_side", 40)
    with projects.open_project(root) as project:
        inbox = project.paths.root / "characters" / "mara" / "references"
        (inbox / "IMG_2231.png").write_bytes(png(drawn("mara", "cut", size=(120, 80)))[:9000])
        (inbox / "IMG_2240.png").write_bytes(png(drawn("mara", "small", size=(36, 36))))
        (inbox / "a[b] [red]\n\u202ename 名前.png").write_bytes(png(drawn("mara", "odd", size=(30, 34))))
        (inbox / "IMG_2242.png").write_bytes(png(drawn("mara", "new", size=(120, 80))))
        Watcher(project).once(60.0)
    stamp(root)


def ask_for_comparison(root):
    """A comparison that waits for its pictures."""
    with projects.open_project(root) as project:
        return comparison.request_comparison(project, "porter/v1").id


def _asked(project, job, hours):
    """A job and its run were asked for some hours ago."""
    run_jobs.set_job(project, job, created_at=time.time() - hours * 3600)
    with project.write() as session:
        run = session.get_one(Run, session.get_one(Job, job).run_id)
        run.created_at = datetime.now(UTC) - timedelta(hours=hours)
    return job


def fill_queue(root):
    """One training that goes on, what waits behind it, one that failed and one that is done. Times are such that words for them hold for half an hour."""

    def train(hours, asset, **how):
        return _asked(project, run_jobs.train(project, asset, **how), hours)

    with projects.open_project(root) as project:
        going = run_jobs.begin(project, train(12.5, "mara", steps=1900), "cuda:0", 620)
        run_jobs.write_training(project, going, 1178, 1900)
        train(12.5, "porter", steps=1200, cause="automatic: 2 new references")
        held = train(13.5, "ilse", steps=900, seed=7, cause="automatic: 5 new references")
        run_jobs.set_job(project, held, not_before=time.time() + 20.5 * 3600)
        failed = train(21.5, "brass-lamp", steps=500, seed=3)
        run_jobs.write_training(project, failed, 3, 500)
        run_jobs.end(project, failed, "failed", error=run_jobs.NASTY_ERROR, ago_s=20.5 * 3600)
        done = train(23.5, "brass-lamp", steps=400, seed=5)
        run_jobs.write_training(project, done, 400, 400)
        run_jobs.end(project, done, "succeeded", ago_s=22.5 * 3600)
