"""An asset's own prompts: the shots of the film, as they will be asked for. They become a block of whatever suite the asset is rendered through.

Comparisons that were made before keep their plans; what is rendered from then on has another plan.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from assetforge.domain.suite import OWN, BlockDefinition
from assetforge.errors import NotFoundError, UsageError
from assetforge.services import activity
from assetforge.services.assets import find_asset
from assetforge.services.projects import Project

__all__ = ["change_own_prompts", "own_prompts"]

_SETTING = "own_prompts"


def own_prompts(asset: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The own prompts in the settings of an asset, in the order they were added.

    Raises:
        UsageError: The setting is not a list of prompts.
    """
    given = settings.get(_SETTING) or ()
    if not isinstance(given, list | tuple) or not all(isinstance(prompt, str) for prompt in given):
        raise UsageError(
            f"The setting {_SETTING} of {asset} is not a list of prompts: {given!r}.",
            hint=f"Remove it with `assetforge asset set {asset} --set {_SETTING}=null`, and use `assetforge suite own {asset} --add PROMPT`.",
        )
    return _checked(asset, tuple(given))


def change_own_prompts(
    project: Project, asset: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> tuple[str, ...]:
    """Add and remove own prompts of an asset; one that is there already is not added again.

    Args:
        project: The film.
        asset: Name of the asset.
        add: Prompts; ``{trigger}`` and ``{class}`` are filled.
        remove: Prompts as they were added, or their numbers from 1; removed before others are added.

    Returns:
        The own prompts from then on.

    Raises:
        NotFoundError: There is no such asset, or it has no such prompt.
        UsageError: A prompt is empty, or has an unknown placeholder.
    """
    with project.write() as session:
        row = find_asset(session, asset)
        before = own_prompts(asset, row.settings)
        gone = {_meant(asset, before, one) for one in remove}
        kept = [prompt for prompt in before if prompt not in gone]
        prompts = _checked(asset, tuple(dict.fromkeys([*kept, *(" ".join(prompt.split()) for prompt in add)])))
        if prompts != before:
            others = {key: value for key, value in row.settings.items() if key != _SETTING}
            row.settings = {**others, _SETTING: list(prompts)} if prompts else others
            session.add(row)
            activity.record(session, activity.current_actor(), "changed", asset, own_prompts=list(prompts))
    return prompts


def _meant(asset: str, prompts: Sequence[str], text: str) -> str:
    wanted = " ".join(text.split())
    if wanted in prompts:
        return wanted
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(prompts):
        return prompts[int(wanted) - 1]
    raise NotFoundError(
        f"{asset} has no own prompt {text!r}.", hint=f"`assetforge suite own {asset}` shows them with their numbers."
    )


def _checked(asset: str, prompts: tuple[str, ...]) -> tuple[str, ...]:
    if not prompts:
        return ()
    if not all(prompt.strip() for prompt in prompts):
        raise UsageError(f"An own prompt of {asset} is empty.", hint="Write what the shot shows.")
    try:
        BlockDefinition(name=OWN, prompts=prompts, seeds=(0,))
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"An own prompt of {asset} cannot be used: {said}.") from error
    return prompts
