"""``assetforge train``."""

from typing import Annotated

from cyclopts import Parameter

from assetforge.cli.exit_codes import ExitCode
from assetforge.cli.hashing import hashing
from assetforge.cli.output import emit, plain, say
from assetforge.cli.session import opened_project
from assetforge.cli.waiting import wait_with_progress
from assetforge.errors import JobError
from assetforge.services.datasets import freeze
from assetforge.services.recipes import parse_overrides
from assetforge.services.runs import get_run
from assetforge.services.training import request_training

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
    """
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


def _ending(state: str) -> str:
    return {"failed": "failed", "cancelled": "was cancelled", "lost": "was lost"}.get(state, f"is {state}")
