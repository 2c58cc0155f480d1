"""``assetforge metric``: what measures renders."""

from collections.abc import Sequence

from cyclopts import App

from assetforge.cli.output import emit, plain, table
from assetforge.cli.session import opened_project
from assetforge.services.metrics import MetricInfo, list_metrics, metrics_of

__all__ = ["app"]

app = App(name="metric", help="Metrics: what measures renders.", help_format="plaintext")


@app.command(name="list")
def list_(asset: str = "") -> None:
    """List the metrics: kind, what each decides, licence of its weights, and how much it may lose.

    Args:
        asset: Say it for this asset, with margins by what training again changed; without one, for any.
    """
    if asset:
        with opened_project() as project:
            metrics = metrics_of(project, asset)
    else:
        metrics = list_metrics()
    emit("metric-list", {"asset": asset, "metrics": metrics}, lambda: _print(metrics, asset))


def _print(metrics: Sequence[MetricInfo], asset: str) -> None:
    rows = [
        (
            one.name,
            one.kind,
            ", ".join(one.asset_types) or "all",
            f"{one.decides} (chosen)" if one.chosen else one.decides,
            one.licence,
            one.declared or None,
            one.noise,
            one.margin or None,
            f"copies above {one.copy_limit:g}" if one.copy_limit is not None else "",
        )
        for one in metrics
    ]
    columns = ("metric", "kind", "for", "decides", "licence", "declared margin", "noise", "margin that counts", "")
    table(columns, rows, empty="No plugin brings a metric.")
    for one in metrics:
        # What is for other types is said by its own column.
        if one.why and one.decides == "not ready":
            plain(one.why)
    if asset and not any(one.decides == "primary" for one in metrics):
        choice = next((one.title for one in metrics if one.chosen), "")
        plain(
            f"Nothing decides: {choice} was chosen to and cannot run here."
            if choice
            else f"Nothing decides: no metric that can run here tells {asset} from others."
        )
