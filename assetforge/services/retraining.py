"""Training again because references changed: what the rules say of every asset, and doing it."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlmodel import col, select

from assetforge.api.events import RetrainProposed, RetrainStarted
from assetforge.db.columns import utc_now
from assetforge.db.models import Activity, Version
from assetforge.domain.names import version_address
from assetforge.domain.priorities import AUTOMATIC_PRIORITY, PERSON_PRIORITY
from assetforge.domain.retrain import AssetChanges, Budget, Decision, Reason, RetrainRules, decide, parse_hours
from assetforge.errors import AssetForgeError, ConfigError, UsageError
from assetforge.services.activity import acting_as, current_actor, publish, record
from assetforge.services.assets import AssetInfo, get_asset, list_assets
from assetforge.services.datasets import freeze
from assetforge.services.project_config import BudgetConfig, ProjectConfig, RetrainConfig
from assetforge.services.projects import Project
from assetforge.services.recipes import resolve_recipe
from assetforge.services.retrain_facts import asset_changes, spent_by
from assetforge.services.succession import WATCH
from assetforge.services.training import TrainingRequest, request_training
from assetforge.services.versions import standing

__all__ = ["CAUSE", "Explained", "explain", "explain_all", "local_now", "propose", "retrain"]

CAUSE = "references changed: "
"""How the cause of such a run begins, in the record."""

_LOCAL_ZONE = Path("/etc/localtime")
_PROPOSED = "proposed to train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What the rules say of an asset now.

    Attributes:
        asset: Its name.
        mode: ``off``, ``ask`` or ``auto``.
        outcome: ``train``, ``ask``, ``wait`` or ``no``.
        headline: The answer in a sentence.
        reasons: Everything that speaks against it, and notes.
        because: What changed.
        not_before: When time alone leads to training, in UTC.
        cost: What a run would cost, in words.
        cost_hours: The same in hours; ``None`` when nobody knows.
        changes: What was counted.
    """

    asset: str
    mode: str
    outcome: str
    headline: str
    reasons: tuple[Reason, ...]
    because: str
    not_before: datetime | None
    cost: str
    cost_hours: float | None
    changes: AssetChanges


def local_now() -> datetime:
    """The time in the zone of this machine, whose clock hours and days follow; the zone knows when clocks are changed, where the system says which it is."""
    name = os.environ.get("TZ", "").lstrip(":")
    try:
        if name:
            return datetime.now(ZoneInfo(name))
        with _LOCAL_ZONE.open("rb") as file:
            return datetime.now(ZoneInfo.from_file(file))
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return datetime.now().astimezone()


def explain_all(project: Project, now: datetime | None = None) -> list[Explained]:
    """What the rules say of every asset that is worked on.

    Raises:
        ConfigError: ``project.toml`` cannot be used.
    """
    config, moment = project.config, now or local_now()
    return [explain(project, asset, config, moment) for asset in list_assets(project)]


def explain(project: Project, asset: AssetInfo, config: ProjectConfig, now: datetime) -> Explained:
    """What the rules say of an asset.

    Args:
        project: The film.
        asset: The asset.
        config: Settings of the film.
        now: The time in the zone whose clock hours and days follow.

    Raises:
        ConfigError: The hours cannot be read.
    """
    settings = config.retrain.of(asset.name)
    changes = asset_changes(project, asset.id)
    if changes.pending and settings.mode != "off":
        changes = _with_problem(project, asset, settings, changes)
    spent = spent_by(project, asset.id, now)
    decision = decide(_rules(settings, project), _budget(config.budget), changes, spent, now)
    return Explained(
        asset=asset.name,
        mode=settings.mode,
        outcome=decision.outcome,
        headline=_headline(decision),
        reasons=decision.reasons,
        because=decision.because,
        not_before=decision.not_before,
        cost="nobody knows yet" if spent.cost_hours is None else f"about {_duration(spent.cost_hours)}",
        cost_hours=spent.cost_hours,
        changes=changes,
    )


