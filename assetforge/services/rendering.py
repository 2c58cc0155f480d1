"""Rendering: versions go through suites, and what was rendered once is never rendered again.

An evaluation is one version (or the bare base) through one suite, known by the digest of its plan. All passes that share a base model become one job, so that the
base is loaded once. Comparisons that wait for renders are continued from here, in the same transaction that registers the pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image as Pillow
from sqlmodel import Session, col, select

from assetforge.api.job import (
    EngineRef,
    JobSpec,
    LoraRef,
    RenderedCell,
    RenderPayload,
    RenderSettings,
    Resources,
    Result,
)
from assetforge.db.columns import utc_now
from assetforge.db.models import Asset, BaseModelRecord, Version
from assetforge.db.models_jobs import Engine, Evaluation, Job, Render
from assetforge.db.queue_rows import enqueue
from assetforge.domain.bundle import BundlePlan, InputFile
from assetforge.domain.canonical import digest
from assetforge.domain.names import version_address
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import JobError
from assetforge.extension.registry import get_registry
from assetforge.extension.required import check_required
from assetforge.services import activity
from assetforge.services.assets import AssetInfo
from assetforge.services.base_models import base_ref, record_base, recorded_base
from assetforge.services.drift_queue import continue_drift_checks
from assetforge.services.projects import Project
from assetforge.services.render_plans import PlannedPass, RenderChoices, lora_ref, passes_of, plan_passes
from assetforge.services.results import verify_outputs
from assetforge.services.score_queue import continue_comparisons
from assetforge.services.suites import SuiteInfo, store_suite
from assetforge.services.versions import row_id

__all__ = [
    "EvaluationRef",
    "RenderRequest",
    "close_job",
    "plan_job",
    "queue_passes",
    "register_result",
    "request_render",
    "request_renders",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRef:
    """One evaluation that was asked for.

    Attributes:
        id: Row id.
        subject: Address of the version, or ``base NAME`` for the control.
        control: It is the bare base.
        cells: How many pictures.
        state: State now; ``succeeded`` means that the pictures are there.
        job: Job that renders it; ``None`` when the pictures are there.
    """

    id: int
    subject: str
    control: bool
    cells: int
    state: str
    job: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """What became of a wish to render.

    Attributes:
        suite: Name of the suite.
        evaluations: The passes: versions in the order they were named, each followed by its base control when one was wanted and it differs.
        job_id: First job to wait for; ``None`` when everything is there.
        jobs: All jobs to wait for.
        reused: How many passes were there already.
        left_out: Blocks of the suite that are not rendered, and why.
    """

    suite: str
    evaluations: tuple[EvaluationRef, ...]
    job_id: int | None
    jobs: tuple[int, ...]
    reused: int
    left_out: Mapping[str, str] = field(default_factory=dict)

    def of(self, address: str) -> EvaluationRef:
        """The evaluation of a version."""
        return next(evaluation for evaluation in self.evaluations if evaluation.subject == address)


def request_render(
    project: Project,
    address: str,
    *,
    suite: str = "",
    quick: bool = False,
    with_control: bool = True,
    base: str = "",
    renderer: str = "",
    params: Mapping[str, Any] | None = None,
    executor: str = "",
    device: str = "auto",
    priority: int = 0,
    fresh: bool = False,
) -> RenderRequest:
    """Have one version rendered; see :func:`request_renders`."""
    return request_renders(
        project,
        [address],
        suite=suite,
        quick=quick,
        with_control=with_control,
        base=base,
        renderer=renderer,
        params=params,
        executor=executor,
        device=device,
        priority=priority,
        fresh=fresh,
    )


def request_renders(
    project: Project,
    addresses: Sequence[str],
    *,
    suite: str = "",
    quick: bool = False,
    with_control: bool = True,
    base: str = "",
    renderer: str = "",
    params: Mapping[str, Any] | None = None,
    executor: str = "",
    device: str = "auto",
    priority: int = 0,
    fresh: bool = False,
) -> RenderRequest:
    """Queue renders of versions of one asset, unless the same plan was rendered or is queued already.

    Args:
        project: The film.
        addresses: Versions of one asset.
        suite: Name of the suite; by default the asset's.
        quick: Only its quick size.
        with_control: Also render the bare base, at the same prompts and seeds.
        base: Base model for imported versions; trained ones are rendered on the model they were trained on.
        renderer: Name of the renderer; by default one of the plugin that trained, else the first that knows the family.
        params: Parameters of the renderer that differ from its defaults.
        executor: Where; by default the film's.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``; pictures of different devices are different evaluations.
        priority: Higher goes first.
        fresh: Render anew even what was rendered: after a library or driver changed, or to see whether it did. The older pictures stay.

    Raises:
        NotFoundError: No such version, suite, renderer, executor or base model.
        UsageError: Suite, parameters or base do not fit, or the versions are of different assets.
        PluginError: A plugin is broken, or one that the film requires does not work here.
    """
    check_required(get_registry(), project.config.plugins.required)
    where = executor or project.config.defaults.executor
    get_registry().executor(where)
    choices = RenderChoices(base=base, renderer=renderer, params=params or {}, executor=where, device=device)
    asset, chosen, passes = plan_passes(
        project, addresses, suite=suite, quick=quick, with_control=with_control, choices=choices
    )
    unique = list({one.digest: one for one in passes}.values())
    with project.write() as session:
        return queue_passes(
            session, asset, chosen, unique, executor=where, device=device, priority=priority, fresh=fresh
        )


def queue_passes(
    session: Session,
    asset: AssetInfo,
    suite: SuiteInfo,
    passes: Sequence[PlannedPass],
    *,
    executor: str,
    device: str,
    priority: int = 0,
    fresh: bool = False,
) -> RenderRequest:
    """Queue passes that are planned, unless they were rendered or are queued already; see :func:`request_renders`.

    Args:
        session: A write session.
        asset: The asset that all passes are about.
        suite: The suite they belong to.
        passes: The passes, no two of one digest.
        executor: Where.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        priority: Higher goes first.
        fresh: Render anew even what was rendered.
    """
    suite_id = store_suite(session, suite)
    rows: list[tuple[PlannedPass, Evaluation]] = [
        (one, _row_of(session, one, asset, suite_id, fresh)) for one in passes
    ]
    session.flush()
    # One loaded base and one renderer serve a whole job.
    groups: dict[tuple[str, str], list[tuple[PlannedPass, Evaluation]]] = {}
    for one, row in rows:
        if row.state == "queued" and row.job_id is None:
            groups.setdefault((one.base.digest, one.renderer.spec.name), []).append((one, row))
    for members in groups.values():
        job = enqueue(
            session,
            kind="render",
            subject=f"{asset.name}: {', '.join(one.subject for one, _ in members)}",
            payload={"evaluations": [row.id for _, row in members]},
            executor=executor,
            device=device,
            priority=priority,
            dedupe_key=f"render:{digest([one.digest for one, _ in members])}",
        )
        for _, row in members:
            row.job_id = job
        actor = activity.current_actor()
        activity.record(
            session,
            actor,
            "queued",
            f"renders of {asset.name}",
            suite=suite.name,
            passes=[one.subject for one, _ in members],
        )
    return _answer(suite, rows)


def _answer(suite: SuiteInfo, rows: Sequence[tuple[PlannedPass, Evaluation]]) -> RenderRequest:
    jobs = tuple(dict.fromkeys(row.job_id for _, row in rows if row.state != "succeeded" and row.job_id is not None))
    return RenderRequest(
        suite=suite.name,
        evaluations=tuple(
            EvaluationRef(
                id=row_id(row.id),
                subject=one.subject,
                control=one.version_id is None,
                cells=len(one.plan["cells"]),
                state=row.state,
                job=None if row.state == "succeeded" else row.job_id,
            )
            for one, row in rows
        ),
        job_id=jobs[0] if jobs else None,
        jobs=jobs,
        reused=sum(row.state == "succeeded" for _, row in rows),
        left_out=rows[0][0].plan.get("left_out", {}) if rows else {},
    )


def _row_of(session: Session, one: PlannedPass, asset: AssetInfo, suite_id: int, fresh: bool) -> Evaluation:
    """The newest evaluation of a plan, put back into the queue when its job came to nothing, or a new one."""
    # Evaluations that were asked for anew carry a number behind the digest; ";" is the character after ":".
    same = select(Evaluation).where(Evaluation.plan_digest >= one.digest, Evaluation.plan_digest < f"{one.digest};")
    rows = session.exec(same.order_by(col(Evaluation.id).desc())).all()
    row = rows[0] if rows else None
    if row is None or (fresh and row.state == "succeeded"):
        row = Evaluation(
            asset_id=asset.id,
            version_id=one.version_id,
            suite_id=suite_id,
            base_model_id=record_base(session, one.base),
            renderer=one.renderer.spec.name,
            plan_digest=f"{one.digest}:{len(rows)}" if rows else one.digest,
            plan=one.plan,
        )
        session.add(row)
        return row
    if row.state == "succeeded":
        return row
    # A closed job ends with nothing here; an open one may have been put back into the queue by hand after it failed.
    row.state, row.finished_at = "queued", None
    job = session.get(Job, row.job_id) if row.job_id is not None else None
    if job is None or job.state not in OPEN_JOB_STATES:
        row.job_id = None
    return row


def plan_job(project: Project, job_id: int) -> BundlePlan:
    """The bundle of a render job: every pass with its cells, and the LoRA files by hash.

    Raises:
        JobError: The job or its evaluations are gone.
    """
    with project.read() as session:
        job, rows = _job_and_evaluations(session, job_id)
        base = session.get_one(BaseModelRecord, rows[0].base_model_id)
        loras = {row.id: _lora(session, row) for row in rows}
    plan = rows[0].plan
    settings = RenderSettings.model_validate(plan["settings"])
    engine = EngineRef.model_validate(plan["engine"])
    # The plan's code may have moved within a plugin of the same version; the registry knows where it is now.
    engine = engine.model_copy(update={"load": get_registry().renderer(engine.name).spec.load})
    payload = RenderPayload(
        base=base_ref(recorded_base(base)),
        settings=settings,
        passes=tuple(one for row in rows for one in passes_of(row_id(row.id), row.plan, loras[row.id])),
    )
    spec = JobSpec(
        project=project.id,
        job=job_id,
        kind="render",
        engine=engine,
        params=plan["params"],
        resources=Resources(device=job.device),
        payload=payload.model_dump(mode="json"),
    )
    worn = [
        lora
        for one in payload.passes
        for lora in (one.lora, *(companion for companion, _strength in one.companions))
        if lora is not None
    ]
    files = {lora.file: InputFile(path=lora.file, sha256=lora.sha256) for lora in worn}
    return BundlePlan(spec=spec, inputs=tuple(files.values()))


def _lora(session: Session, row: Evaluation) -> LoraRef | None:
    if row.version_id is None:
        return None
    version = session.get_one(Version, row.version_id)
    asset = session.get_one(Asset, version.asset_id)
    return lora_ref(version_address(asset.name, version.number), version.weights)


def register_result(project: Project, job_id: int, result: Result, workdir: Path) -> None:
    """Take over the pictures of a render job. May be called again for the same result; the second time changes nothing.

    Comparisons that waited for these pictures get their score job here, so that nobody has to stay for them.

    Raises:
        JobError: A picture is missing, is not what the result says, or has the wrong size.
        StorageError: The pictures cannot be stored.
    """
    verify_outputs(result, workdir)
    with project.read() as session:
        _job, rows = _job_and_evaluations(session, job_id)
    cells = _cells_by_evaluation(rows, result)
    promised = {output.path: output.sha256 for output in result.outputs}
    with project.blobs.batch() as batch:
        for row in rows:
            for cell in cells[row_id(row.id)].values():
                _check_picture(workdir / cell.file, row)
                stored, _size = batch.put_file(workdir / cell.file)
                if stored != promised[cell.file]:
                    raise JobError(
                        f"{workdir / cell.file} changed while it was taken over.",
                        hint="Nothing was taken over; run it again.",
                    )
    with project.write() as session:
        _job, rows = _job_and_evaluations(session, job_id)
        for row in rows:
            if row.state != "succeeded":
                _register(session, row, cells[row_id(row.id)], promised, result)
        session.flush()
        continue_comparisons(session, [row_id(row.id) for row in rows])
    # Also when everything was registered before: whoever did may have been killed in between.
    continue_drift_checks(project, [row_id(row.id) for row in rows])


def _cells_by_evaluation(rows: Sequence[Evaluation], result: Result) -> dict[int, dict[int, RenderedCell]]:
    """What was rendered, checked against what was planned."""
    found: dict[int, dict[int, RenderedCell]] = {row_id(row.id): {} for row in rows}
    for cell in result.cells:
        if cell.evaluation not in found:
            raise JobError(
                f"Job {result.job} rendered evaluation {cell.evaluation}, which it was not asked for.",
                hint="The renderer is at fault.",
            )
        found[cell.evaluation][cell.index] = cell
    for row in rows:
        planned = {int(cell["index"]) for cell in row.plan["cells"]}
        rendered = set(found[row_id(row.id)])
        if planned != rendered:
            lacking = sorted(planned - rendered)
            what = (
                f"lacks {len(lacking)} of {len(planned)} pictures (first: cell {lacking[0]})"
                if lacking
                else "made pictures nobody planned"
            )
            raise JobError(
                f"Job {result.job} says it is done and {what} in evaluation {row.id}.",
                hint="The renderer is at fault; see `assetforge jobs logs`.",
            )
    return found


def _check_picture(path: Path, row: Evaluation) -> None:
    settings = row.plan["settings"]
    try:
        with Pillow.open(path, formats=["PNG"]) as picture:
            size = picture.size
    except (OSError, SyntaxError, ValueError) as error:
        raise JobError(f"{path} is not a PNG picture: {error}.", hint="The renderer is at fault.") from error
    if size != (settings["width"], settings["height"]):
        raise JobError(
            f"{path} has {size[0]} x {size[1]} pixels; the suite asks for {settings['width']} x {settings['height']}.",
            hint="The renderer is at fault.",
        )


def _register(
    session: Session, row: Evaluation, cells: Mapping[int, RenderedCell], promised: Mapping[str, str], result: Result
) -> None:
    for planned in row.plan["cells"]:
        cell = cells[planned["index"]]
        session.add(
            Render(
                evaluation_id=row_id(row.id),
                cell_index=cell.index,
                block=planned["block"],
                prompt=planned["prompt"],
                seed=planned["seed"],
                strength=planned["strength"],
                sha256=promised[cell.file],
                seconds=cell.seconds,
            )
        )
    row.engine_id = _engine_id(session, row, result)
    row.state, row.finished_at = "succeeded", utc_now()
    session.add(row)
    subject = row.plan["lora"]["name"] if row.plan["lora"] else "the base control"
    activity.record(session, "supervisor", "rendered", subject, suite=row.plan["suite"]["name"], cells=len(cells))


def _engine_id(session: Session, row: Evaluation, result: Result) -> int:
    """The row of what rendered; whatever changes pixels is in its digest."""
    record = {
        "engine": {key: value for key, value in row.plan["engine"].items() if key != "load"},
        "params": row.plan["params"],
        "settings": row.plan["settings"],
        "ran": result.engine,
    }
    key = digest(record)
    engine = session.exec(select(Engine).where(Engine.digest == key)).first()
    if engine is None:
        engine = Engine(digest=key, record=record)
        session.add(engine)
        session.flush()
    return row_id(engine.id)


def close_job(project: Project, job_id: int, state: str, error: str) -> None:
    """Write down that renders failed, were cancelled or were lost; comparisons that waited for them end with them."""
    with project.write() as session:
        _job, rows = _job_and_evaluations(session, job_id)
        for row in rows:
            if row.state != "succeeded" and row.job_id == job_id:
                row.state, row.finished_at = state, utc_now()
                session.add(row)
        activity.record(session, "supervisor", state, f"renders of job {job_id}", error=error)
        session.flush()
        continue_comparisons(session, [row_id(row.id) for row in rows])
    continue_drift_checks(project, [row_id(row.id) for row in rows])


def _job_and_evaluations(session: Session, job_id: int) -> tuple[Job, list[Evaluation]]:
    job = session.get(Job, job_id)
    wanted = list(job.payload.get("evaluations", ())) if job else []
    by_id = {row.id: row for row in session.exec(select(Evaluation).where(col(Evaluation.id).in_(wanted))).all()}
    if job is None or not wanted or len(by_id) != len(wanted):
        raise JobError(
            f"Job {job_id} names no evaluations any more.", hint="`assetforge jobs list` shows what there is."
        )
    return job, [by_id[evaluation] for evaluation in wanted]
