"""The contact sheet of a comparison: one HTML file that opens from disk, for people who look at pictures and say yes or no."""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from sqlmodel import Session

from assetforge import __version__
from assetforge.db.models import Asset, BaseModelRecord, Version
from assetforge.db.models_jobs import Comparison, Engine, Evaluation
from assetforge.domain.canonical import digest
from assetforge.domain.suite import BLEED_PREFIX, CORE_PREFIX
from assetforge.durable import storage_error, write_atomic
from assetforge.errors import TryAgainError
from assetforge.services.comparison_records import comparison_row, read_scores, render_hashes
from assetforge.services.projects import Project
from assetforge.services.report_cells import NOTHING, block_views, worst_list
from assetforge.services.report_images import ReportImages
from assetforge.services.report_lineage import lineage_view, version_facts

__all__ = ["write_report"]

MOST_BYTES = 15_000_000
"""Size of a report that still goes through a mail server."""

_BLOCK_TITLES = {
    "core": ("Core", "Does it look right where training pictures were like this?"),
    "core-out": ("Core, elsewhere", "Does it still look right in new places, light and poses?"),
    "strength": ("Strength", "Where does it take hold, and where does it overcook?"),
    "bleed": ("Without the trigger", "Everything should look like the base here."),
    "pairs": ("Together", "Does it keep to itself beside another asset?"),
    "own": ("The film's own shots", "What will be on screen."),
}


def write_report(project: Project, comparison_id: int, destination: Path | None = None) -> Path:
    """Write the contact sheet of a finished comparison.

    Args:
        project: The film.
        comparison_id: Which comparison.
        destination: The file; by default in the film's ``reports/``. An older report there is replaced in one step.

    Returns:
        The file.

    Raises:
        NotFoundError: There is no such comparison.
        TryAgainError: It is not finished.
        StorageError: A picture is missing or the file cannot be written.
    """
    with project.read() as session:
        row = comparison_row(session, comparison_id)
        if row.state != "succeeded":
            raise TryAgainError(
                f"Comparison {comparison_id} is {row.state}, so there is nothing to show yet.",
                hint="`assetforge compare --wait` finishes it.",
            )
    scores = read_scores(project, comparison_id)
    for share in (1.0, 0.5, 0.2):
        with project.read() as session:
            row = comparison_row(session, comparison_id)
            context = _context(project, session, row, scores, share)
        html = _render(context).encode()
        if len(html) <= MOST_BYTES:
            break
    path = destination or project.paths.reports / _file_name(context)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path, "written") from error
    write_atomic(path, html)
    _remember(project, comparison_id, path)
    return path


def _context(
    project: Project, session: Session, row: Comparison, scores: Mapping[str, Any], share: float
) -> dict[str, Any]:
    summary = row.summary
    asset = session.get_one(Asset, row.asset_id)
    version = session.get_one(Version, row.version_id)
    baseline = session.get(Version, row.baseline_id) if row.baseline_id is not None else None
    evaluation = session.get_one(Evaluation, row.evaluation_id)
    hashes = render_hashes(session, row)
    settings = evaluation.plan["settings"]
    images = ReportImages(
        project.blobs, count=len(set(hashes.values())), size=(settings["width"], settings["height"]), share=share
    )
    primary = summary["primary"] if summary["references"]["used"] else ""
    lineage = lineage_view(session, asset, version, baseline, images)
    return {
        "project": project.config.title or project.name,
        "asset": asset,
        "new": version_facts(asset, version),
        "baseline": version_facts(asset, baseline) if baseline is not None else None,
        "summary": summary,
        "figures": _figures(summary, primary),
        "axis": _axis(summary, primary),
        "bars": _block_bars(summary, primary),
        "worst": worst_list(scores["cells"], primary, baseline is not None),
        "blocks": [
            {**view, "title": _title(view["name"])[0], "about": _title(view["name"])[1]}
            for view in block_views(scores["cells"], primary, hashes, images, baseline is not None)
        ],
        "references": [
            {"image": images.reference(sha256, crop), "name": f"{asset.name}/ref/{sha256[:6]}"}
            for sha256, crop in summary["plan"]["references"]["items"][:60]
        ],
        "lineage": lineage,
        "engines": _engine_records(session, row),
        "settings": settings,
        "small": images.pixelated,
        "about": {
            "version": __version__,
            "comparison": row.id,
            "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "evidence": digest(summary),
            "base": _base_name(session, evaluation),
        },
    }


def _title(block: str) -> tuple[str, str]:
    if block in _BLOCK_TITLES:
        return _BLOCK_TITLES[block]
    kind = next((prefix for prefix in (BLEED_PREFIX, CORE_PREFIX) if block.startswith(prefix)), "")
    return block.replace("-", " ").capitalize(), _BLOCK_TITLES[kind][1] if kind else ""


