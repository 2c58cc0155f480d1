"""The way from a version to its comparison: the one that decisions rest on, one that is being made, or the offer to make one."""

from functools import partial
from typing import TYPE_CHECKING

from textual.content import Content

from assetforge.tui.screens.dialogs import OTHER, Choice, ChoiceDialog, ConfirmDialog, TextDialog
from assetforge.tui.words import count_of, duration, plain

if TYPE_CHECKING:
    from pathlib import Path

    from assetforge.services.comparison_cost import ComparisonCost
    from assetforge.services.comparison_records import ComparisonInfo
    from assetforge.services.projects import Project
    from assetforge.tui.app import FilmApp
    from assetforge.tui.session import FilmSession

__all__ = ["ask_for_comparison", "ask_for_more", "open_comparison", "open_report"]


async def open_comparison(app: "FilmApp", session: "FilmSession", version_address: str) -> None:
    """Show the comparison of a version, or offer to make one; call it from an action that may ask questions.

    Args:
        app: The program.
        session: The open film.
        version_address: Such as ``mara/v7``.

    Raises:
        AssetForgeError: As the services say.
    """
    from assetforge.tui.screens.compare import CompareScreen

    found = await session.run(_known, version_address)
    if found is None:
        found = await ask_for_comparison(app, session, version_address)
    if found is not None:
        await app.push_screen(CompareScreen(found))


def _known(project: "Project", address: str) -> int | None:
    """The comparison that a decision rests on, else one that is being made."""
    from assetforge.errors import TryAgainError
    from assetforge.services.comparison_records import list_comparisons
    from assetforge.services.reviews import reviewed_comparison

    try:
        return reviewed_comparison(project, address)
    except TryAgainError:
        return next((one.id for one in list_comparisons(project, address) if one.state == "queued" and one.jobs), None)


async def ask_for_comparison(
    app: "FilmApp", session: "FilmSession", version: str, base: str = "", *, offer_quick: bool = True
) -> int | None:
    """Say what a comparison takes, and queue it after a yes; its number, or ``None`` after a no.

    Args:
        app: The program.
        session: The open film.
        version: The version under test.
        base: The baseline; chosen by the service when it is left out.
        offer_quick: Offer the suite's quick size too, where there is one.

    Raises:
        AssetForgeError: As the services say.
    """
    from assetforge.services.comparison_cost import comparison_cost

    cost = await session.run(comparison_cost, version, base)
    against = cost.baseline or "the bare base"
    title = f"Compare {plain(cost.version)} with {plain(against)}?"
    about, other = _takes(cost), None
    if offer_quick and cost.has_quick:
        quick = await session.run(partial(comparison_cost, quick=True), version, base)
        about, other = Content("\n").join([about, _takes(quick)]), ("k", "Quick size")
    answer = await app.push_screen_wait(ConfirmDialog(title, about, yes="Compare", other=other))
    if answer is None:
        return None
    return (await session.run(_request, version, base, answer == OTHER)).id


def _takes(cost: "ComparisonCost") -> Content:
    """Such as ``230 pictures to render, about 4 min; 92 pictures are there already.``."""
    said = (
        count_of(cost.pictures, "picture") + " to render"
        if cost.pictures
        else "All pictures are there; they are only scored"
    )
    if cost.pictures and cost.seconds:
        said += f", about {duration(cost.seconds)}"
    if cost.pictures and cost.there:
        said += f"; {count_of(cost.there, 'picture is', 'pictures are')} there already"
    said += f". Suite {plain(cost.suite)}."
    if cost.reserve:
        said += f" When the verdict is left open, at most {count_of(cost.reserve, 'picture')} more."
    return Content(said)


def _request(project: "Project", version: str, base: str, quick: bool) -> "ComparisonInfo":
    from assetforge.jobs.background import ensure_supervisor
    from assetforge.services.comparison import request_comparison

    info = request_comparison(project, version, base, quick=quick)
    if info.jobs:
        ensure_supervisor(project)
    return info


