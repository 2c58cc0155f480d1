"""``assetforge vision weights``."""

from dataclasses import asdict, dataclass

from assetforge.cli.output import emit, plain, table
from assetforge.errors import AssetForgeError
from assetforge_vision.plugin import METRICS
from assetforge_vision.weights import WEIGHTS, locate, models_dir, reason

__all__ = ["MetricWeights", "weights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricWeights:
    """A metric and its weights.

    Attributes:
        name: Name of the metric.
        title: What people read.
        kind: Kind of the metric.
        asset_types: Types it is for; empty means all.
        ready: It can run here.
        needs: What it needs, in one sentence; empty when it is ready.
        files: Files that it reads.
        home: Folder to put them into.
        hub: Model in the cache of Hugging Face that has them; empty when there is none.
        source: Who publishes them.
        found: Where the first of them lies; empty when it is not ready.
        licence: Licence of the weights.
    """

    name: str
    title: str
    kind: str
    asset_types: tuple[str, ...]
    ready: bool
    needs: str
    files: tuple[str, ...]
    home: str
    hub: str
    source: str
    found: str
    licence: str


def weights() -> None:
    """List the learned metrics: whether they can run here, what they need, and the licence of their weights. Nothing is downloaded."""
    rows = _rows()

    def text() -> None:
        table(
            ("metric", "for", "ready", "weights", "licence"),
            [
                (
                    row.name,
                    ", ".join(row.asset_types) or "all",
                    "yes" if row.ready else "no",
                    row.found or row.source,
                    row.licence,
                )
                for row in rows
            ],
        )
        for row in rows:
            if row.needs:
                plain(row.needs)

    emit("vision-weights", {"folder": str(models_dir()), "metrics": [asdict(row) for row in rows]}, text)


def _rows() -> list[MetricWeights]:
    rows = []
    for spec in METRICS:
        wanted, needs = WEIGHTS[spec.name], reason(spec.name)
        rows.append(
            MetricWeights(
                name=spec.name,
                title=spec.title,
                kind=spec.kind,
                asset_types=spec.asset_types,
                ready=not needs,
                needs=needs,
                files=wanted.files,
                home=str(wanted.home),
                hub=wanted.hub,
                source=wanted.source,
                found=_found(spec.name),
                licence=spec.licence,
            )
        )
    return rows


def _found(metric: str) -> str:
    try:
        return str(next(iter(locate(metric).values())).parent)
    except AssetForgeError:
        return ""
