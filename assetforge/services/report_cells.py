"""Cells of a comparison as a report shows them: grouped, worst first, each with the references it is nearest to."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from assetforge.domain.regression import badness, image_key, unit_vectors
from assetforge.domain.suite import BLEED_PREFIX
from assetforge.services.report_plots import strength_curves
from assetforge.services.report_verdict import NOTHING

__all__ = ["block_views", "cell_views", "nearest_references", "worst_first"]

_NEAREST = 3
_REFERENCE = "ref/"


def nearest_references(scores: Mapping[str, Any], primary: str) -> dict[int, list[str]]:
    """For each cell the hashes of the held-out references that its new picture is most like, best first; empty without a metric."""
    vectors = unit_vectors(
        {key: value for key, value in scores.get("raw", {}).get(primary, {}).items() if value is not None}
    )
    hashes = [key.removeprefix(_REFERENCE) for key in vectors if key.startswith(_REFERENCE)]
    if not hashes:
        return {}
    table = np.stack([vectors[f"{_REFERENCE}{sha256}"] for sha256 in hashes])
    found = {}
    for cell in scores["cells"]:
        vector = vectors.get(image_key("new", cell["index"]))
        if vector is not None:
            best = np.argsort(-(table @ vector), kind="stable")[:_NEAREST]
            found[int(cell["index"])] = [hashes[place] for place in best]
    return found


def cell_views(
    cells: Sequence[Mapping[str, Any]],
    primary: str,
    hashes: Mapping[str, str],
    nearest: Mapping[int, Sequence[str]],
    has_baseline: bool,
) -> list[dict[str, Any]]:
    """All cells in plan order, of every round.

    Args:
        cells: As the file of scores has them.
        primary: The metric that speaks for likeness, or empty.
        hashes: Hash of every render by its key.
        nearest: What :func:`nearest_references` found.
        has_baseline: There is a baseline besides the bare base.
    """
    return [_cell_view(cell, primary, hashes, nearest, has_baseline) for cell in cells]


def _cell_view(
    cell: Mapping[str, Any],
    primary: str,
    hashes: Mapping[str, str],
    nearest: Mapping[int, Sequence[str]],
    has_baseline: bool,
) -> dict[str, Any]:
    scores = cell["embeddings"].get(primary, {}) if primary else {}
    similarity = scores.get("similarity", {})
    sides = ["new", *(["baseline"] if has_baseline else []), "control"]
    keys = {side: image_key(side, cell["control_index"] if side == "control" else cell["index"]) for side in sides}
    against = "baseline" if has_baseline else "control"
    bad = badness(cell, primary, has_baseline)
    return {
        "index": cell["index"],
        "block": cell["block"],
        "prompt": cell["prompt"],
        "negative": cell["negative"],
        "seed": cell["seed"],
        "strength": cell["strength"],
        "bleed": cell["block"].startswith(BLEED_PREFIX),
        "badness": bad,
        "bad": bad > NOTHING and bool(primary),
        "change": _change(cell, primary, has_baseline),
        "similarity": {side: similarity.get(side) for side in sides},
        "nearer": scores.get("nearer_than_control"),
        "strays": (scores.get("distance_to_control") or {}),
        "unmeasured": bool(primary) and similarity.get("new") is None,
        "ssim": cell["pixels"].get("ssim", {}).get(f"new|{against}"),
        "identical": cell["identical"].get("new|baseline", False),
        "renders": {side: hashes[keys[side]] for side in sides},
        "nearest": list(nearest.get(cell["index"], ())),
    }


def _change(cell: Mapping[str, Any], primary: str, has_baseline: bool) -> float | None:
    if not primary:
        value = cell["pixels"].get("ssim", {}).get(f"new|{'baseline' if has_baseline else 'control'}")
        return None if value is None else float(value) - 1.0
    scores = cell["embeddings"][primary]
    if cell["block"].startswith(BLEED_PREFIX):
        return -badness(cell, primary, has_baseline)
    value = scores["delta"] if has_baseline else scores["delta_to_control"]
    return None if value is None else float(value)


def worst_first(cells: Sequence[Mapping[str, Any]]) -> list[int]:
    """Indexes of the cells in the order a person should look at them; what is the bare base by definition comes last."""
    ordered = sorted(cells, key=lambda cell: (cell["strength"] == 0, -cell["badness"], cell["index"]))
    return [cell["index"] for cell in ordered]


def block_views(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Blocks in plan order; in each, single cells and strips of one prompt and seed over several strengths, worst first."""
    views = []
    for name in dict.fromkeys(cell["block"] for cell in cells):
        groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
        for cell in cells:
            if cell["block"] == name:
                groups.setdefault((cell["prompt"], cell["seed"]), []).append(cell)
        ordered = sorted(
            groups.values(), key=lambda group: (-max(cell["badness"] for cell in group), group[0]["index"])
        )
        strips = [sorted(group, key=lambda cell: cell["strength"]) for group in ordered if len(group) > 1]
        views.append(
            {
                "name": name,
                "count": sum(len(group) for group in groups.values()),
                "bleed": name.startswith(BLEED_PREFIX),
                "singles": [group[0] for group in ordered if len(group) == 1],
                "strips": [{"cells": strip, "curves": strength_curves(strip)} for strip in strips],
            }
        )
    return views
