"""What has to be rendered for a version: which suite, on which base model, by which renderer. Nothing here writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import col, select

from assetforge.api.job import Cell, Companion, EngineRef, LoraRef, RenderPass
from assetforge.api.specs import RendererSpec
from assetforge.db.models import BaseModelRecord, Run
from assetforge.domain.names import parse_version, version_address
from assetforge.domain.suite import control_cells, plan_digest
from assetforge.errors import NotFoundError, UsageError
from assetforge.extension.registry import Registered, get_registry
from assetforge.services.assets import AssetInfo, get_asset
from assetforge.services.base_models import BaseModel, find_base, recorded_base
from assetforge.services.base_registration import known_bases
from assetforge.services.companions import Company, find_company
from assetforge.services.projects import Project
from assetforge.services.recipes import validate_params
from assetforge.services.suites import SuiteInfo, choose_suite, suite_cells
from assetforge.services.versions import find_version, row_id

__all__ = ["PlannedPass", "RenderChoices", "lora_ref", "passes_of", "plan_passes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderChoices:
    """What the user may decide about rendering.

    Attributes:
        base: Base model for imported versions; trained ones are rendered on the model they were trained on.
        renderer: Name of the renderer; empty takes one of the plugin that trained, else the first that knows the family.
        params: Parameters of the renderer that differ from its defaults.
        executor: Where.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """

    base: str = ""
    renderer: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    executor: str = "local"
    device: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPass:
    """An evaluation before it has a row.

    Attributes:
        digest: Identity, see :func:`assetforge.domain.suite.plan_digest`.
        plan: What is written down: suite, settings, engine, parameters, LoRA, cells, what is worn beside it by block, and which blocks were left out and why.
        subject: Address of the version, or ``base NAME``.
        version_id: Row id of the version; ``None`` for the base control.
        base: The base model.
        renderer: The renderer.
    """

    digest: str
    plan: dict[str, Any]
    subject: str
    version_id: int | None
    base: BaseModel
    renderer: Registered[RendererSpec]


def plan_passes(
    project: Project, addresses: Sequence[str], *, suite: str, quick: bool, with_control: bool, choices: RenderChoices
) -> tuple[AssetInfo, SuiteInfo, list[PlannedPass]]:
    """The passes of versions of one asset through one suite, each version followed by its base control when one is wanted.

    Raises:
        NotFoundError: No such version, suite, renderer or base model.
        UsageError: Suite, parameters or base do not fit, or the versions are of different assets.
    """
    chosen: SuiteInfo | None = None
    asset: AssetInfo | None = None
    company: Company | None = None
    passes: list[PlannedPass] = []
    for address in dict.fromkeys(addresses):
        version, run = _version_and_run(project, address)
        asset = asset or get_asset(project, version.asset)
        if asset.name != version.asset:
            raise UsageError(
                f"{address} is not a version of {asset.name}.", hint="Take versions of one asset at a time."
            )
        model = _base_of(project, version, run, choices.base)
        chosen = chosen or choose_suite(project, asset, version.family, suite, base=model.name, quick=quick)
        # Once for all versions, so that they wear the very same beside them.
        company = company or find_company(project, chosen.definition, asset)
        entry = _renderer_for(model.family, choices.renderer, run.plugin if run else "")
        values = validate_params(entry.spec.params, choices.params, what=f"renderer {entry.spec.name}").model_dump(
            mode="json"
        )
        planner = _Planner(
            suite=chosen,
            company=company,
            base=model,
            renderer=entry,
            params=values,
            executor=choices.executor,
            device=choices.device,
        )
        cells = suite_cells(chosen.definition, asset, beside=company.worn)
        if not cells:
            raise UsageError(
                f"Nothing of the suite {chosen.name} can be rendered: {' '.join(company.left_out.values())}",
                hint="Name another one with --suite.",
            )
        passes.append(planner.plan(cells, subject=version.address, version_id=version.id, weights=version.weights))
        if with_control:
            passes.append(planner.plan(control_cells(cells), subject=f"base {model.name}", version_id=None, weights=""))
    if asset is None or chosen is None:
        raise UsageError("No version was named to render.")
    return asset, chosen, passes


def passes_of(evaluation: int, plan: Mapping[str, Any], lora: LoraRef | None) -> tuple[RenderPass, ...]:
    """What a renderer does for an evaluation: the cells that are worn alone, then those of each companion.

    Args:
        evaluation: Row id of the evaluation.
        plan: Its plan.
        lora: The version under test; ``None`` for the base control.
    """
    stacks: dict[Companion | None, list[Cell]] = {}
    for cell in map(Cell.model_validate, plan["cells"]):
        stacks.setdefault(cell.beside, []).append(cell)
    return tuple(
        RenderPass(
            evaluation=evaluation,
            lora=lora,
            companions=((lora_ref(other.name, other.sha256), other.strength),) if other is not None else (),
            cells=tuple(cells),
        )
        for other, cells in stacks.items()
    )


def lora_ref(address: str, sha256: str) -> LoraRef:
    """The file of a version inside a bundle, such as ``inputs/loras/mara-v002.safetensors`` for ``mara/v2``."""
    wanted = parse_version(address)
    return LoraRef(
        name=address, file=f"inputs/loras/{wanted.asset}-v{wanted.number or 0:03d}.safetensors", sha256=sha256
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    id: int
    address: str
    asset: str
    family: str
    weights: str


def _version_and_run(project: Project, address: str) -> tuple[_Version, Run | None]:
    with project.read() as session:
        asset, version = find_version(session, address)
        run = session.get(Run, version.run_id) if version.run_id is not None else None
    found = _Version(
        id=row_id(version.id),
        address=version_address(asset.name, version.number),
        asset=asset.name,
        family=version.family,
        weights=version.weights,
    )
    return found, run


def _base_of(project: Project, version: _Version, run: Run | None, name: str) -> BaseModel:
    """The model a version belongs on: what it was trained on; for imported ones the named one, the film's, or the only one of its family."""
    with project.read() as session:
        if run is not None:
            return recorded_base(session.get_one(BaseModelRecord, run.base_model_id))
        known = session.exec(
            select(BaseModelRecord)
            .where(BaseModelRecord.family == version.family)
            .order_by(col(BaseModelRecord.id).desc())
        ).all()
    wanted = name or project.config.defaults.base
    if wanted:
        model = find_base(wanted)
        if model.family != version.family:
            raise UsageError(
                f"{version.address} is for {version.family} models, and {model.name} is {model.family}.",
                hint="Name another one with --base.",
            )
        return model
    recorded = {row.digest for row in known}
    registered = [base.name for base in known_bases(version.family) if base.digest not in recorded]
    names = dict.fromkeys([row.name for row in known] + registered)
    if len(names) == 1:
        return recorded_base(known[0]) if known else find_base(next(iter(names)))
    listed = ", ".join(names) or "none is known"
    raise UsageError(
        f"{version.address} was imported, and it is not known which {version.family} model it belongs on ({listed}).",
        hint="Name one with --base, or set defaults.base in project.toml.",
    )


