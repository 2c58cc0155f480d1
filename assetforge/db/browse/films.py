"""The films of a folder with what needs a person in each; a film that cannot be read says why."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

from assetforge.db.browse.assets import AssetRow, asset_table
from assetforge.db.browse.reader import Reader
from assetforge.db.overview import FilmOverview, list_films
from assetforge.errors import AssetForgeError
from assetforge.paths import ProjectPaths, projects_dir

__all__ = ["FilmCard", "film_cards"]

_NEEDS = """
SELECT (SELECT count(*) FROM run r WHERE r.state IN ('failed', 'lost') AND r.finished_at >= ?
            AND NOT EXISTS (SELECT 1 FROM run n WHERE n.asset_id = r.asset_id AND n.id > r.id)),
       (SELECT count(*) FROM watched_file WHERE state = 'quarantined'),
       (SELECT count(*) FROM watch_root WHERE state != 'ok'),
       (SELECT count(*) FROM job WHERE state IN ('staging', 'running', 'collecting'))
"""
_RECENT = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmCard(FilmOverview):
    """A film on the first screen: :class:`~assetforge.db.overview.FilmOverview` and what needs a person.

    Attributes:
        picture: Hash of a picture that shows the film; empty without one.
        review: Versions that wait for a review.
        regressed: Newest versions that the verdict speaks against and nobody has decided about.
        failed: Runs that failed within a week with no other run of the asset after them.
        quarantined: Files of watched folders that wait for a decision.
        watch_problems: Watched folders that are gone or cannot be watched.
        running: Jobs that are under way.
    """

    picture: str = ""
    review: int = 0
    regressed: int = 0
    failed: int = 0
    quarantined: int = 0
    watch_problems: int = 0
    running: int = 0


def film_cards(folder: Path | None = None, *, now: datetime | None = None) -> list[FilmCard]:
    """Every film of a folder, the one in which something happened last first; never raises for what is wrong with a film.

    Args:
        folder: Where films lie; by default :func:`assetforge.paths.projects_dir`.
        now: The present.
    """
    moment = now or datetime.now(UTC)
    cards = [_card(film, moment) for film in list_films(folder or projects_dir())]
    return sorted(sorted(cards, key=lambda card: card.name), key=lambda card: card.last_activity, reverse=True)


def _card(film: FilmOverview, now: datetime) -> FilmCard:
    facts = {field.name: getattr(film, field.name) for field in fields(FilmOverview)}
    if film.problem:
        return FilmCard(**facts)
    since = (now - _RECENT).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    try:
        reader = Reader(ProjectPaths(film.root).database)
        try:
            assets = [row for row in asset_table(reader) if not row.archived]
            failed, quarantined, watch_problems, running = reader.rows(_NEEDS, (since,))[0]
        finally:
            reader.close()
    except AssetForgeError as error:
        return FilmCard(**{**facts, "problem": f"its database cannot be read: {error.message}"})
    return FilmCard(
        **facts,
        picture=_picture(assets),
        review=sum(row.verdict_due == "review" for row in assets),
        regressed=sum(row.verdict_due == "regressed" for row in assets),
        failed=failed,
        quarantined=quarantined,
        watch_problems=watch_problems,
        running=running,
    )


def _picture(assets: list[AssetRow]) -> str:
    """What was worked on last, an approved version before anything else."""
    shown = [row for row in assets if row.picture]
    best = max(shown, key=lambda row: (bool(row.approved), row.changed_at, row.name), default=None)
    return best.picture if best is not None else ""
