"""The report as one HTML file: no network, no framework, every picture inside and only once."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2

from assetforge.services.report_images import ReportImages
from assetforge.services.report_verdict import NOTHING, number, signed
from assetforge.store.blobs import BlobStore

__all__ = ["MOST_BYTES", "render_html"]

MOST_BYTES = 15_000_000
"""Size of a report that still goes through a mail server."""

_SHARES = (1.0, 0.5, 0.2)
_WORST = 6
_MOST_REFERENCES = 60
_MOST_CHANGES = 24
_FIRST_PROMPTS = 16
_FIRST_CELLS = 12


def render_html(facts: Mapping[str, Any], blobs: BlobStore) -> str:
    """The whole page, with pictures as large as the size of the file allows.

    Args:
        facts: What :func:`assetforge.services.report_facts.report_facts` gave.
        blobs: Where the pictures are.

    Raises:
        StorageError: A picture is missing or damaged.
    """
    page = ""
    for share in _SHARES:
        page = _render(facts, blobs, share)
        if len(page.encode()) <= MOST_BYTES:
            break
    return page


def _render(facts: Mapping[str, Any], blobs: BlobStore, share: float) -> str:
    renders = {sha256 for cell in facts["cells"] for sha256 in cell["renders"].values()}
    settings = facts["settings"]
    size = (settings["width"], settings["height"])
    pictures = ReportImages(blobs, count=len(renders), size=size, share=share)
    by_index = {cell["index"]: cell for cell in facts["cells"]}
    sides = {"new": facts["new"]["name"], "control": "base"}
    if facts["baseline"]:
        sides["baseline"] = facts["baseline"]["name"]
    environment = _environment()
    script = environment.get_template("report.js").render()
    # Only this script may run, whatever a caption holds.
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        **facts,
        sides=sides,
        by_index=by_index,
        worst=[by_index[index] for index in facts["order"][:_WORST]],
        pictures=pictures,
        small=pictures.pixelated,
        ratio=round(size[0] / size[1], 4),
        most_references=_MOST_REFERENCES,
        most_changes=_MOST_CHANGES,
        first_prompts=_FIRST_PROMPTS,
        first_cells=_FIRST_CELLS,
        viewer=lambda: _viewer(facts, sides, pictures),
        script=script,
        script_hash=allowed,
    )


def _viewer(facts: Mapping[str, Any], sides: Mapping[str, str], pictures: ReportImages) -> dict[str, Any]:
    """What the script needs to know; asked for at the end of the page, when every picture has its name."""
    crops = {reference["sha256"]: reference for reference in facts["references"]}
    titles = {block["name"]: block["title"] for block in facts["blocks"]}
    cells = {}
    for cell in facts["cells"]:
        near = [crops[sha256] for sha256 in cell["nearest"] if sha256 in crops]
        named = [(pictures.name(one["sha256"], one["crop"]), one["name"]) for one in near]
        cells[cell["index"]] = {
            "prompt": cell["prompt"],
            "block": titles[cell["block"]],
            "about": f"seed {cell['seed']}" + (f" · strength {cell['strength']:g}" if cell["strength"] != 1 else ""),
            "change": _change(cell, facts),
            "tone": "bad" if cell["bad"] else "",
            "same": cell["identical"],
            "pictures": {side: pictures.name(sha256) for side, sha256 in cell["renders"].items()},
            "likeness": {side: number(value) for side, value in cell["similarity"].items()},
            "references": [[name, title] for name, title in named if name],
        }
    rest = [(pictures.name(one["sha256"], one["crop"]), one["name"]) for one in facts["references"][:3]]
    return {
        "comparison": facts["comparison"],
        "evidence": facts["about"]["evidence"][:12],
        "order": facts["order"],
        "sides": dict(sides),
        "cells": cells,
        "references": [[name, title] for name, title in rest if name],
    }


def _change(cell: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    if cell["unmeasured"]:
        return "nothing to measure"
    if cell["change"] is None:
        return ""
    if not facts["primary"]:
        return f"SSIM {1 + cell['change']:.2f}"
    if cell["bleed"]:
        return f"{signed(cell['strays'].get('new'))} from the base".replace("+", "")
    against = facts["baseline"]["name"] if facts["baseline"] else "the base"
    return f"{signed(cell['change'])} against {against}"


@cache
def _environment() -> jinja2.Environment:
    """Made once: it keeps the compiled templates, and compiling takes longer than most pages."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("assetforge.services", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = signed
    environment.filters["number"] = number
    environment.globals["nothing"] = NOTHING
    return environment
