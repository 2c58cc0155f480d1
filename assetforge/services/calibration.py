"""Calibration: what training again changes, measured by training a version once more with other seeds and comparing all of them with each other.

A calibration keeps nothing of its own. Its runs say in their cause what they belong to, and its comparisons are found as pairs that differ in their seed only
(:mod:`assetforge.services.noise`), from which later verdicts take their margins. Asking again continues what is missing. Versions that were made for it are retired.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from sqlmodel import Session, col, select

from assetforge.api.params import influential
from assetforge.db.models import Alias, Asset, BaseModelRecord, DatasetVersion, Run, Version
from assetforge.db.models_jobs import Job
from assetforge.domain.evidence import Margin, margins
from assetforge.domain.names import dataset_address, version_address
from assetforge.domain.paired_statistics import retrain_noise
from assetforge.domain.recipe_key import recipe_key
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import NotFoundError, UsageError
from assetforge.services import activity
from assetforge.services.assets import AssetInfo, find_asset, get_asset
from assetforge.services.base_models import find_base
from assetforge.services.comparison import ComparisonInfo, get_comparison, request_comparison
from assetforge.services.comparison_plan import (
    asset_metrics,
    diversity_metric,
    metrics_for_base,
    primary_metric,
    ready_metrics,
)
from assetforge.services.comparison_summary import scored_metric
from assetforge.services.drift import engine_noise
from assetforge.services.noise import is_retrain_pair, known_noise
from assetforge.services.projects import Project
from assetforge.services.recipes import resolve_recipe
from assetforge.services.registration import register_kept
from assetforge.services.releases import APPROVED
from assetforge.services.rendering import request_renders
from assetforge.services.training import request_training
from assetforge.services.versions import CALIBRATION, find_version, row_id, standing
from assetforge.store.model_digest import HashProgress

__all__ = [
    "Calibration",
    "KnownMargin",
    "NoiseTable",
    "Repeat",
    "compare_repeats",
    "noise_table",
    "pending_jobs",
    "request_calibration",
    "train_jobs",
]

RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """The version trained again.

    Attributes:
        seed: Seed of its run.
        run: Its run.
        state: State of the run.
        job: Job that trains it; ``None`` when it has ended.
        version: Address of the weights of as many steps as the original has; empty until they are a version.
        made: It was made for a calibration; otherwise somebody had trained it for reasons of their own.
    """

    seed: int
    run: int
    state: str
    job: int | None
    version: str
    made: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A calibration, finished or not.

    Attributes:
        asset: Name of the asset.
        version: Address of the version that is trained again.
        repeats: Its trainings with other seeds.
        comparisons: All pairs of them and the version, as far as they were asked for.
    """

    asset: str
    version: str
    repeats: tuple[Repeat, ...]
    comparisons: tuple[ComparisonInfo, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMargin:
    """A margin, and whose noise it is made of.

    Attributes:
        margin: The margin.
        source: ``own``, ``kin`` when it was measured on other assets of the type, empty when it was not measured.
    """

    margin: Margin
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseTable:
    """What is known of an asset's noise on one base model.

    Attributes:
        asset: Name of the asset.
        base: Name of the base model.
        margins: Of metrics and guard rails, the deciding metric first.
        engine: What one engine differs from itself, root mean square of mean absolute differences in levels of 0 to 255; ``None`` when no drift check measured it.
        engine_checks: Drift checks that it comes from.
    """

    asset: str
    base: str
    margins: tuple[KnownMargin, ...]
    engine: float | None
    engine_checks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Original:
    """The version that is trained again, with what made it."""

    asset: Asset
    version: Version
    run: Run
    dataset: DatasetVersion
    base: BaseModelRecord
    start: str
    start_from: str

    @property
    def address(self) -> str:
        return version_address(self.asset.name, self.version.number)


def request_calibration(
    project: Project,
    asset_name: str,
    version: str = "",
    *,
    repeats: int = 2,
    executor: str = "",
    priority: int = 0,
    hashing: HashProgress | None = None,
) -> Calibration:
    """Have a version trained again with other seeds; trainings that are there or under way are taken as they are.

    Args:
        project: The film.
        asset_name: Which asset.
        version: Address of the version; by default the approved one, else the newest that was trained here.
        repeats: How many trainings besides the version's own; at least 1.
        executor: Where; by default the film's.
        priority: Higher goes first.
        hashing: Hears about files of the base model that have to be hashed first.

    Raises:
        NotFoundError: There is no such asset or version, or its recipe or base model is gone.
        UsageError: It was not trained here, cannot be trained again as it was, or nothing could measure the difference.
        PluginError: A plugin that the film requires does not work here.
    """
    if repeats < 1:
        raise UsageError("A calibration trains at least once more.", hint="Such as --repeats 2.")
    with project.read() as session:
        original = _original(session, asset_name, version)
        runs = _siblings(session, original)[:repeats]
        seeds = _free_seeds(original.run.seed, {run.seed for run in runs}, repeats - len(runs))
    asset = get_asset(project, asset_name)
    _check_measurable(original)
    base = _base_name(original.base, hashing) if seeds else ""
    if seeds:
        _check_same(project, asset, original, base, hashing)
    asked = [
        request_training(
            project,
            asset_name,
            recipe=original.run.recipe,
            overrides=original.run.params,
            base=base,
            dataset=dataset_address(asset_name, original.dataset.number),
            seed=seed,
            executor=executor,
            priority=priority,
            cause=f"{CALIBRATION}{original.address}",
            start_from=original.start_from,
            hashing=hashing,
        ).run
        for seed in seeds
    ]
    with project.read() as session:
        found = _repeats(session, original, [*(row_id(run.id) for run in runs), *asked])
    return Calibration(asset=asset_name, version=original.address, repeats=found)


def train_jobs(project: Project, calibration: Calibration) -> tuple[int, ...]:
    """Trainings that a calibration still waits for."""
    return tuple(one.job for one in _now(project, calibration) if one.job is not None)


def compare_repeats(
    project: Project,
    calibration: Calibration,
    *,
    quick: bool = False,
    executor: str = "",
    device: str = "auto",
    priority: int = 0,
) -> Calibration:
    """Have all pairs of what is trained compared, and retire what was made for it; what was compared already is not compared again.

    Args:
        project: The film.
        calibration: What was asked for.
        quick: Only the quick size of the suite.
        executor: Where; by default the film's.
        device: Device to render on: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        priority: Higher goes first.

    Raises:
        NotFoundError: There is no suite or renderer, or what a run kept on the way is gone.
        UsageError: Suite or metrics do not fit.
    """
    with project.read() as session:
        original = _original(session, calibration.asset, calibration.version)
    for one in _now(project, calibration):
        if one.state == "succeeded" and one.made and not one.version:
            register_kept(project, one.run, original.version.step)
    # Before anything is compared: neither the film's policy nor anybody in a hurry should take one for a candidate.
    _retire(project, calibration)
    repeats = _now(project, calibration)
    trained = [calibration.version, *(one.version for one in repeats if one.version)]
    with project.read() as session:
        numbers = {one: find_version(session, one)[1].number for one in trained}
    if len(numbers) < 2:
        return replace(calibration, repeats=repeats)
    about: dict[str, Any] = {"quick": quick, "executor": executor, "device": device, "priority": priority}
    # All of them in one job, so that the base is loaded once; the comparisons find these renders.
    request_renders(project, list(numbers), **about)
    pairs = combinations(sorted(numbers, key=numbers.__getitem__), 2)
    found = [request_comparison(project, later, earlier, second_look=False, **about) for earlier, later in pairs]
    return replace(calibration, repeats=repeats, comparisons=tuple(found))


def pending_jobs(project: Project, calibration: Calibration) -> tuple[tuple[int, ...], Calibration]:
    """Jobs that the comparisons still wait for, and how the calibration stands; renders are followed by scores, so ask again until there is none."""
    now = tuple(get_comparison(project, one.id) for one in calibration.comparisons)
    jobs = tuple(dict.fromkeys(job for one in now if one.state == "queued" for job in one.jobs))
    return jobs, replace(calibration, comparisons=now)


def noise_table(project: Project, asset_name: str, version: str = "") -> NoiseTable:
    """What training again changes per metric and guard rail, the margins that follow, and what an engine differs from itself.

    Args:
        project: The film.
        asset_name: Which asset.
        version: Address of the version whose base model is asked about; by default the approved one, else the newest that was trained here.

    Raises:
        NotFoundError: There is no such asset or version.
        UsageError: It was not trained here.
    """
    with project.read() as session:
        original = _original(session, asset_name, version)
        base_id = row_id(original.base.id)
        noise = known_noise(session, original.asset, base_id)
        engine = engine_noise(session, base_model_id=base_id)
    metrics = _metrics(original)
    found = margins(
        [scored_metric(metric) for metric in metrics],
        primary_metric(metrics),
        diversity_metric(metrics),
        {**noise.kin, **noise.own},
    )
    return NoiseTable(
        asset=asset_name,
        base=original.base.name,
        margins=tuple(
            KnownMargin(margin=one, source="own" if one.name in noise.own else "kin" if one.name in noise.kin else "")
            for one in found
        ),
        engine=retrain_noise(engine),
        engine_checks=len(engine),
    )


def _original(session: Session, asset_name: str, wanted: str) -> _Original:
    asset = find_asset(session, asset_name)
    version = _chosen(session, asset, wanted)
    if version is None or version.run_id is None:
        what = f"{wanted} was not" if wanted else f"No version of {asset_name} was"
        raise UsageError(
            f"{what} trained here, so nobody knows what to train again.", hint=f"`assetforge train {asset_name}`"
        )
    run = session.get_one(Run, version.run_id)
    payload = session.exec(select(Job.payload).where(Job.run_id == run.id).order_by(col(Job.id))).first() or {}
    return _Original(
        asset=asset,
        version=version,
        run=run,
        dataset=session.get_one(DatasetVersion, run.dataset_id),
        base=session.get_one(BaseModelRecord, run.base_model_id),
        start=str(payload.get("start", "")),
        start_from=str(payload.get("start_from", "")),
    )


def _chosen(session: Session, asset: Asset, wanted: str) -> Version | None:
    if wanted:
        other, version = find_version(session, wanted)
        if other.id != asset.id:
            raise UsageError(f"{wanted} is not a version of {asset.name}.", hint="Name one of its own.")
        return version
    trained = select(Version).where(Version.asset_id == asset.id, col(Version.run_id).is_not(None))
    approved = trained.join(Alias, col(Alias.version_id) == Version.id).where(Alias.name == APPROVED)
    newest = trained.where(Version.stage != "rejected", standing()).order_by(col(Version.number).desc())
    return session.exec(approved).first() or session.exec(newest).first()


def _siblings(session: Session, original: _Original) -> list[Run]:
    """Runs that differ from the original's in their seed only, one for each seed, which are under way or gave weights of as many steps."""
    rows = session.exec(select(Run).where(Run.asset_id == original.asset.id).order_by(col(Run.id))).all()
    found: dict[int, Run] = {}
    for run in rows:
        if not is_retrain_pair(session, original.run, run):
            continue
        usable = run.state == "succeeded" and (_made(run) or _version(session, original, run))
        if usable or run.state in OPEN_JOB_STATES or _open_job(session, run) is not None:
            found.setdefault(run.seed, run)
    return list(found.values())


def _free_seeds(own: int, taken: set[int], count: int) -> list[int]:
    seeds: list[int] = []
    seed = own
    while len(seeds) < count:
        seed += 1
        if seed not in taken:
            seeds.append(seed)
    return seeds


def _now(project: Project, calibration: Calibration) -> tuple[Repeat, ...]:
    with project.read() as session:
        original = _original(session, calibration.asset, calibration.version)
        return _repeats(session, original, [one.run for one in calibration.repeats])


def _repeats(session: Session, original: _Original, numbers: Sequence[int]) -> tuple[Repeat, ...]:
    found = []
    for number in numbers:
        run = session.get_one(Run, number)
        version = _version(session, original, run)
        found.append(
            Repeat(
                seed=run.seed,
                run=number,
                state=run.state,
                job=_open_job(session, run),
                version=version_address(original.asset.name, version.number) if version is not None else "",
                made=_made(run),
            )
        )
    return tuple(found)


def _made(run: Run) -> bool:
    return run.cause.startswith(CALIBRATION)


def _version(session: Session, original: _Original, run: Run) -> Version | None:
    same = select(Version).where(Version.run_id == run.id, Version.step == original.version.step)
    return session.exec(same).first()


def _open_job(session: Session, run: Run) -> int | None:
    return session.exec(select(Job.id).where(Job.run_id == run.id, col(Job.state).in_(OPEN_JOB_STATES))).first()


def _retire(project: Project, calibration: Calibration) -> None:
    """Take candidates that were made for the calibration out of the line; what somebody decided about stays as it is."""
    made = {one.run: one.seed for one in _now(project, calibration) if one.made and one.state == "succeeded"}
    with project.write() as session:
        rows = session.exec(select(Version).where(col(Version.run_id).in_(made), Version.stage == "candidate")).all()
        for row in rows:
            seed = made[row_id(row.run_id)]
            row.stage, row.note = RETIRED, f"calibration: {calibration.version} trained again with seed {seed}"
            session.add(row)
            address = version_address(calibration.asset, row.number)
            activity.record(session, activity.current_actor(), RETIRED, address, why=row.note)


def _metrics(original: _Original) -> list[dict[str, Any]]:
    metrics = metrics_for_base(asset_metrics(original.asset), original.base.name)
    return ready_metrics(metrics)[0]


def _check_measurable(original: _Original) -> None:
    if not primary_metric(_metrics(original)):
        raise UsageError(
            f"No metric that can run here knows what a {original.asset.type} looks like, so training {original.address} again would tell nothing.",
            hint="assetforge-vision brings such metrics; `assetforge plugin list` shows what there is.",
        )
    if original.dataset.held_out_count == 0:
        raise UsageError(
            f"{dataset_address(original.asset.name, original.dataset.number)} holds no reference out of training, so that nothing could be measured on it.",
            hint="Freeze a dataset with a held-out split, and train on that.",
        )


def _base_name(row: BaseModelRecord, hashing: HashProgress | None) -> str:
    """What to call the base model of a run: its name, else the place where it lies."""
    try:
        return row.name if find_base(row.name, progress=hashing).digest == row.digest else row.path
    except NotFoundError:
        return row.path


def _check_same(
    project: Project, asset: AssetInfo, original: _Original, base: str, hashing: HashProgress | None
) -> None:
    """See to it that the same training would come out, but for its seed."""
    run = original.run
    recipe = resolve_recipe(project, asset, name=run.recipe, overrides=run.params, base=base, hashing=hashing)
    spec = recipe.trainer.spec
    key = recipe_key(
        dataset_tree=original.dataset.tree_hash,
        trainer=spec.name,
        trainer_version=spec.version,
        params=influential(recipe.params),
        base_digest=recipe.base.digest,
        trigger=asset.trigger,
        class_word=asset.class_word,
        seed=run.seed,
        warm_start=original.start,
    )
    same_trainer = (spec.name, spec.version) == (run.trainer, run.trainer_version)
    if same_trainer and key == run.recipe_key and recipe.params.model_dump(mode="json") == run.params:
        return
    if not same_trainer:
        why = f"it was trained by {run.trainer} {run.trainer_version}, and here is {spec.name} {spec.version}"
    elif recipe.base.digest != original.base.digest:
        why = f"the base model {original.base.name} is no longer the one it was trained on"
    else:
        why = "the asset's trigger or class word, or what the trainer can be told, changed since"
    raise UsageError(
        f"{original.address} cannot be trained again as it was: {why}.",
        hint=f"Train a new version of {asset.name} and calibrate that one with --version.",
    )