def _renderer_for(family: str, name: str, plugin: str) -> Registered[RendererSpec]:
    if name:
        entry = get_registry().renderer(name)
        if family not in entry.spec.families:
            raise UsageError(
                f"The renderer {name!r} cannot render {family} models.",
                hint=f"It can render: {', '.join(entry.spec.families)}.",
            )
        return entry
    fitting = [entry for entry in get_registry().renderers() if family in entry.spec.families]
    if not fitting:
        raise NotFoundError(
            f"No installed plugin renders {family} models.",
            hint="`assetforge plugin list` shows what there is; assetforge-diffusers renders Stable Diffusion.",
        )
    return next((entry for entry in fitting if entry.plugin == plugin), fitting[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planner:
    """What the passes of one base have in common."""

    suite: SuiteInfo
    company: Company
    base: BaseModel
    renderer: Registered[RendererSpec]
    params: dict[str, Any]
    executor: str
    device: str

    def plan(self, cells: Sequence[Cell], *, subject: str, version_id: int | None, weights: str) -> PlannedPass:
        spec = self.renderer.spec
        engine = EngineRef(
            kind="renderer",
            name=spec.name,
            version=spec.version,
            plugin=self.renderer.plugin,
            plugin_version=self.renderer.plugin_version,
            load=spec.load,
        )
        identity = engine.model_dump(mode="json", exclude={"load"})
        key = plan_digest(
            weights=weights,
            suite_digest=self.suite.digest,
            cells=cells,
            base_digest=self.base.digest,
            engine=identity,
            params=self.params,
            executor=self.executor,
            device=self.device,
        )
        plan = {
            "suite": {"name": self.suite.name, "digest": self.suite.digest},
            "settings": self.suite.definition.settings.model_dump(mode="json"),
            "engine": engine.model_dump(mode="json"),
            "params": self.params,
            "lora": {"name": subject, "sha256": weights} if weights else None,
            "executor": self.executor,
            "device": self.device,
            "cells": [cell.model_dump(mode="json") for cell in cells],
            "beside": {
                block: [one.model_dump(mode="json") for one in worn] for block, worn in self.company.worn.items()
            },
            "left_out": dict(self.company.left_out),
        }
        return PlannedPass(
            digest=key, plan=plan, subject=subject, version_id=version_id, base=self.base, renderer=self.renderer
        )
