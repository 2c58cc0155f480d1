"""What a comparison measures: which metrics fit the asset, and which references no training saw. Nothing here writes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256 as hash_of
from typing import Any

from sqlmodel import Session, col, select

from assetforge.api.job import EngineRef
from assetforge.api.specs import MetricSpec
from assetforge.db.models import Asset, DatasetItemRow, DatasetVersion, Reference, Run, Version
from assetforge.domain.names import dataset_address
from assetforge.errors import AssetForgeError, UsageError
from assetforge.extension.registry import Registered, get_registry, load
from assetforge.services.metric_choices import check_primary, chosen_names, chosen_params, chosen_primary
from assetforge.services.project_config import RegressionConfig
from assetforge.services.recipes import validate_params

__all__ = [
    "HeldOut",
    "asset_metrics",
    "diversity_metric",
    "held_out_references",
    "metric_plan",
    "metrics_for_base",
    "other_references",
    "primary_metric",
    "ready_metrics",
    "training_pictures",
]

_MOST_OTHERS = 24
_MOST_TRAINING = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """References that judge a version.

    Attributes:
        dataset: Address of the dataset version they come from; empty when there is none.
        items: Hash and crop (``left,top,right,bottom`` or empty) of each.
        captions: Caption of each, by hash.
        leaked: How many were left out because the baseline was trained on them.
        certain: The dataset is the one the version was trained on; otherwise nobody knows whether training saw them.
    """

    dataset: str
    items: tuple[tuple[str, str], ...]
    leaked: int
    certain: bool
    captions: Mapping[str, str] = field(default_factory=dict)


def asset_metrics(
    asset: Asset, settings: RegressionConfig | None = None, names: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The metrics to run for an asset, as JSON, as it and the film want it; see :mod:`assetforge.services.metric_choices`.

    Args:
        asset: The asset.
        settings: What the film says.
        names: Only these metrics; by default those that the asset chose, else all that fit its type.

    Raises:
        NotFoundError: A named metric does not exist.
        UsageError: A metric does not fit, is given parameters that it does not take, or cannot decide although it was chosen to.
    """
    primary = chosen_primary(asset.name, asset.settings)
    wanted = tuple(names) or chosen_names(asset.name, asset.settings)
    if primary:
        check_primary(primary, asset.name, asset.type)
    if primary and wanted and primary not in wanted:
        raise UsageError(
            f"The metric {primary!r} was chosen to decide about {asset.name} and is not among those to run: {', '.join(wanted)}.",
            hint=f"Name it as well, or choose another with `assetforge asset set {asset.name} --set primary=NAME`.",
        )
    params = chosen_params(asset.name, asset.settings, settings.metric_params if settings is not None else {})
    return metric_plan(asset.type, wanted, primary=primary, params=params)


