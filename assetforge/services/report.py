"""The report of a comparison, for people who look at pictures and say yes or no: one HTML file that opens from disk; Markdown and JSON for pull requests and scripts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assetforge.db.models_jobs import Comparison
from assetforge.durable import storage_error, write_atomic
from assetforge.errors import TryAgainError, UsageError
from assetforge.services.comparison_records import comparison_row, read_scores
from assetforge.services.projects import Project
from assetforge.services.report_facts import report_facts
from assetforge.services.report_html import render_html
from assetforge.services.report_text import render_json, render_markdown

__all__ = ["render_markdown", "write_report"]

_HTML = ".html"
_SUFFIXES = (_HTML, ".md", ".json")


def write_report(project: Project, comparison_id: int, destination: Path | None = None) -> Path:
    """Write the report of a finished comparison.

    Args:
        project: The film.
        comparison_id: Which comparison.
        destination: The file: ``.html``, ``.md`` or ``.json``; by default an HTML file in the film's ``reports/``. An older report there is replaced in one step.

    Returns:
        The file.

    Raises:
        NotFoundError: There is no such comparison.
        TryAgainError: It is not finished.
        StorageError: A picture is missing or the file cannot be written.
        UsageError: The name of the file says of no known kind.
    """
    suffix = destination.suffix.lower() if destination is not None else _HTML
    if suffix not in _SUFFIXES:
        raise UsageError(
            f"A report is {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}, and {destination} is none of them.",
            hint="Name the file such as sheet.html.",
        )
    with project.read() as session:
        row = comparison_row(session, comparison_id)
        if row.state != "succeeded":
            raise TryAgainError(
                f"Comparison {comparison_id} is {row.state}, so there is nothing to show yet.",
                hint="`assetforge compare --wait` finishes it.",
            )
    scores = read_scores(project, comparison_id)
    with project.read() as session:
        facts = report_facts(project, session, comparison_row(session, comparison_id), scores)
    if suffix == _HTML:
        text = render_html(facts, project.blobs)
    else:
        text = render_markdown(facts) if suffix == ".md" else render_json(facts)
    path = destination or project.paths.reports / _file_name(facts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path, "written") from error
    write_atomic(path, text.encode())
    if suffix == _HTML:
        _remember(project, comparison_id, path)
    return path


def _file_name(facts: Mapping[str, Any]) -> str:
    name = str(facts["new"]["address"]).replace("/", "-")
    against = f"-against-{facts['baseline']['name']}" if facts["baseline"] else ""
    return f"{name}{against}-{facts['suite']['name']}.html"


def _remember(project: Project, comparison_id: int, path: Path) -> None:
    """Keep where the newest report is, as long as it lies within the film and so moves with it."""
    resolved = path.resolve()
    if not resolved.is_relative_to(project.root.resolve()):
        return
    with project.write() as session:
        row: Comparison = comparison_row(session, comparison_id)
        row.report = resolved.relative_to(project.root.resolve()).as_posix()
        session.add(row)
