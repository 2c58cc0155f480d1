"""Recipes: presets of plugins, chosen for an asset, changed by the user, validated by the trainer's own parameters."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from assetforge.api.params import Params
from assetforge.api.specs import RecipeSpec, TrainerSpec
from assetforge.errors import NotFoundError, UsageError
from assetforge.extension.registry import Registered, get_registry
from assetforge.services.assets import AssetInfo
from assetforge.services.base_models import BaseModel, find_base
from assetforge.services.projects import Project
from assetforge.store.model_digest import HashProgress

__all__ = ["Recipe", "parse_overrides", "recipes_for", "resolve_recipe", "validate_params"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A recipe that is ready to run.

    Attributes:
        name: Name of the preset it started from.
        trainer: The trainer.
        base: The base model.
        params: Complete, validated parameters.
    """

    name: str
    trainer: Registered[TrainerSpec]
    base: BaseModel
    params: Params


def recipes_for(asset_type: str = "") -> list[Registered[RecipeSpec]]:
    """The presets for a type of asset, or all of them."""
    return [entry for entry in get_registry().recipes() if not asset_type or asset_type in entry.spec.asset_types]


def resolve_recipe(
    project: Project,
    asset: AssetInfo,
    *,
    name: str = "",
    overrides: Mapping[str, Any] | None = None,
    base: str = "",
    hashing: HashProgress | None = None,
) -> Recipe:
    """The recipe for an asset: the named one, else the asset's, else the film's, else the first that fits its type and the base.

    Args:
        project: The film.
        asset: What is trained.
        name: Name of a preset.
        overrides: Parameters that differ from the preset.
        base: Name, path or hub id of a base model; by default the preset's, else the film's.
        hashing: Hears about files of the base model that have to be hashed first.

    Raises:
        NotFoundError: No such recipe, trainer or base model.
        UsageError: The parameters or the base model do not fit.
    """
    defaults = project.config.defaults
    wanted_base = base or defaults.base
    entry = _choose(asset, name or asset.recipe or defaults.recipe.get(asset.type, ""), wanted_base, hashing)
    spec = entry.spec
    base_name = base or spec.base or defaults.base
    if not base_name:
        raise UsageError(
            f"The recipe {spec.name!r} trains on any {spec.family} model, and none was named.",
            hint="Name one with --base, or set defaults.base in project.toml.",
        )
    model = find_base(base_name, progress=hashing)
    trainer = get_registry().trainer(spec.trainer)
    if model.family not in trainer.spec.families:
        raise UsageError(
            f"The trainer {trainer.spec.name!r} cannot train {model.family} models such as {model.name!r}.",
            hint=f"It can train: {', '.join(trainer.spec.families)}.",
        )
    values: dict[str, Any] = (
        {"resolution": model.resolution} if "resolution" in trainer.spec.params.model_fields else {}
    )
    values |= {**spec.params, **(overrides or {})}
    return Recipe(
        name=spec.name,
        trainer=trainer,
        base=model,
        params=validate_params(trainer.spec.params, values, what=f"recipe {spec.name}"),
    )


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """``["rank=8", "targets=attention"]`` as values: JSON where it is JSON, text otherwise.

    Raises:
        UsageError: A pair has no ``=``.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise UsageError(f"--set takes NAME=VALUE, and {pair!r} has no =.")
        try:
            values[key.strip()] = json.loads(text)
        except ValueError:
            values[key.strip()] = text
    return values


def validate_params(model: type[Params], values: Mapping[str, Any], *, what: str) -> Params:
    """Validated parameters.

    Raises:
        UsageError: A name is unknown or a value does not fit; says which, and what would.
    """
    unknown = [key for key in values if key not in model.model_fields]
    if unknown:
        near = difflib.get_close_matches(unknown[0], list(model.model_fields), n=1)
        meant = f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(model.model_fields)}."
        raise UsageError(f"The {what} has no parameter {unknown[0]!r}.", hint=meant)
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"The {what} cannot take {name}={first['input']!r}: {first['msg'].lower()}.") from error


def _choose(asset: AssetInfo, name: str, base: str, hashing: HashProgress | None) -> Registered[RecipeSpec]:
    if name:
        return get_registry().recipe(name)
    fitting = recipes_for(asset.type)
    if base:
        family = find_base(base, progress=hashing).family
        fitting = [entry for entry in fitting if entry.spec.family == family]
        fitting.sort(key=lambda entry: entry.spec.base != base)
    else:
        # Without a base model of the film's own, a preset that brings one can run at once.
        fitting.sort(key=lambda entry: not entry.spec.base)
    if not fitting:
        raise NotFoundError(
            f"No recipe fits a {asset.type}{f' on {base}' if base else ''}.",
            hint="`assetforge recipe list` shows all; name one with --recipe.",
        )
    return fitting[0]
