"""What verdicts say, in a word and a sentence. Summaries are long, and final once a comparison succeeded, so each is read once."""

import json
from collections.abc import Iterable
from typing import NamedTuple

from assetforge.db.browse.reader import Reader, json_list

__all__ = ["NO_VERDICT", "QUICK_SUFFIX", "ShortVerdict", "deciding_comparisons", "verdicts_of"]

QUICK_SUFFIX = "-quick"
"""As :data:`assetforge.domain.suite.QUICK_SUFFIX`, which cannot be imported quickly; a test keeps the two in step."""

_DECIDING = f"""
SELECT wanted.value, (
    SELECT c.id FROM comparison c JOIN evaluation e ON e.id = c.evaluation_id JOIN suite s ON s.id = e.suite_id
    WHERE c.version_id = wanted.value AND c.state = 'succeeded'
    ORDER BY coalesce(c.baseline_id = (SELECT l.version_id FROM alias l WHERE l.asset_id = c.asset_id AND l.name = 'approved'), 0) DESC,
             s.name LIKE '%{QUICK_SUFFIX}', c.id DESC LIMIT 1)
FROM json_each(?) AS wanted
"""  # noqa: S608 - a constant of this module

# Python writes NaN, which SQLite does not read; such a summary has no verdict here rather than failing the whole list.
_SUMMARIES = """
SELECT id, CASE WHEN json_valid(summary) THEN json_extract(summary, '$.verdict.outcome', '$.verdict.headline', '$.sentence') END
FROM comparison WHERE id IN (SELECT value FROM json_each(?))
"""


class ShortVerdict(NamedTuple):
    """A verdict in a list.

    Attributes:
        outcome: ``pass``, ``regressed`` or ``inconclusive``; empty where there was no baseline to lose anything against.
        headline: What the verdict says in a sentence, or what the figures say without one.
    """

    outcome: str
    headline: str


NO_VERDICT = ShortVerdict("", "")


def deciding_comparisons(reader: Reader, version_ids: Iterable[int]) -> dict[int, int]:
    """The finished comparison that a decision over each version rests on, by the row id of the version; versions without one are not in it.

    As :func:`assetforge.services.reviews.deciding_comparison`: the newest with the approved version before others, a whole suite before a quick one.

    Raises:
        StorageError: The database cannot be read.
    """
    return {version: found for version, found in reader.rows(_DECIDING, (json_list(version_ids),)) if found is not None}


def verdicts_of(reader: Reader, comparison_ids: Iterable[int]) -> dict[int, ShortVerdict]:
    """What finished comparisons say, by row id.

    Raises:
        StorageError: The database cannot be read.
    """
    wanted = list(comparison_ids)
    known = reader.remembered
    unread = [one for one in wanted if ("verdict", one) not in known]
    if unread:
        for number, text in reader.rows(_SUMMARIES, (json_list(unread),)):
            outcome, headline, sentence = json.loads(text) if text else ("", "", "")
            known["verdict", number] = ShortVerdict(outcome or "", headline or sentence or "")
    return {one: known.get(("verdict", one), NO_VERDICT) for one in wanted}
