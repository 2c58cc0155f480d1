"""What a new run can be chosen from: recipes, base models, dataset versions, where to start, executors; and the form that comes of one recipe. All of it in threads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from assetforge.domain.form_field import FormCheck, FormField
from assetforge.tui.hints import in_words
from assetforge.tui.words import plain

if TYPE_CHECKING:
    from assetforge.api.specs import RecipeSpec
    from assetforge.services.assets import AssetInfo
    from assetforge.services.projects import Project

__all__ = ["FREEZE", "NOTHING", "PLAN", "Plan", "Wish", "plan_run", "wish_of"]

PLAN = "plan."
"""Begins the names of fields that are no parameters of the trainer."""

FREEZE = "what is there now"
"""Choice of dataset: freeze first."""

NOTHING = "nothing"
"""Choice of where to start."""

_GROUP = "Run"
_MOST_VERSIONS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A form, and what it was made from.

    Attributes:
        asset: Name of the asset.
        recipe: The recipe that its defaults are of.
        base: The base model that its defaults are of; empty when none could be found.
        recipes: Name and summary of all recipes for the asset.
        fields: First those of the run, then the parameters of the trainer.
        notes: A word beside fields.
        check: Says what is wrong.
        problem: Why this cannot run as it is; empty when it can.
    """

    asset: str
    recipe: str
    base: str
    recipes: tuple[tuple[str, str], ...]
    fields: tuple[FormField, ...]
    notes: Mapping[str, str]
    check: Callable[[Mapping[str, Any]], FormCheck]
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a form asks for.

    Attributes:
        recipe: Name of the recipe.
        base: Name of the base model; empty takes the recipe's or the film's.
        dataset: Address of the dataset version; empty freezes first.
        start_from: Address of a version; empty begins from nothing.
        executor: Where.
        seed: Of all randomness.
        overrides: Parameters that differ from the recipe.
    """

    recipe: str
    base: str
    dataset: str
    start_from: str
    executor: str
    seed: int
    overrides: Mapping[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """As services take them, the dataset excepted."""
        return {
            "recipe": self.recipe,
            "base": self.base,
            "start_from": self.start_from,
            "executor": self.executor,
            "seed": self.seed,
            "overrides": dict(self.overrides),
        }


def wish_of(asset: str, values: Mapping[str, Any], changed: Mapping[str, Any]) -> Wish:
    """What a form asks for.

    Args:
        asset: Name of the asset.
        values: All values of the form.
        changed: Those that differ from the defaults.
    """
    dataset, start = str(values.get(f"{PLAN}dataset") or FREEZE), str(values.get(f"{PLAN}start") or NOTHING)
    return Wish(
        recipe=str(values.get(f"{PLAN}recipe") or ""),
        base=str(values.get(f"{PLAN}base") or ""),
        dataset="" if dataset == FREEZE else f"{asset}/{dataset}",
        start_from="" if start == NOTHING else f"{asset}/{start}",
        executor=str(values.get(f"{PLAN}executor") or ""),
        seed=int(values.get(f"{PLAN}seed") or 0),
        overrides={name: value for name, value in changed.items() if not name.startswith(PLAN)},
    )


def plan_run(project: "Project", asset_name: str, recipe: str, base: str) -> Plan:
    """The form of a recipe for an asset.

    Args:
        project: The film.
        asset_name: What to train.
        recipe: Name of the recipe; empty takes the asset's, the film's, or the first that fits.
        base: Name of the base model; empty takes the recipe's or the film's.

    Raises:
        NotFoundError: There is no such asset or recipe, or none fits.
        PluginError: The trainer's plugin does not work.
    """
    from pydantic import ValidationError

    from assetforge.errors import AssetForgeError, NotFoundError
    from assetforge.extension.registry import get_registry
    from assetforge.services.assets import get_asset
    from assetforge.services.param_fields import checker_of, fields_of
    from assetforge.services.recipes import recipes_for, resolve_recipe

    asset = get_asset(project, asset_name)
    known = [entry.spec for entry in recipes_for(asset.type)]
    problem, found_base = "", ""
    try:
        chosen = resolve_recipe(project, asset, name=recipe, base=base)
        spec, trainer = get_registry().recipe(chosen.name).spec, chosen.trainer.spec
        preset = chosen.params.model_dump(mode="json")
        found_base = chosen.base.name
    except AssetForgeError as error:
        problem = in_words(error)
        name = recipe or asset.recipe or project.config.defaults.recipe.get(asset.type, "")
        if not name and not known:
            raise NotFoundError(error.message, hint=error.hint) from error
        spec = get_registry().recipe(name or known[0].name).spec
        trainer = get_registry().trainer(spec.trainer).spec
        try:
            preset = trainer.params.model_validate(spec.params).model_dump(mode="json")
        except ValidationError:
            preset = {}
    families = tuple(trainer.families)
    fields = [
        replace(
            field, default=preset.get(field.name, field.default), required=field.required and field.name not in preset
        )
        for field in fields_of(trainer.params)
    ]
    return Plan(
        asset=asset.name,
        recipe=spec.name,
        base=found_base,
        recipes=tuple((one.name, plain(one.summary or one.title)) for one in _with(known, spec)),
        fields=(*_run_fields(project, asset, _with(known, spec), spec, found_base or base, families), *fields),
        notes={f"{PLAN}recipe": plain(spec.title, 40), f"{PLAN}base": spec.family},
        check=checker_of(trainer.params),
        problem=problem,
    )


def _with(known: "list[RecipeSpec]", spec: "RecipeSpec") -> "list[RecipeSpec]":
    return known if any(one.name == spec.name for one in known) else [spec, *known]


def _run_fields(
    project: "Project",
    asset: "AssetInfo",
    recipes: "list[RecipeSpec]",
    spec: "RecipeSpec",
    base: str,
    families: tuple[str, ...],
) -> list[FormField]:
    from assetforge.extension.registry import get_registry
    from assetforge.services.base_registration import known_bases
    from assetforge.services.datasets import list_datasets
    from assetforge.services.versions import list_versions

    bases = [one.name for one in known_bases() if one.family in families and (not one.problem or one.name == base)]
    datasets = [one.address.rpartition("/")[2] for one in list_datasets(project, asset.name)]
    versions = [one.address.rpartition("/")[2] for one in list_versions(project, asset=asset.name)][:_MOST_VERSIONS]
    executors = [one.spec.name for one in get_registry().executors()]
    return [
        _choice("recipe", "Recipe", [one.name for one in recipes], spec.name, "The preset whose values the parameters begin with."),
        _choice("base", "Base model", list(dict.fromkeys([*([base] if base else []), *bases])), base or None, "What is trained on. `assetforge base add` gives more of them a name."),
        _choice("dataset", "Dataset", [*datasets, FREEZE], (datasets or [FREEZE])[0], "The dataset version to learn from; the last choice freezes the active references first."),
        _choice("start", "Start from", [NOTHING, *versions], NOTHING, "A version whose weights training goes on from, or nothing."),
        _choice("executor", "Executor", executors, project.config.defaults.executor, "Where it runs."),
        FormField(name=f"{PLAN}seed", title="Seed", kind="int", default=0, minimum=0, group=_GROUP, help="Of all randomness: the same seed gives the same result."),
    ]  # fmt: skip


def _choice(name: str, title: str, choices: list[str], default: str | None, about: str) -> FormField:
    return FormField(
        name=f"{PLAN}{name}",
        title=title,
        help=about,
        kind="choice",
        choices=tuple(choices),
        default=default,
        required=default is None,
        group=_GROUP,
    )
