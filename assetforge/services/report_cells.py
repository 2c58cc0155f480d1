"""Cells of a comparison as a report shows them: grouped, worst first."""

from collections.abc import Mapping, Sequence
from typing import Any

from assetforge.domain.regression import badness, image_key
from assetforge.domain.suite import BLEED_PREFIX
from assetforge.services.report_images import ReportImages

__all__ = ["NOTHING", "block_views", "worst_list"]

NOTHING = 0.0005
"""Differences below this are not shown as differences."""

_WORST = 12


def worst_list(cells: Sequence[Mapping[str, Any]], primary: str, has_baseline: bool) -> list[dict[str, Any]]:
    """The cells to look at first: index, prompt, block, and the change that put them there."""
    ordered = sorted(cells, key=lambda cell: (-badness(cell, primary, has_baseline), cell["index"]))
    return [
        {
            "index": cell["index"],
            "prompt": cell["prompt"],
            "block": cell["block"],
            "seed": cell["seed"],
            "strength": cell["strength"],
            "change": _change(cell, primary, has_baseline),
            "bad": badness(cell, primary, has_baseline) > NOTHING and bool(primary),
        }
        for cell in ordered[:_WORST]
    ]


def _change(cell: Mapping[str, Any], primary: str, has_baseline: bool) -> float | None:
    if not primary:
        value = cell["pixels"].get("ssim", {}).get(f"new|{'baseline' if has_baseline else 'control'}")
        return None if value is None else float(value) - 1.0
    scores = cell["embeddings"][primary]
    if cell["block"].startswith(BLEED_PREFIX):
        return -badness(cell, primary, has_baseline)
    value = scores["delta"] if has_baseline else scores["delta_to_control"]
    return None if value is None else float(value)


def block_views(
    cells: Sequence[Mapping[str, Any]],
    primary: str,
    hashes: Mapping[str, str],
    images: ReportImages,
    has_baseline: bool,
) -> list[dict[str, Any]]:
    """Blocks in plan order; in each, single cells and strips of one prompt and seed over several strengths, worst first."""
    views = []
    for name in dict.fromkeys(cell["block"] for cell in cells):
        groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for cell in cells:
            if cell["block"] == name:
                view = _cell_view(cell, primary, hashes, images, has_baseline)
                groups.setdefault((cell["prompt"], cell["seed"]), []).append(view)
        ordered = sorted(
            groups.values(), key=lambda group: (-max(cell["badness"] for cell in group), group[0]["index"])
        )
        views.append(
            {
                "name": name,
                "count": sum(len(group) for group in groups.values()),
                "bleed": name.startswith(BLEED_PREFIX),
                "singles": [group[0] for group in ordered if len(group) == 1],
                "strips": [sorted(group, key=lambda cell: cell["strength"]) for group in ordered if len(group) > 1],
            }
        )
    return views


def _cell_view(
    cell: Mapping[str, Any], primary: str, hashes: Mapping[str, str], images: ReportImages, has_baseline: bool
) -> dict[str, Any]:
    scores = cell["embeddings"].get(primary, {}) if primary else {}
    similarity = scores.get("similarity", {})
    sides = ["new", *(["baseline"] if has_baseline else []), "control"]
    keys = {side: image_key(side, cell["control_index"] if side == "control" else cell["index"]) for side in sides}
    against = "baseline" if has_baseline else "control"
    return {
        "index": cell["index"],
        "prompt": cell["prompt"],
        "negative": cell["negative"],
        "seed": cell["seed"],
        "strength": cell["strength"],
        "badness": badness(cell, primary, has_baseline),
        "change": _change(cell, primary, has_baseline),
        "nearer": scores.get("nearer_than_control"),
        "strays": (scores.get("distance_to_control") or {}).get("new"),
        "unmeasured": bool(primary) and similarity.get("new") is None,
        "ssim": cell["pixels"].get("ssim", {}).get(f"new|{against}"),
        "colour": cell["pixels"].get("lab-difference", {}).get(f"new|{against}"),
        "identical": cell["identical"].get("new|baseline", False),
        "pictures": [
            {"side": side, "image": images.render(hashes[keys[side]]), "similarity": similarity.get(side)}
            for side in sides
        ],
    }
