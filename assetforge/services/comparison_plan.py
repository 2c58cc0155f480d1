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

__all__ = [
    "HeldOut",
    "chosen_metrics",
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


def chosen_metrics(asset: Asset) -> tuple[str, ...]:
    """The metrics that somebody chose for an asset in its setting ``metrics``; empty leaves it to its type.

    Raises:
        UsageError: The setting is not a list of names.
    """
    names = asset.settings.get("metrics") or ()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UsageError(
            f"The setting metrics of {asset.name} is not a list of names: {names!r}.",
            hint=f"Write it as `assetforge asset set {asset.name} --set 'metrics=[\"ssim\"]'`, or remove it with --set metrics=null.",
        )
    return tuple(names)


def metric_plan(asset_type: str, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The metrics to run, as JSON, in the order of the registry.

    Args:
        asset_type: Type of the asset; metrics made for other types are left out.
        names: Only these metrics; by default all that fit.

    Raises:
        NotFoundError: A named metric does not exist.
        UsageError: A named metric does not fit the asset type.
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
    return [_as_json(entry) for entry in fitting]


def _as_json(entry: Registered[MetricSpec]) -> dict[str, Any]:
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
        "params": spec.params().model_dump(mode="json"),
        "title": spec.title,
        "kind": spec.kind,
        "direction": spec.direction,
        "gates": spec.gates,
        "margin": spec.margin,
        "copy_limit": spec.copy_limit,
        "bases": list(spec.bases),
        "asset_types": list(spec.asset_types),
        "made_for_type": bool(spec.asset_types),
    }


def metrics_for_base(metrics: Sequence[dict[str, Any]], base: str) -> list[dict[str, Any]]:
    """The metrics of a plan that can read pictures of this base model."""
    return [metric for metric in metrics if not metric["bases"] or base in metric["bases"]]


def ready_metrics(metrics: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The metrics that can run here, and of the others name, title and what they need."""
    ready, unready = [], []
    for metric in metrics:
        needs = _needs(metric["engine"]["name"])
        if needs:
            unready.append({"name": metric["engine"]["name"], "title": metric["title"], "needs": needs})
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
    """The embedding metric that speaks for identity, one made for the asset's type before a general one; empty when only pixels can be measured."""
    embeddings = [
        metric
        for metric in metrics
        if metric["kind"] == "embedding" and metric["gates"] and metric.get("copy_limit") is None
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
