"""What a film and its assets say about metrics: which run, which one decides, and with which parameters.

An asset says it in its settings ``metrics``, ``primary`` and ``metric_params``, a film in ``[regression.metric_params.NAME]`` of its ``project.toml``.
"""

from collections.abc import Mapping
from typing import Any

from assetforge.api.specs import MetricSpec
from assetforge.errors import NotFoundError, UsageError
from assetforge.extension.registry import get_registry

__all__ = ["check_primary", "chosen_names", "chosen_params", "chosen_primary", "is_likeness"]


def is_likeness(spec: MetricSpec) -> bool:
    """Whether a metric may decide: it says how near a picture is to the asset's references, by more than its pixels."""
    return spec.kind == "embedding" and spec.gates and spec.copy_limit is None


def chosen_names(asset: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics that somebody chose for an asset; empty leaves it to its type.

    Raises:
        UsageError: The setting is not a list of names.
    """
    names = settings.get("metrics") or ()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UsageError(
            f"The setting metrics of {asset} is not a list of names: {names!r}.",
            hint=f"Write it as `assetforge asset set {asset} --set 'metrics=[\"ssim\"]'`, or remove it with --set metrics=null.",
        )
    return tuple(names)


def chosen_primary(asset: str, settings: Mapping[str, Any]) -> str:
    """The metric that somebody chose to decide about an asset; empty leaves it to its type.

    Raises:
        UsageError: The setting is not a name.
    """
    name = settings.get("primary") or ""
    if not isinstance(name, str):
        raise UsageError(
            f"The setting primary of {asset} is not the name of a metric: {name!r}.",
            hint=f"`assetforge metric list {asset}` shows those that can decide; --set primary=null leaves it to the asset's type.",
        )
    return name


def check_primary(name: str, asset: str, asset_type: str) -> None:
    """See to it that a metric can decide about an asset at all, whether or not it can run here.

    Raises:
        NotFoundError: There is no such metric.
        UsageError: It cannot.
    """
    spec = get_registry().metric(name).spec
    hint = f"`assetforge metric list {asset}` shows those that can; --set primary=null leaves it to the asset's type."
    if not is_likeness(spec):
        why = "finds copies" if spec.copy_limit is not None else "does not tell one asset from another"
        raise UsageError(f"The metric {name!r} cannot decide about {asset}: it {why}.", hint=hint)
    if spec.asset_types and asset_type not in spec.asset_types:
        raise UsageError(
            f"The metric {name!r} cannot decide about {asset}: it says nothing about a {asset_type}.", hint=hint
        )


def chosen_params(
    asset: str, settings: Mapping[str, Any], film: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Parameters of metrics by name, not yet validated; what an asset says goes before what the film says, key by key.

    Args:
        asset: Name of the asset.
        settings: Its settings.
        film: What the film says.

    Raises:
        UsageError: The setting is no table of tables, or a metric of that name does not exist.
    """
    own = settings.get("metric_params") or {}
    if not isinstance(own, Mapping) or not all(isinstance(values, Mapping) for values in own.values()):
        raise UsageError(
            f"The setting metric_params of {asset} does not give values by metric: {own!r}.",
            hint=f'Write it as `assetforge asset set {asset} --set \'metric_params={{"clip-image": {{"batch_size": 4}}}}\'`.',
        )
    for name in (*film, *own):
        try:
            get_registry().metric(name)
        except NotFoundError as error:
            where = f"the setting metric_params of {asset}" if name in own else "[regression.metric_params]"
            raise UsageError(
                f"Parameters are set for a metric {name!r}, which does not exist, in {where}.", hint=error.hint
            ) from error
    return {name: {**film.get(name, {}), **own.get(name, {})} for name in dict.fromkeys((*film, *own))}