async def ask_for_more(app: "FilmApp", session: "FilmSession", comparison_id: int) -> int | None:
    """Offer what more can be done for a verdict: the suite's reserve, the whole suite, the approved version, a prompt of one's own; or try again what failed.

    Returns:
        The comparison that will know more; ``None`` when nothing was asked for.

    Raises:
        AssetForgeError: As the services say.
    """
    from assetforge.services.comparison_records import get_comparison

    info = await session.run(get_comparison, comparison_id)
    if info.state != "succeeded":
        if info.jobs:
            app.tell(f"Comparison {info.id} is under way.")
            return None
        return await ask_for_comparison(app, session, info.version, info.baseline)
    choices = await session.run(_choices, info)
    about = str((info.summary.get("verdict") or {}).get("headline", ""))
    chosen = await app.push_screen_wait(ChoiceDialog(f"More for {plain(info.version)}", choices, plain(about)))
    if chosen == "reserve":
        return await session.run(_extend, info.id)
    if chosen == "whole":
        return await ask_for_comparison(app, session, info.version, info.baseline, offer_quick=False)
    if chosen == "approved":
        return await ask_for_comparison(app, session, info.version)
    if chosen == "own":
        return await _ask_own(app, session, info)
    return None


def _choices(project: "Project", info: "ComparisonInfo") -> list[Choice]:
    from assetforge.domain.suite import QUICK_SUFFIX
    from assetforge.services.comparison import compared_sides

    found = []
    verdict = info.summary.get("verdict") or {}
    undecided = verdict.get("outcome") == "inconclusive" and verdict.get("more_prompts")
    planned = (info.summary.get("plan") or {}).get("looks", 1) > 1
    if undecided and planned and info.extends is None and info.extended_by is None:
        found.append(Choice("reserve", "the suite's reserve of prompts", "planned before the first look"))
    if info.suite.endswith(QUICK_SUFFIX):
        found.append(Choice("whole", "the whole suite", "this was its quick size"))
    with project.read() as session:
        asset, _version, baseline = compared_sides(session, info.version)
        now = f"{asset.name}/v{baseline.number}" if baseline is not None else ""
    if now and now != info.baseline:
        found.append(Choice("approved", f"compare with {now}", "what it would replace now"))
    found.append(Choice("own", "a prompt of your own", "becomes part of every comparison of the asset from now on"))
    return found


def _extend(project: "Project", comparison_id: int) -> int | None:
    from assetforge.jobs.background import ensure_supervisor
    from assetforge.services.extension import extend

    found = extend(project, comparison_id)
    if found is not None:
        ensure_supervisor(project)
    return found


async def _ask_own(app: "FilmApp", session: "FilmSession", info: "ComparisonInfo") -> int | None:
    from assetforge.services.own_prompts import change_own_prompts

    prompt = await app.push_screen_wait(
        TextDialog(
            f"A prompt for {plain(info.asset)}",
            "As the shot will be asked for. {trigger} and {class} are filled in; two seeds are rendered of it.",
            value="{trigger} {class} ",
        )
    )
    if not isinstance(prompt, str):
        return None
    await session.run(change_own_prompts, info.asset, add=[prompt])
    return await ask_for_comparison(app, session, info.version, info.baseline)


async def open_report(app: "FilmApp", session: "FilmSession", comparison_id: int) -> None:
    """Write the report and open it; where nothing can show it, its path is told and copied.

    Raises:
        AssetForgeError: It is not finished, or cannot be written.
    """
    from assetforge.services.report import write_report
    from assetforge.tui.opening import open_file

    path: Path = await session.run(write_report, comparison_id)
    said = await session.call(open_file, path)
    if str(path) in said and not said.startswith("Opened"):
        app.copy_to_clipboard(str(path))
        said += " The path is in the clipboard."
    app.tell(said, title="report")
