"""Which metrics there are, what each decides about an asset, and how much it may lose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlmodel import Session, col, select

from assetforge.api.specs import MetricSpec
from assetforge.config import load_settings
from assetforge.db.models import Asset, BaseModelRecord, Run, Version
from assetforge.domain.evidence import Margin, margins
from assetforge.extension.registry import Registered, get_registry
from assetforge.services.assets import find_asset
from assetforge.services.comparison_plan import (
    asset_metrics,
    diversity_metric,
    metric_plan,
    metrics_for_base,
    primary_metric,
    ready_metrics,
)
from assetforge.services.comparison_summary import scored_metric
from assetforge.services.metric_choices import is_likeness
from assetforge.services.noise import known_noise
from assetforge.services.projects import Project
from assetforge.services.versions import row_id

__all__ = ["Decides", "MetricInfo", "list_metrics", "metrics_of"]

Decides: TypeAlias = Literal["primary", "secondary", "primary or secondary", "guard", "flag", "not ready", "nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """A metric as interfaces see it.

    Attributes:
        name: Name.
        title: What people read.
        kind: Kind, see :class:`assetforge.api.specs.MetricSpec`.
        asset_types: Types it is for; empty means all.
        decides: What it decides; ``nothing`` when it does not run for the asset.
        why: Why it is not ready or decides nothing, in one sentence; else empty.
        chosen: The asset names it as its primary metric.
        readout: How an embedding of likeness becomes one number per picture.
        direction: Whether a higher or a lower value is better.
        licence: Licence of its weights.
        declared: Declared margin; for metrics that find copies 0.
        copy_limit: For metrics that find copies.
        noise: What training again changes, root mean square; ``None`` when that was never measured.
        pairs: Pairs of trainings that it comes from.
        margin: The margin that counts.
        plugin: Distribution that ships it.
        params: The parameters it would run with.
    """

    name: str
    title: str
    kind: str
    asset_types: tuple[str, ...]
    decides: Decides
    why: str
    chosen: bool
    readout: str
    direction: str
    licence: str
    declared: float
    copy_limit: float | None
    noise: float | None
    pairs: int
    margin: float
    plugin: str
    params: Mapping[str, Any]


def list_metrics() -> list[MetricInfo]:
    """Every metric, in the order of the registry; what it decides is said as far as that holds for any asset."""
    entries = get_registry().metrics()
    plans = [_default_plan(entry.spec) for entry in entries]
    ready, _unready = ready_metrics(plans)
    needs, diversity = _needs(plans), diversity_metric(ready)
    known = {one.name: one for one in margins([scored_metric(one) for one in ready], "", diversity, {})}
    found = []
    for entry, metric in zip(entries, plans, strict=True):
        spec = entry.spec
        role: Decides = "primary or secondary" if is_likeness(spec) else _of_asset(spec, "", diversity, watched=False)
        role = "not ready" if spec.name in needs else role
        margin = known.get("diversity" if spec.name == diversity else spec.name)
        found.append(_info(entry, metric, role, why=needs.get(spec.name, ""), margin=margin))
    return found


def _default_plan(spec: MetricSpec) -> dict[str, Any]:
    (metric,) = metric_plan(spec.asset_types[0] if spec.asset_types else "", [spec.name])
    return metric


def metrics_of(project: Project, asset: str) -> list[MetricInfo]:
    """Every metric, and what it decides about an asset: as it and the film want it, on the base model it was last trained on.

    Raises:
        NotFoundError: There is no such asset, or no such metric as it or the film names.
        UsageError: What it or the film says about metrics does not fit.
    """
    with project.read() as session:
        row = find_asset(session, asset)
        base = _base(session, row)
        noise = known_noise(session, row, row_id(base.id)) if base is not None else None
    retrain = {**noise.kin, **noise.own} if noise is not None else {}
    wanted = asset_metrics(row, load_settings(project.config).regression)
    readable = metrics_for_base(wanted, base.name) if base is not None else wanted
    ready, _unready = ready_metrics(readable)
    needs, primary, diversity = _needs(readable), primary_metric(ready), diversity_metric(ready)
    known = {one.name: one for one in margins([scored_metric(one) for one in ready], primary, diversity, retrain)}
    planned = {one["engine"]["name"]: one for one in wanted}
    found = []
    for entry in get_registry().metrics():
        spec = entry.spec
        metric = planned.get(spec.name) or _default_plan(spec)
        why = needs.get(spec.name) or _left_out(spec, row.type, planned, base)
        role: Decides = "not ready" if spec.name in needs else "nothing"
        if not why:
            role = _of_asset(spec, primary, diversity, watched=bool(retrain.get(spec.name)))
        margin = known.get("diversity" if spec.name == diversity else spec.name)
        found.append(_info(entry, metric, role, why=why, margin=margin))
    return found


def _base(session: Session, asset: Asset) -> BaseModelRecord | None:
    """The base model that the asset's newest version of ours was trained on."""
    newest = (
        select(BaseModelRecord)
        .join(Run, col(Run.base_model_id) == BaseModelRecord.id)
        .join(Version, col(Version.run_id) == Run.id)
        .where(Version.asset_id == asset.id)
        .order_by(col(Version.number).desc())
    )
    return session.exec(newest).first()


def _needs(metrics: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {one["name"]: one["needs"] for one in ready_metrics(metrics)[1]}


def _left_out(
    spec: MetricSpec, asset_type: str, planned: Mapping[str, dict[str, Any]], base: BaseModelRecord | None
) -> str:
    if spec.asset_types and asset_type not in spec.asset_types:
        return f"{spec.name} is for: {', '.join(spec.asset_types)}."
    if spec.name not in planned:
        return f"{spec.name} is not among the metrics that the asset names."
    if spec.bases and base is not None and base.name not in spec.bases:
        return f"{spec.name} cannot read pictures of {base.name}."
    return ""


def _of_asset(spec: MetricSpec, primary: str, diversity: str, *, watched: bool) -> Decides:
    if spec.name == primary:
        return "primary"
    return "guard" if spec.name == diversity else _role(spec, watched=watched)


def _role(spec: MetricSpec, *, watched: bool) -> Decides:
    """What a metric that is not the primary one decides.

    Args:
        spec: The metric.
        watched: It is known what training again does to it.
    """
    if is_likeness(spec):
        return "secondary"
    embedding = spec.kind == "embedding" and spec.copy_limit is None
    return "guard" if (spec.gates and spec.kind in ("embedding", "prompt")) or (embedding and watched) else "flag"


def _info(
    entry: Registered[MetricSpec],
    metric: Mapping[str, Any],
    decides: Decides,
    *,
    why: str,
    margin: Margin | None = None,
) -> MetricInfo:
    spec = entry.spec
    return MetricInfo(
        name=spec.name,
        title=spec.title,
        kind=spec.kind,
        asset_types=spec.asset_types,
        decides=decides,
        why=why,
        chosen=bool(metric.get("chosen")),
        readout=spec.readout,
        direction=spec.direction,
        licence=spec.licence,
        declared=margin.declared if margin is not None else spec.margin,
        copy_limit=spec.copy_limit,
        noise=margin.noise if margin is not None else None,
        pairs=margin.pairs if margin is not None else 0,
        margin=margin.counts if margin is not None else spec.margin,
        plugin=entry.plugin,
        params=metric["params"],
    )