def retrain(project: Project, asset_name: str, *, automatic: bool = False) -> tuple[TrainingRequest, str]:
    """Freeze the references of an asset as they are and train on them, as its rules say.

    Args:
        project: The film.
        asset_name: The asset.
        automatic: Nobody asked for it; it goes after what people asked for, and counts for the budget.

    Returns:
        What became of it, and what changed.

    Raises:
        UsageError: Nothing changed since the newest run, or the recipe does not fit.
        NotFoundError: There is no such asset or recipe.
    """
    asset, config = get_asset(project, asset_name), project.config
    settings = config.retrain.of(asset_name)
    because = explain(project, asset, config, local_now()).because
    if not because:
        raise UsageError(
            f"Nothing of {asset_name} changed since its newest run.",
            hint=f"`assetforge train {asset_name} --again` trains all the same.",
        )
    with acting_as(WATCH if automatic else current_actor()):
        dataset = freeze(project, asset_name, note=because)
        request = request_training(
            project,
            asset_name,
            dataset=dataset.address,
            recipe=settings.recipe,
            start_from=_newest_version(project, asset) if settings.warm_start else "",
            priority=AUTOMATIC_PRIORITY if automatic else PERSON_PRIORITY,
            cause=CAUSE + because,
        )
        if request.job is not None and not request.joined:
            event = RetrainStarted(
                project=project.root,
                at=utc_now(),
                actor=current_actor(),
                asset=asset_name,
                run=request.run,
                because=because,
            )
            publish(project, event)
    return request, because


def propose(project: Project, explained: Explained) -> bool:
    """Tell people once that an asset waits for their yes; ``False`` when they were told of these changes."""
    what = explained.because
    with project.write() as session:
        told = session.exec(
            select(Activity)
            .where(Activity.actor == WATCH, Activity.verb == _PROPOSED, Activity.subject == explained.asset)
            .order_by(col(Activity.id).desc())
            .limit(1)
        ).first()
        mark = {"because": what, "after_run": explained.changes.last_run}
        if told is not None and {key: told.detail.get(key) for key in mark} == mark:
            return False
        record(session, WATCH, _PROPOSED, explained.asset, **mark)
    event = RetrainProposed(project=project.root, at=utc_now(), actor=WATCH, asset=explained.asset, because=what)
    publish(project, event)
    return True


def _with_problem(project: Project, asset: AssetInfo, settings: RetrainConfig, changes: AssetChanges) -> AssetChanges:
    try:
        resolve_recipe(project, asset, name=settings.recipe)
    except AssetForgeError as error:
        return dataclasses.replace(changes, problem=error.message.rstrip("."))
    return changes


def _rules(settings: RetrainConfig, project: Project) -> RetrainRules:
    try:
        hours = parse_hours(settings.hours)
    except UsageError as error:
        raise ConfigError(f"{project.paths.config}: retrain.hours: {error.message}", hint=error.hint) from error
    return RetrainRules(
        mode=settings.mode,
        quiet_s=settings.quiet_minutes * 60.0,
        min_references=settings.min_references,
        min_new=settings.min_new,
        min_changed=settings.min_changed,
        min_removed=settings.min_removed,
        cooldown_s=settings.cooldown_minutes * 60.0,
        hours=hours,
        require_rights=settings.require_rights,
    )


def _budget(config: BudgetConfig) -> Budget:
    values: Mapping[str, float | None] = config.model_dump()
    return Budget(**values)  # type: ignore[arg-type]


def _newest_version(project: Project, asset: AssetInfo) -> str:
    with project.read() as session:
        number = session.exec(
            select(Version.number)
            .where(Version.asset_id == asset.id, Version.stage != "rejected", standing())
            .order_by(col(Version.number).desc())
        ).first()
    return version_address(asset.name, number) if number else ""


def _headline(decision: Decision) -> str:
    against = [reason for reason in decision.reasons if reason.effect != "note"]
    if decision.outcome == "train":
        return f"trains now: {decision.because}"
    if decision.outcome == "ask":
        return f"waits for your yes: {decision.because}"
    first = against[0].text if against else ""
    if decision.outcome == "wait" and decision.not_before is not None:
        return f"{first}; trains from {decision.not_before.astimezone():%d %b %H:%M} on"
    return first


def _duration(hours: float) -> str:
    if hours < 1.0 / 60.0:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 2.0 else f"{hours:.1f} h"
