"""``assetforge train``."""

from typing import Annotated, Any

from cyclopts import Parameter

from assetforge.cli.exit_codes import ExitCode
from assetforge.cli.hashing import hashing
from assetforge.cli.output import emit, facts, plain, say, table
from assetforge.cli.session import opened_project
from assetforge.cli.waiting import wait_with_progress
from assetforge.errors import JobError
from assetforge.services.datasets import freeze
from assetforge.services.recipes import parse_overrides
from assetforge.services.runs import get_run
from assetforge.services.training import request_training
from assetforge.services.training_preview import TrainingPreview, preview_training

__all__ = ["train"]


def train(
    asset: str,
    *,
    recipe: str = "",
    base: str = "",
    dataset: str = "",
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = (),
    seed: int = 0,
    on: str = "",
    priority: int = 0,
    start_from: Annotated[str, Parameter(name="--from")] = "",
    freeze_first: Annotated[bool, Parameter(name="--freeze", negative=())] = False,
    again: Annotated[bool, Parameter(negative=())] = False,
    wait: Annotated[bool, Parameter(negative=())] = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Train a LoRA of an asset; the same dataset, recipe, trainer and base are never trained twice.

    Args:
        asset: Name of the asset.
        recipe: Preset; by default the asset's own, the film's, or the first that fits.
        base: Name of a base model, a diffusers folder, or a hub id in the local cache; `assetforge base list` shows names.
        dataset: Dataset version such as mara/d3; by default the newest.
        set_: Change a parameter of the recipe, such as --set rank=8; may be repeated.
        seed: Seed of all randomness.
        on: Executor to run on.
        priority: Higher goes first.
        start_from: Go on from the weights of this version, such as mara/v2; by default training begins from nothing.
        freeze_first: Freeze a new dataset version first, if anything changed.
        again: Train even though the same training has a version.
        wait: Wait until it is done.
        dry_run: Say what would be trained, how long it would take, and what is odd about it; start and freeze nothing.
    """
    if dry_run:
        _preview(
            asset,
            recipe=recipe,
            overrides=parse_overrides(set_),
            base=base,
            dataset=dataset,
            freeze_first=freeze_first,
            seed=seed,
            executor=on,
            start_from=start_from,
        )
        return ExitCode.OK
    with opened_project() as project:
        if freeze_first:
            freeze(project, asset)
        with hashing("base model") as update:
            request = request_training(
                project,
                asset,
                recipe=recipe,
                overrides=parse_overrides(set_),
                base=base,
                dataset=dataset,
                seed=seed,
                executor=on,
                priority=priority,
                again=again,
                start_from=start_from,
                hashing=update,
            )
        state = "succeeded" if request.reused else "queued"
        if wait and request.job is not None:
            state = wait_with_progress(project, request.job, f"run {request.run}  {asset}")
        info = get_run(project, request.run)

        def text() -> None:
            if request.reused:
                plain(
                    f"{request.reused} was trained on exactly this ({request.dataset}, {request.recipe}); nothing to do. Use --again to train it anew."
                )
            elif info.versions:
                plain(f"{', '.join(info.versions)} from run {request.run} ({request.dataset}, {request.recipe}).")
            elif not wait:
                plain(
                    f"Run {request.run} is {'on its way already' if request.joined else 'queued'} ({request.dataset}, {request.recipe})."
                )

        document = {
            "run": request.run,
            "job": request.job,
            "state": state,
            "reused": request.reused,
            "joined": request.joined,
            "versions": info.versions,
        }
        emit(
            "train",
            {**document, "dataset": request.dataset, "recipe": request.recipe, "recipe_key": request.recipe_key},
            text,
        )
        if wait and state != "succeeded":
            raise JobError(
                f"Run {request.run} {_ending(state)}: {info.error or 'see its log'}.",
                hint=f"`assetforge run logs {request.run}` shows what it said.",
            )
        if not wait and request.job is not None:
            say("`assetforge work` runs the queue; --wait runs it and waits.")
    return ExitCode.OK


def _preview(asset: str, **wanted: Any) -> None:
    with opened_project() as project, hashing("base model") as update:
        seen = preview_training(project, asset, hashing=update, **wanted)
    emit("train-preview", {"preview": seen}, lambda: _print(seen))


def _print(seen: TrainingPreview) -> None:
    made = "" if seen.frozen else ", not frozen yet"
    facts(
        {
            "asset": seen.asset,
            "dataset": f"{seen.dataset}: {seen.train_count} to train on, {seen.held_out_count} held out{made}",
            "recipe": f"{seen.recipe} ({seen.trainer})",
            "base": f"{seen.base} ({seen.family}, {seen.resolution} px)",
            "goes on from": seen.start_from,
            "steps": seen.steps,
            "epochs": seen.epochs,
            "pictures a step": seen.pictures_per_step,
            "time": _time(seen),
            "memory": f"{seen.memory_mb:.0f} MB, as run {seen.memory_run} took" if seen.memory_mb else "",
            "runs on": seen.executor,
            "recipe key": seen.recipe_key,
        }
    )
    rows = [(one.name, str(one.value), str(one.recipe)) for one in seen.changed]
    table(("changed", "to", "recipe says"), rows, empty="")
    if seen.reused:
        plain(f"{seen.reused} was trained on exactly this; nothing would run without --again.")
    elif seen.joined is not None:
        plain(f"Run {seen.joined} does exactly this and is on its way.")
    for one in seen.warnings:
        plain(f"! {one.text}")


def _time(seen: TrainingPreview) -> str:
    if seen.seconds is None:
        return "unknown: no earlier run of this trainer on this base"
    minutes, seconds = divmod(round(seen.seconds), 60)
    runs = "1 earlier run" if seen.seconds_from == 1 else f"{seen.seconds_from} earlier runs"
    where = f" on {seen.device}" if seen.device else ""
    return (
        f"about {minutes} min {seconds} s, from {runs}{where}" if minutes else f"about {seconds} s, from {runs}{where}"
    )


def _ending(state: str) -> str:
    return {"failed": "failed", "cancelled": "was cancelled", "lost": "was lost"}.get(state, f"is {state}")