def _figures(summary: Mapping[str, Any], primary: str) -> list[dict[str, str]]:
    """The numbers at the top: value, what it is, and what the baseline had."""
    if not primary:
        return []
    values = summary["verdict_inputs"][primary]
    core = values["core"] if values["core"]["cells"] else values["overall"]
    nearer, bleed = core["nearer_than_control"], values["bleed"]["distance_to_control"]
    before = nearer.get("baseline")
    found = [
        {
            "value": f"{nearer['new']['yes']}",
            "unit": f"of {nearer['new']['of']}",
            "name": "nearer to the references than the base",
            "before": f"{before['yes']} of {before['of']}" if before else "",
        }
    ]
    if core["delta"] is not None:
        better = core["better_than_baseline"]
        found.append(
            {
                "value": _signed(core["delta"]),
                "unit": "similarity",
                "name": f"against the baseline, better in {better['yes']} of {better['of']}",
                "before": "",
                "tone": "good" if core["delta"] > NOTHING else "bad" if core["delta"] < -NOTHING else "",
            }
        )
    if bleed.get("new") is not None:
        found.append(
            {
                "value": f"{bleed['new']:.3f}",
                "unit": "distance",
                "name": "from the base, without the trigger",
                "before": f"{bleed['baseline']:.3f}" if bleed.get("baseline") is not None else "",
            }
        )
    return found


def _axis(summary: Mapping[str, Any], primary: str) -> list[dict[str, Any]]:
    """Marks on the line from the bare base to the references themselves, placed 0 to 100."""
    if not primary:
        return []
    values = summary["verdict_inputs"][primary]
    core = values["core"] if values["core"]["cells"] else values["overall"]
    marks = [(side, core["similarity"].get(side)) for side in ("control", "baseline", "new")]
    marks.append(("ceiling", values["ceiling"]["similarity"]))
    known = [(name, value) for name, value in marks if value is not None]
    if not known:
        return []
    low, high = min(value for _, value in known), max(value for _, value in known)
    span = (high - low) or 1.0
    return [{"name": name, "value": value, "at": round(4 + 92 * (value - low) / span, 2)} for name, value in known]


def _block_bars(summary: Mapping[str, Any], primary: str) -> list[dict[str, Any]]:
    if not primary:
        return []
    blocks = summary["verdict_inputs"][primary]["blocks"]
    return [{"name": name, "title": _title(name)[0], **figures} for name, figures in blocks.items()]


def _engine_records(session: Session, row: Comparison) -> list[dict[str, Any]]:
    """Engine records, each with the sides it rendered."""
    sides = (
        ("new", row.evaluation_id),
        ("baseline", row.baseline_evaluation_id),
        ("base control", row.control_evaluation_id),
    )
    found: dict[int, dict[str, Any]] = {}
    for side, evaluation_id in sides:
        evaluation = session.get(Evaluation, evaluation_id) if evaluation_id is not None else None
        if evaluation is None or evaluation.engine_id is None:
            continue
        engine = session.get_one(Engine, evaluation.engine_id)
        entry = found.setdefault(
            evaluation.engine_id, {"digest": engine.digest, "sides": [], "facts": _flat(engine.record)}
        )
        entry["sides"].append(side)
    common = set.intersection(*(set(entry["facts"]) for entry in found.values())) if found else set()
    return [
        {**entry, "facts": [(name, value, (name, value) not in common) for name, value in entry["facts"]]}
        for entry in found.values()
    ]


def _flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            facts += _flat(value, f"{name}.")
        else:
            facts.append((name, str(value)))
    return facts


def _base_name(session: Session, evaluation: Evaluation) -> str:
    return session.get_one(BaseModelRecord, evaluation.base_model_id).name


def _render(context: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("assetforge.services", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = _signed
    script = environment.get_template("report.js").render()
    # Only this script may run, whatever a caption holds.
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(**context, script=script, script_hash=allowed)


def _signed(value: float | None) -> str:
    """A difference with its sign and a real minus; what rounds to nothing is written as such."""
    if value is None:
        return ""
    return "±0" if abs(value) < NOTHING else f"{value:+.3f}".replace("-", "−")


def _file_name(context: Mapping[str, Any]) -> str:
    name = str(context["new"]["address"]).replace("/", "-")
    against = f"-against-{context['baseline']['name']}" if context["baseline"] else ""
    return f"{name}{against}-{context['summary']['suite']['name']}.html"


def _remember(project: Project, comparison_id: int, path: Path) -> None:
    """Keep where the newest report is, as long as it lies within the film and so moves with it."""
    resolved = path.resolve()
    if not resolved.is_relative_to(project.root.resolve()):
        return
    with project.write() as session:
        row = comparison_row(session, comparison_id)
        row.report = resolved.relative_to(project.root.resolve()).as_posix()
        session.add(row)
