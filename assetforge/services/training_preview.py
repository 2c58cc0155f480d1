"""What a training would be, before anybody starts it: on what, how, how long, at what cost, whether it was done already, and what is odd about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, func, select

from assetforge.api.params import relevant
from assetforge.db.models import Reference
from assetforge.domain.dataset_diff import DatasetLine
from assetforge.errors import NotFoundError, UsageError
from assetforge.extension.registry import get_registry
from assetforge.extension.required import check_required
from assetforge.services.assets import AssetInfo, get_asset
from assetforge.services.caption_words import TokenCounter, token_counter
from assetforge.services.dataset_pictures import unfrozen_changes
from assetforge.services.datasets import dataset_lines, get_dataset, list_datasets, plan_freeze
from assetforge.services.projects import Project
from assetforge.services.recipes import Recipe, resolve_recipe
from assetforge.services.training import starting_version, trained_already, training_key
from assetforge.services.training_history import expected_cost, training_length
from assetforge.store.model_digest import HashProgress

__all__ = ["ParamChange", "PreviewWarning", "TrainingPreview", "preview_training"]

_FEW = 10
"""Guides of the field ask for 10 to 50 varied pictures."""

_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamChange:
    """A parameter that differs from the recipe.

    Attributes:
        name: Of the parameter.
        recipe: What the recipe says, a default of the trainer where it says nothing.
        value: What it is.
        counts: False when it has no say beside the others.
    """

    name: str
    recipe: Any
    value: Any
    counts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewWarning:
    """Something that people should know before they start.

    Attributes:
        code: Stable short name: ``unfrozen``, ``few``, ``nothing-held-out``, ``no-captions``, ``captions-too-long``, ``no-rights``, ``no-say``, ``large-step``.
        text: One sentence.
    """

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPreview:
    """What would run; nothing was started, and nothing frozen.

    Attributes:
        asset: Asset name.
        dataset: Address of the dataset version.
        frozen: It exists; False when a freeze would make it.
        train_count: References to train on.
        held_out_count: References kept for scoring.
        recipe: Name of the recipe.
        trainer: Name of the trainer.
        base: Name of the base model.
        family: Model family.
        resolution: Of the base, in pixels.
        executor: Where it would run.
        seed: Seed of all randomness.
        start_from: Version that it would go on from; empty when it begins from nothing.
        params: All parameters, as JSON has them.
        changed: Those that differ from the recipe.
        steps: Optimizer steps; ``None`` when the trainer does not say.
        epochs: How often all pictures are seen; ``None`` when the trainer does not say.
        pictures_per_step: Pictures that a step learns from; ``None`` when the trainer does not say.
        seconds: How long it will probably take, from earlier runs; ``None`` when none tells.
        seconds_from: How many earlier runs that comes from.
        device: The device that these runs were on.
        memory_mb: What an earlier run took that differed in nothing that takes memory; ``None`` when there is none.
            Trainers compute the need again when they start, and stop or adapt when there is too little.
        memory_run: Number of that run.
        recipe_key: Identity of what would be trained.
        reused: Version that is the answer already; empty when none is. Starting it then does nothing, unless it is asked for again.
        joined: Run that does the same and is on its way; ``None`` when none is.
        warnings: What is odd, the most important first.
    """

    asset: str
    dataset: str
    frozen: bool
    train_count: int
    held_out_count: int
    recipe: str
    trainer: str
    base: str
    family: str
    resolution: int
    executor: str
    seed: int
    start_from: str
    params: Mapping[str, Any]
    changed: tuple[ParamChange, ...]
    steps: int | None
    epochs: float | None
    pictures_per_step: int | None
    seconds: float | None
    seconds_from: int
    device: str
    memory_mb: float | None
    memory_run: int | None
    recipe_key: str
    reused: str
    joined: int | None
    warnings: tuple[PreviewWarning, ...]


@dataclass(frozen=True, slots=True)
class _Dataset:
    address: str
    frozen: bool
    tree_hash: str
    lines: tuple[DatasetLine, ...]

    @property
    def train(self) -> list[DatasetLine]:
        return [line for line in self.lines if line.split == "train"]


def preview_training(
    project: Project,
    asset_name: str,
    *,
    recipe: str = "",
    overrides: Mapping[str, Any] | None = None,
    base: str = "",
    dataset: str = "",
    freeze_first: bool = False,
    seed: int = 0,
    executor: str = "",
    start_from: str = "",
    hashing: HashProgress | None = None,
) -> TrainingPreview:
    """What :func:`~assetforge.services.training.request_training` would start with these arguments.

    Args:
        project: The film.
        asset_name: What to train.
        recipe: Preset; by default the asset's.
        overrides: Parameters that differ from the preset.
        base: Base model; by default the preset's or the film's.
        dataset: Dataset address; by default the asset's newest.
        freeze_first: Look at what a freeze would make of the references as they are. So it is too while the asset has no dataset version.
        seed: Seed of all randomness.
        executor: Where to run; by default the film's.
        start_from: Version whose weights training goes on from.
        hashing: Hears about files of the base model that have to be hashed first.

    Raises:
        NotFoundError: There is no such asset, dataset version, recipe, trainer, base model, executor or version.
        UsageError: There is nothing to train on, or the parameters do not fit; a form shows the sentence.
        PluginError: A plugin that the film requires does not work here.
    """
    check_required(get_registry(), project.config.plugins.required)
    asset = get_asset(project, asset_name)
    data = _dataset(project, asset.name, dataset, freeze_first=freeze_first)
    if not data.train:
        raise UsageError(
            f"{data.address} has no references to train on.",
            hint="Add references with `assetforge ref add`, then freeze again.",
        )
    chosen = resolve_recipe(project, asset, name=recipe, overrides=overrides, base=base, hashing=hashing)
    where = executor or project.config.defaults.executor
    get_registry().executor(where)
    start = starting_version(project, start_from, chosen) if start_from else None
    key = training_key(asset, data.tree_hash, chosen, seed, start.weights if start else "")
    pictures = sum(line.repeats for line in data.train)
    length = training_length(chosen.trainer.spec, chosen.params, pictures)
    with project.read() as session:
        done = trained_already(session, asset, data.address, chosen.name, key)
        cost = expected_cost(session, chosen, where, length)
        without_rights = _without_rights(session, asset, data.lines)
    changed = _changed(chosen, overrides or {})
    per_step = (length.pictures_per_step or None) if length else None
    warnings = [
        *_about_dataset(project, asset, data, dataset, freeze_first=freeze_first),
        *_about_captions(data.train, token_counter(project, asset.name, base=chosen.base.name)),
        *_about_rights(without_rights, len(data.lines)),
        *_about_params(changed, per_step, length.pictures if length else pictures),
    ]
    return TrainingPreview(
        asset=asset.name,
        dataset=data.address,
        frozen=data.frozen,
        train_count=len(data.train),
        held_out_count=len(data.lines) - len(data.train),
        recipe=chosen.name,
        trainer=chosen.trainer.spec.name,
        base=chosen.base.name,
        family=chosen.base.family,
        resolution=chosen.base.resolution,
        executor=where,
        seed=seed,
        start_from=start.address if start else "",
        params=chosen.params.model_dump(mode="json"),
        changed=changed,
        steps=length.steps if length else None,
        epochs=length.steps * per_step / length.pictures if length and per_step and length.pictures else None,
        pictures_per_step=per_step,
        seconds=cost.seconds,
        seconds_from=cost.runs,
        device=cost.device,
        memory_mb=cost.memory_mb,
        memory_run=cost.memory_run,
        recipe_key=key,
        reused=done.reused if done else "",
        joined=done.run if done and done.joined else None,
        warnings=tuple(warnings),
    )


def _dataset(project: Project, asset: str, address: str, *, freeze_first: bool) -> _Dataset:
    if not address and (freeze_first or not list_datasets(project, asset)):
        plan = plan_freeze(project, asset)
        return _Dataset(plan.address, not plan.is_new, plan.tree_hash, plan.lines)
    found = get_dataset(project, address or asset)
    return _Dataset(
        found.address, frozen=True, tree_hash=found.tree_hash, lines=tuple(dataset_lines(project, found.address))
    )


def _changed(recipe: Recipe, overrides: Mapping[str, Any]) -> tuple[ParamChange, ...]:
    spec, model = get_registry().recipe(recipe.name).spec, recipe.trainer.spec.params
    given = {"resolution": recipe.base.resolution} if "resolution" in model.model_fields else {}
    preset = model.model_validate({**given, **spec.params}).model_dump(mode="json")
    values = recipe.params.model_dump(mode="json")
    says = relevant(model, values)
    return tuple(
        ParamChange(name=name, recipe=preset[name], value=values[name], counts=name in says)
        for name in model.model_fields
        if name in overrides and values[name] != preset[name]
    )


def _without_rights(session: Session, asset: AssetInfo, lines: Sequence[DatasetLine]) -> int:
    hashes = [line.sha256 for line in lines]
    cleared = 0
    for begin in range(0, len(hashes), _BATCH):
        query = (
            select(func.count())
            .select_from(Reference)
            .where(
                Reference.asset_id == asset.id,
                col(Reference.sha256).in_(hashes[begin : begin + _BATCH]),
                Reference.rights != "",
            )
        )
        cleared += session.exec(query).one()
    return len(hashes) - cleared


def _about_dataset(
    project: Project, asset: AssetInfo, data: _Dataset, named: str, *, freeze_first: bool
) -> Iterator[PreviewWarning]:
    if not data.frozen and not freeze_first:
        text = f"{asset.name} has no dataset version yet; this is what a freeze would make, and has to be frozen first."
        yield PreviewWarning(code="unfrozen", text=text)
    elif data.frozen and not named and not freeze_first:
        pending = _pending(project, asset.name)
        if pending:
            text = f"References changed since {data.address} ({pending}); they are not trained on unless it is frozen first."
            yield PreviewWarning(code="unfrozen", text=text)
    count, held = len(data.train), len(data.lines) - len(data.train)
    if count < _FEW:
        yield PreviewWarning(code="few", text=f"{count} pictures are few; 10 to 50 varied ones are usual.")
    if not held:
        text = "No reference is held out, so nothing can say how well the result does on pictures that it has not seen."
        yield PreviewWarning(code="nothing-held-out", text=text)


def _pending(project: Project, asset: str) -> str:
    try:
        return unfrozen_changes(project, asset).sentence
    except (NotFoundError, UsageError):
        # All references were put aside since.
        return "none is active any more"


def _about_captions(train: Sequence[DatasetLine], counter: TokenCounter) -> Iterator[PreviewWarning]:
    bare = sum(not line.caption.strip() for line in train)
    if bare:
        text = f"{bare} of {len(train)} pictures have no caption and are trained on as “{_subject(counter)}”."
        yield PreviewWarning(code="no-captions", text=text)
    limit = counter.limit
    long = 0 if limit is None else sum(counter.count(line.caption) > limit for line in train)
    if long:
        about = "" if counter.exact else "probably "
        text = f"{long} of {len(train)} captions are {about}longer than the {limit} tokens that are read; their ends are cut off."
        yield PreviewWarning(code="captions-too-long", text=text)


def _subject(counter: TokenCounter) -> str:
    return f"{counter.trigger} {counter.class_word}".strip()


def _about_rights(without: int, count: int) -> Iterator[PreviewWarning]:
    if without:
        yield PreviewWarning(
            code="no-rights", text=f"Nothing is said about the rights of {without} of {count} references."
        )


def _about_params(changed: Sequence[ParamChange], per_step: int | None, pictures: int) -> Iterator[PreviewWarning]:
    idle = [one.name for one in changed if not one.counts]
    if idle:
        names = " and ".join([", ".join(idle[:-1]), idle[-1]]) if len(idle) > 1 else idle[0]
        yield PreviewWarning(code="no-say", text=f"With these parameters {names} changes nothing.")
    if per_step is not None and per_step > pictures:
        text = f"A step learns from {per_step} pictures, and there are {pictures}: some are in it twice."
        yield PreviewWarning(code="large-step", text=text)
