"""From scores to figures: what renders of a new version, a baseline and the bare base say, cell by cell and in sum.

Nothing is decided here. The figures are what a verdict is computed from: similarity to references that no training saw, paired by cell, with the bare base as the
floor and reference against reference as the ceiling. An embedding of length zero or with a value that is not finite says "nothing to measure here" (such as no
face in the picture); it is counted and left out, never averaged in as zero.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from assetforge.api.job import Cell
from assetforge.domain.readouts import Yardstick
from assetforge.domain.suite import BLEED_PREFIX, CORE_PREFIX

__all__ = [
    "PAIRS",
    "SIDES",
    "CellScores",
    "badness",
    "ceiling",
    "cell_scores",
    "find_flags",
    "image_key",
    "is_broken",
    "pixel_means",
    "similarity_figures",
    "unit_vectors",
]

SIDES = ("new", "baseline", "control")
"""The three pictures of a cell: the version under test, what it is compared with, the bare base."""

PAIRS = (("new", "baseline"), ("new", "control"), ("baseline", "control"))
"""Which pictures of a cell are compared pixel by pixel."""

Vector: TypeAlias = NDArray[np.float64]
Scores: TypeAlias = Mapping[str, Mapping[str, float | Sequence[float]]]

_BLACK, _FLAT, _CLIPPED, _SOFT = 0.98, 1.0, 0.25, 0.25


@dataclass(frozen=True, slots=True)
class CellScores:
    """Everything known about one cell.

    Attributes:
        cell: What was planned.
        control_index: Index of its base control.
        similarity: Per embedding metric and side: nearness to the held-out references as the metric is read (:mod:`assetforge.domain.readouts`), by default the mean cosine, -1 to 1;
            ``None`` when there was nothing to measure.
        nearest: The cosine to the nearest reference.
        to_control: Per embedding metric and side: cosine distance to the base control, 0 to 2.
        pixels: Per pair metric and pair (``new|baseline`` ...): value.
        singles: Per metric that looks at one picture (and its prompt) and side: value.
        identical: Per pair: the two files are equal byte for byte.
    """

    cell: Cell
    control_index: int
    similarity: dict[str, dict[str, float | None]] = field(default_factory=dict)
    nearest: dict[str, dict[str, float | None]] = field(default_factory=dict)
    to_control: dict[str, dict[str, float | None]] = field(default_factory=dict)
    pixels: dict[str, dict[str, float]] = field(default_factory=dict)
    singles: dict[str, dict[str, float]] = field(default_factory=dict)
    identical: dict[str, bool] = field(default_factory=dict)

    @property
    def bleed(self) -> bool:
        """The cell wears the LoRA without its trigger."""
        return self.cell.block.startswith(BLEED_PREFIX)

    def delta(self, metric: str, against: str = "baseline") -> float | None:
        """Similarity of the new picture minus that of another side; ``None`` when either is missing."""
        sides = self.similarity.get(metric, {})
        return _minus(sides.get("new"), sides.get(against))

    def nearer_than_control(self, metric: str, side: str = "new") -> bool | None:
        """Whether a picture is nearer to the held-out references than the base control; ``None`` when either is missing."""
        sides = self.similarity.get(metric, {})
        gain = _minus(sides.get(side), sides.get("control"))
        return None if gain is None else gain > 0

    def as_json(self) -> dict[str, Any]:
        """For the file of scores."""
        return {
            **self.cell.model_dump(mode="json"),
            "control_index": self.control_index,
            "embeddings": {
                metric: {
                    "similarity": self.similarity[metric],
                    "nearest": self.nearest[metric],
                    "distance_to_control": self.to_control[metric],
                    "delta": self.delta(metric),
                    "delta_to_control": self.delta(metric, "control"),
                    "nearer_than_control": self.nearer_than_control(metric),
                }
                for metric in self.similarity
            },
            "pixels": self.pixels,
            "singles": self.singles,
            "identical": self.identical,
        }


def image_key(side: str, index: int) -> str:
    """Name of a picture in a score job, such as ``new/0007``."""
    return f"{side}/{index:04d}"


def cell_scores(
    cells: Sequence[Cell],
    controls: Mapping[int, int],
    sides: Sequence[str],
    scores: Scores,
    *,
    kinds: Mapping[str, str],
    references: Sequence[str],
    hashes: Mapping[str, str],
    others: Sequence[str] = (),
    readouts: Mapping[str, str] | None = None,
) -> list[CellScores]:
    """Scores of every cell, in plan order.

    Args:
        cells: The plan.
        controls: For each cell's index that of its base control.
        sides: Which of :data:`SIDES` exist; ``new`` and ``control`` always do.
        scores: Per metric, per picture key or ``"a|b"`` pair key, a value or a vector.
        kinds: Kind of each metric.
        references: Keys of the held-out references.
        hashes: Hash of the file of each picture key.
        others: Keys of references of other assets.
        readouts: Readout of each embedding metric; ``mean`` for those that are not named.
    """
    embeddings = {name: unit_vectors(scores.get(name, {})) for name, kind in kinds.items() if kind == "embedding"}
    yardsticks = {
        name: Yardstick.of_keys(vectors, references, others, (readouts or {}).get(name, "mean"))
        for name, vectors in embeddings.items()
    }
    out: list[CellScores] = []
    for cell in cells:
        control = controls[cell.index]
        keys = {side: image_key(side, control if side == "control" else cell.index) for side in sides}
        row = CellScores(cell=cell, control_index=control)
        for name, vectors in embeddings.items():
            yardstick = yardsticks[name]
            row.similarity[name] = {side: yardstick.likeness(vectors.get(key)) for side, key in keys.items()}
            row.nearest[name] = {side: yardstick.nearest(vectors.get(key)) for side, key in keys.items()}
            row.to_control[name] = {
                side: _distance(vectors.get(keys[side]), vectors.get(keys["control"]))
                for side in sides
                if side != "control"
            }
        pairs = {f"{a}|{b}": f"{keys[a]}|{keys[b]}" for a, b in PAIRS if a in keys and b in keys}
        for name, kind in kinds.items():
            given = scores.get(name, {})
            if kind == "pair":
                row.pixels[name] = _numbers(given, pairs)
            elif kind in ("single", "prompt"):
                row.singles[name] = _numbers(given, keys)
        row.identical.update(
            {pair: hashes[keys[a]] == hashes[keys[b]] for a, b in PAIRS if (pair := f"{a}|{b}") in pairs}
        )
        out.append(row)
    return out


def unit_vectors(given: Mapping[str, float | Sequence[float]]) -> dict[str, Vector]:
    """Embeddings at length 1; those that say "nothing to measure here" are left out."""
    vectors: dict[str, Vector] = {}
    for key, value in given.items():
        vector = np.atleast_1d(np.asarray(value, dtype=np.float64))
        length = float(np.linalg.norm(vector))
        if np.isfinite(length) and length > 0:
            vectors[key] = vector / length
    return vectors


def _distance(first: Vector | None, second: Vector | None) -> float | None:
    # Rounding can leave the cosine of equal vectors a hair above one.
    return None if first is None or second is None else max(0.0, 1.0 - float(first @ second))


def _numbers(given: Mapping[str, float | Sequence[float]], keys: Mapping[str, str]) -> dict[str, float]:
    values = {name: given.get(key) for name, key in keys.items()}
    return {
        name: float(value) for name, value in values.items() if isinstance(value, int | float) and np.isfinite(value)
    }


def similarity_figures(rows: Sequence[CellScores], metric: str) -> dict[str, Any]:
    """Figures of one embedding metric: per block, over the core blocks, over all blocks with the trigger, of the bleed blocks, and per prompt.

    Cells at strength 0 are the bare base by definition; they stand in ``prompts`` only.
    ``prompts`` is what a paired test over prompts needs: one entry per (block, prompt, strength), averaged over its seeds.
    """
    blocks = list(dict.fromkeys(row.cell.block for row in rows))
    worn = [row for row in rows if row.cell.strength != 0]
    triggered = [row for row in worn if not row.bleed]
    bleeding = [row for row in worn if row.bleed]
    return {
        "overall": _aggregate(triggered, metric),
        "core": _aggregate([row for row in worn if row.cell.block.startswith(CORE_PREFIX)], metric),
        "blocks": {block: _aggregate([row for row in worn if row.cell.block == block], metric) for block in blocks},
        "bleed": {"cells": len(bleeding), "distance_to_control": _distances(bleeding, metric)},
        "prompts": _by_prompt(rows, metric),
    }


def _aggregate(rows: Sequence[CellScores], metric: str) -> dict[str, Any]:
    sides = [side for side in SIDES if rows and side in rows[0].similarity.get(metric, {})]
    nearer = {side: [row.nearer_than_control(metric, side) for row in rows] for side in sides if side != "control"}
    return {
        "cells": len(rows),
        "unmeasured": sum(row.similarity.get(metric, {}).get("new") is None for row in rows),
        "similarity": {side: _mean(row.similarity[metric][side] for row in rows) for side in sides},
        "nearest": {side: _mean(row.nearest[metric][side] for row in rows) for side in sides},
        "delta": _mean(row.delta(metric) for row in rows),
        "delta_to_control": _mean(row.delta(metric, "control") for row in rows),
        "better_than_baseline": _count(_above(row.delta(metric)) for row in rows),
        "nearer_than_control": {side: _count(values) for side, values in nearer.items()},
    }


def _distances(rows: Sequence[CellScores], metric: str) -> dict[str, float | None]:
    sides = list(rows[0].to_control.get(metric, {})) if rows else []
    return {side: _mean(row.to_control[metric][side] for row in rows) for side in sides}


def _by_prompt(rows: Sequence[CellScores], metric: str) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, float], list[CellScores]] = {}
    for row in rows:
        groups.setdefault((row.cell.block, row.cell.prompt, row.cell.strength), []).append(row)
    return [
        {
            "block": block,
            "prompt": prompt,
            "strength": strength,
            "seeds": len(members),
            "similarity": {
                side: _mean(row.similarity[metric][side] for row in members)
                for side in members[0].similarity.get(metric, {})
            },
            "delta": _mean(row.delta(metric) for row in members),
            "delta_to_control": _mean(row.delta(metric, "control") for row in members),
        }
        for (block, prompt, strength), members in groups.items()
    ]


def ceiling(
    scores: Scores, metric: str, references: Sequence[str], *, others: Sequence[str] = (), readout: str = "mean"
) -> dict[str, Any]:
    """How alike the held-out references are among themselves, read as pictures are: what a perfect version could reach."""
    yardstick = Yardstick.of_keys(unit_vectors(scores.get(metric, {})), references, others, readout)
    known = yardstick.references
    if len(known) < 2:
        return {"references": len(known), "similarity": None}
    if yardstick.applied == "mean":
        # Two tables, as ever: a table with itself is summed in another order, and summaries would differ in their last digits.
        matrix = np.stack(known) @ np.stack(known).T
        each = (matrix.sum(axis=1) - 1.0) / (len(known) - 1)
    else:
        each = np.asarray(yardstick.among())
    return {
        "references": len(known),
        "similarity": float(each.mean()),
        "per_reference": [float(value) for value in each],
    }


def pixel_means(rows: Sequence[CellScores]) -> dict[str, Any]:
    """Means of pair and single metrics over all cells."""
    pairs = {name: _means([row.pixels.get(name, {}) for row in rows]) for name in _names(row.pixels for row in rows)}
    singles = {
        name: _means([row.singles.get(name, {}) for row in rows]) for name in _names(row.singles for row in rows)
    }
    return {"pairs": pairs, "singles": singles}


def find_flags(rows: Sequence[CellScores]) -> list[dict[str, Any]]:
    """What a person should look at, whatever the figures say: broken pictures, and strength 0 that differs from the bare base."""
    checks: tuple[tuple[str, str, Callable[[CellScores], bool]], ...] = (
        (
            "black",
            "is black, as pictures are when the decoder met a value that is not a number",
            lambda row: _new(row, "black-share") > _BLACK,
        ),
        (
            "flat",
            "has hardly any contrast",
            lambda row: 0 <= _new(row, "contrast", 50.0) < _FLAT <= _side(row, "contrast", "control", 50.0),
        ),
        (
            "clipped",
            "is clipped much more than the bare base",
            lambda row: _new(row, "clipped-share") > _side(row, "clipped-share", "control", 1.0) + _CLIPPED,
        ),
        (
            "soft",
            "is much softer than the bare base",
            lambda row: 0 <= _new(row, "sharpness", 1.0) < _SOFT * _side(row, "sharpness", "control", 0.0),
        ),
        (
            "strength-zero",
            "is not the bare base although the strength is 0",
            lambda row: row.cell.strength == 0 and not row.identical.get("new|control", True),
        ),
    )
    flags = []
    for code, says, applies in checks:
        found = [row.cell.index for row in rows if applies(row)]
        if found:
            flags.append(
                {"code": code, "cells": found, "message": f"{len(found)} of {len(rows)} pictures: the new one {says}."}
            )
    return flags


def badness(cell: Mapping[str, Any], metric: str, has_baseline: bool) -> float:
    """How much a person should look at a cell; higher is worse.

    With an embedding metric: similarity lost against the baseline (without one, against the bare base); cells without the trigger count by how far they strayed
    from the bare base. Without one: how much the picture changed, by structural similarity.

    Args:
        cell: As :meth:`CellScores.as_json` wrote it.
        metric: The embedding metric, or empty.
        has_baseline: There is a baseline besides the bare base.
    """
    against = "baseline" if has_baseline else "control"
    if not metric:
        similarity = cell["pixels"].get("ssim", {}).get(f"new|{against}")
        return 0.0 if similarity is None else 1.0 - float(similarity)
    scores = cell["embeddings"][metric]
    if cell["block"].startswith(BLEED_PREFIX):
        strayed = scores["distance_to_control"]
        return float((strayed.get("new") or 0.0) - ((strayed.get("baseline") or 0.0) if has_baseline else 0.0))
    delta = scores["delta"] if has_baseline else scores["delta_to_control"]
    # A picture in which there was nothing to measure comes first: the asset may be missing altogether.
    return 2.0 if delta is None else -float(delta)


def is_broken(row: CellScores, side: str) -> bool:
    """A black picture, as decoders make of a value that is not a number, or one with hardly any contrast."""
    return _side(row, "black-share", side, 0.0) > _BLACK or 0 <= _side(row, "contrast", side, 50.0) < _FLAT


def _new(row: CellScores, metric: str, default: float = 0.0) -> float:
    return _side(row, metric, "new", default)


def _side(row: CellScores, metric: str, side: str, default: float) -> float:
    return row.singles.get(metric, {}).get(side, default)


def _names(given: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for values in given for name in values))


def _means(given: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    return {key: _mean(values.get(key) for values in given) for key in _names(given)}


def _minus(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _above(value: float | None) -> bool | None:
    return None if value is None else value > 0


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _count(values: Iterable[bool | None]) -> dict[str, int]:
    known = [value for value in values if value is not None]
    return {"yes": sum(known), "of": len(known)}
