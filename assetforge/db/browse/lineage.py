"""What the versions of an asset stand on, all of them at once; the figure that decided about each; and pictures of one that nobody compared."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from assetforge.db.browse.reader import Reader, json_list

__all__ = [
    "DecidingFigure",
    "RenderedPicture",
    "VersionSource",
    "deciding_figures",
    "newest_renders",
    "version_sources",
]

_SOURCES = """
SELECT v.id, v.number, p.number, d.number, v.stage, n.id IS NOT NULL, v.run_id, r.recipe, b.name, v.step,
       CASE WHEN json_valid(r.params) THEN json_extract(r.params, '$.rank', '$.alpha', '$.steps', '$.learning_rate') END
FROM version v LEFT JOIN version p ON p.id = v.parent_id LEFT JOIN run r ON r.id = v.run_id
LEFT JOIN dataset_version d ON d.id = r.dataset_id LEFT JOIN base_model b ON b.id = r.base_model_id
LEFT JOIN alias n ON n.version_id = v.id AND n.name = 'approved'
WHERE v.asset_id = ? ORDER BY v.number DESC
"""

# Python writes NaN, which SQLite does not read; such a summary has no figure here rather than failing the whole list.
_FIGURES = """
SELECT id, CASE WHEN json_valid(summary) THEN json_extract(summary, '$.verdict.metrics[0].title', '$.verdict.metrics[0].effect',
       '$.verdict.metrics[0].interval.low', '$.verdict.metrics[0].interval.high', '$.verdict.metrics[0].prompts') END
FROM comparison WHERE id IN (SELECT value FROM json_each(?))
"""

# Of the seeds of a prompt the first; what is worn fully says most about a version. With min() SQLite takes the other columns from the same row.
_RENDERS = """
SELECT sha256, prompt, seed, strength, min(cell_index) AS place FROM render
WHERE evaluation_id = (SELECT id FROM evaluation WHERE version_id = ? AND state = 'succeeded' ORDER BY id DESC LIMIT 1)
GROUP BY prompt, strength ORDER BY strength < 1, place LIMIT ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSource:
    """What a version stands on.

    Attributes:
        id: Row id.
        number: Number within the asset, from 1.
        parent: Number of the version before it; ``None`` when there is none.
        dataset: Number of the dataset version that it learned from; ``None`` when it was imported.
        stage: candidate, approved, rejected or retired.
        approved: It is the approved version of the asset.
        run: Number of the run that made it; ``None`` when it was imported.
        recipe: Name of the recipe; empty when unknown.
        base: Name of the base model; empty when unknown.
        steps: Steps it was trained for; ``None`` when unknown.
        rank: Rank of the network; ``None`` when unknown.
        alpha: Its alpha; ``None`` when unknown.
        learning_rate: Learning rate; ``None`` when unknown.
    """

    id: int
    number: int
    parent: int | None
    dataset: int | None
    stage: str = "candidate"
    approved: bool = False
    run: int | None = None
    recipe: str = ""
    base: str = ""
    steps: int | None = None
    rank: float | None = None
    alpha: float | None = None
    learning_rate: float | None = None


class DecidingFigure(NamedTuple):
    """The metric that a verdict rests on.

    Attributes:
        title: Its title.
        effect: What the version gained; negative is a loss.
        low: Lower end of its interval; ``None`` when unknown.
        high: Upper end.
        prompts: Over how many prompts.
    """

    title: str
    effect: float
    low: float | None
    high: float | None
    prompts: int


class RenderedPicture(NamedTuple):
    """A picture that a version made.

    Attributes:
        sha256: The picture.
        prompt: What it was asked for.
        seed: With which seed.
        strength: How strongly the LoRA was worn.
    """

    sha256: str
    prompt: str
    seed: int
    strength: float


def version_sources(reader: Reader, asset_id: int) -> list[VersionSource]:
    """Every version of an asset, newest first.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    found = []
    for row in reader.rows(_SOURCES, (asset_id,)):
        number, count, parent, dataset, stage, approved, run, recipe, base, step, text = row
        rank, alpha, steps, learning_rate = map(_number, json.loads(text) if text else (None,) * 4)
        found.append(
            VersionSource(
                id=number,
                number=count,
                parent=parent,
                dataset=dataset,
                stage=stage,
                approved=bool(approved),
                run=run,
                recipe=recipe or "",
                base=base or "",
                steps=step or (int(steps) if steps is not None else None),
                rank=rank,
                alpha=alpha,
                learning_rate=learning_rate,
            )
        )
    return found


def deciding_figures(reader: Reader, comparison_ids: Iterable[int]) -> dict[int, DecidingFigure]:
    """The metric that each finished comparison was decided by; those without a verdict are not in it.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    wanted, known = list(comparison_ids), reader.remembered
    unread = [one for one in wanted if ("figure", one) not in known]
    if unread:
        for number, text in reader.rows(_FIGURES, (json_list(unread),)):
            title, gained, low, high, prompts = json.loads(text) if text else (None,) * 5
            effect = _number(gained)
            known["figure", number] = (
                DecidingFigure(str(title or ""), effect, _number(low), _number(high), int(prompts or 0))
                if effect is not None
                else None
            )
    figures = {one: known.get(("figure", one)) for one in wanted}
    return {one: figure for one, figure in figures.items() if figure is not None}


def newest_renders(reader: Reader, version_id: int, count: int) -> list[RenderedPicture]:
    """Pictures of the newest finished evaluation of a version, one of each prompt and strength, those at full strength first.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    return [RenderedPicture(*row[:4]) for row in reader.rows(_RENDERS, (version_id, count))]


def _number(value: Any) -> float | None:
    """Trainers choose their own parameters; only numbers are taken for numbers."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