def metric_plan(
    asset_type: str,
    names: Sequence[str] = (),
    *,
    primary: str = "",
    params: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """The metrics to run, as JSON, in the order of the registry.

    Args:
        asset_type: Type of the asset; metrics made for other types are left out.
        names: Only these metrics; by default all that fit.
        primary: The one that somebody chose to decide; by default the first that can.
        params: Parameters of each metric that differ from its defaults.

    Raises:
        NotFoundError: A named metric does not exist.
        UsageError: A named metric does not fit the asset type, or does not take a parameter.
    """
    registry = get_registry()
    entries = [registry.metric(name) for name in names] if names else registry.metrics()
    fitting = [entry for entry in entries if not entry.spec.asset_types or asset_type in entry.spec.asset_types]
    for entry in entries:
        if names and entry not in fitting:
            raise UsageError(
                f"The metric {entry.spec.name!r} says nothing about a {asset_type}.",
                hint=f"It is for: {', '.join(entry.spec.asset_types)}.",
            )
    return [_as_json(entry, primary, (params or {}).get(entry.spec.name, {})) for entry in fitting]


def _as_json(entry: Registered[MetricSpec], primary: str, params: Mapping[str, Any]) -> dict[str, Any]:
    spec = entry.spec
    engine = EngineRef(
        kind="metric",
        name=spec.name,
        version=entry.plugin_version,
        plugin=entry.plugin,
        plugin_version=entry.plugin_version,
        load=spec.load,
    )
    return {
        "engine": engine.model_dump(mode="json"),
        "params": validate_params(spec.params, params, what=f"metric {spec.name}").model_dump(mode="json"),
        "title": spec.title,
        "kind": spec.kind,
        "direction": spec.direction,
        "gates": spec.gates,
        "margin": spec.margin,
        "copy_limit": spec.copy_limit,
        "readout": spec.readout,
        "bases": list(spec.bases),
        "asset_types": list(spec.asset_types),
        "made_for_type": bool(spec.asset_types),
        # Left out where nobody chose: plans without a choice stay what they were.
        **({"chosen": spec.name == primary} if primary else {}),
    }


def metrics_for_base(metrics: Sequence[dict[str, Any]], base: str) -> list[dict[str, Any]]:
    """The metrics of a plan that can read pictures of this base model.

    Raises:
        UsageError: The one that was chosen to decide cannot.
    """
    blind = next((metric for metric in metrics if metric.get("chosen") and metric["bases"]), None)
    if blind is not None and base not in blind["bases"]:
        raise UsageError(
            f"The metric {blind['engine']['name']!r}, which was chosen to decide, cannot read pictures of the base model {base!r}.",
            hint=f"It reads those of: {', '.join(blind['bases'])}. Choose another with `assetforge asset set ASSET --set primary=NAME`.",
        )
    return [metric for metric in metrics if not metric["bases"] or base in metric["bases"]]


def ready_metrics(metrics: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The metrics that can run here, and of the others name, title and what they need, and whether it is the one that was chosen to decide."""
    ready, unready = [], []
    for metric in metrics:
        needs = _needs(metric["engine"]["name"])
        if needs:
            about = {"name": metric["engine"]["name"], "title": metric["title"], "needs": needs}
            unready.append({**about, "chosen": True} if metric.get("chosen") else about)
        else:
            ready.append(metric)
    return ready, unready


def _needs(name: str) -> str:
    spec = get_registry().metric(name).spec
    if not spec.ready:
        return ""
    try:
        return str(load(spec.ready)())
    except AssetForgeError as error:
        return str(error)
    # A plugin's own code may raise anything; a metric that cannot say whether it is ready is not.
    except Exception as error:  # noqa: BLE001
        return f"Whether it can run here could not be found out: {error}."


def primary_metric(metrics: Sequence[dict[str, Any]]) -> str:
    """The embedding metric that speaks for identity: the one that somebody chose and no other, else one made for the asset's type before a general one.

    Empty when only pixels can be measured, or when the chosen one is not among the metrics since it cannot run here.
    """
    embeddings = [
        metric
        for metric in metrics
        if metric["kind"] == "embedding"
        and metric["gates"]
        and metric.get("copy_limit") is None
        and metric.get("chosen", True)
    ]
    best = min(embeddings, key=lambda metric: not metric["made_for_type"], default=None)
    return str(best["engine"]["name"]) if best else ""


def diversity_metric(metrics: Sequence[dict[str, Any]]) -> str:
    """The pair metric that says how much two seeds of a prompt differ: a learned one before structural similarity; empty when neither can run."""
    names = {metric["engine"]["name"] for metric in metrics if metric["kind"] == "pair"}
    return next((name for name in ("lpips", "ssim") if name in names), "")


def held_out_references(session: Session, asset: Asset, version: Version, baseline: Version | None) -> HeldOut:
    """The held-out references of the version's own dataset, without those that the baseline was trained on.

    An imported version has no dataset of ours; the asset's newest one stands in, and the result says that it is not certain.
    """
    run = session.get(Run, version.run_id) if version.run_id is not None else None
    if run is not None:
        dataset: DatasetVersion | None = session.get_one(DatasetVersion, run.dataset_id)
    else:
        newest = (
            select(DatasetVersion)
            .where(DatasetVersion.asset_id == asset.id)
            .order_by(col(DatasetVersion.number).desc())
        )
        dataset = session.exec(newest).first()
    if dataset is None:
        return HeldOut(dataset="", items=(), leaked=0, certain=False)
    rows = session.exec(
        select(DatasetItemRow)
        .where(DatasetItemRow.dataset_id == dataset.id, DatasetItemRow.split == "held_out")
        .order_by(col(DatasetItemRow.sha256))
    ).all()
    learned = _trained_on(session, baseline)
    kept = tuple((row.sha256, row.crop) for row in rows if row.sha256 not in learned)
    return HeldOut(
        dataset=dataset_address(asset.name, dataset.number),
        items=kept,
        leaked=len(rows) - len(kept),
        certain=run is not None,
        captions={row.sha256: row.caption for row in rows},
    )


def _trained_on(session: Session, version: Version | None) -> set[str]:
    run = session.get(Run, version.run_id) if version is not None and version.run_id is not None else None
    if run is None:
        return set()
    return set(
        session.exec(
            select(DatasetItemRow.sha256).where(
                DatasetItemRow.dataset_id == run.dataset_id, DatasetItemRow.split == "train"
            )
        ).all()
    )


def training_pictures(session: Session, version: Version) -> list[tuple[str, str]]:
    """Hash and crop of the pictures a version was trained on, at most 400 of them; none for imported versions."""
    run = session.get(Run, version.run_id) if version.run_id is not None else None
    if run is None:
        return []
    rows = session.exec(
        select(DatasetItemRow.sha256, DatasetItemRow.crop).where(
            DatasetItemRow.dataset_id == run.dataset_id, DatasetItemRow.split == "train"
        )
    ).all()
    return _fair(rows, _MOST_TRAINING)


def other_references(session: Session, asset: Asset, metrics: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Hash and crop of references of other assets, at most 24: of the same type, else of types that the primary metric can look at as well."""
    primary = primary_metric(metrics)
    types: list[str] = next((metric["asset_types"] for metric in metrics if metric["engine"]["name"] == primary), [])
    active = (
        select(Reference.sha256, Reference.crop)
        .join(Asset, col(Asset.id) == Reference.asset_id)
        .where(Reference.asset_id != asset.id, Reference.state == "active", col(Asset.archived_at).is_(None))
        .distinct()
    )
    own = set(session.exec(select(Reference.sha256).where(Reference.asset_id == asset.id)).all())
    for wanted in ([asset.type], types):
        rows = session.exec(active.where(col(Asset.type).in_(wanted))).all()
        found = [row for row in rows if row[0] not in own]
        if found:
            return _fair(found, _MOST_OTHERS)
    return []


def _fair(rows: Iterable[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """So many of the rows, chosen by hash: the same ones every time, and none of them for a reason."""
    chosen = sorted(set(rows), key=lambda row: hash_of(f"other:{row[0]}".encode()).digest())[:most]
    return sorted(chosen)
