"""What the plugins screen shows of a plugin: a line of the table, and in full with everything it provides and whatever went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from assetforge.tui.widgets.virtual_table import Column
from assetforge.tui.words import count_of, dim, plain, status, strong

if TYPE_CHECKING:
    from assetforge.extension.kinds import AnySpec
    from assetforge.extension.overview import PluginReport

__all__ = [
    "COLUMNS",
    "PluginRow",
    "Provided",
    "plugin_cells",
    "plugin_facts",
    "plugin_gives",
    "plugin_trace",
    "read_plugins",
    "summary",
]

COLUMNS = (
    Column("name", "plugin", 18, minimum=12, sortable=False),
    Column("version", "version", 12, minimum=7, priority=2, sortable=False),
    Column("source", "from", 9, priority=3, sortable=False),
    Column("state", "state", 15, sortable=False),
    Column("gives", "provides", 0, minimum=14, priority=1, sortable=False),
)

_SOURCES = {"builtin": "assetforge", "installed": "installed", "film": "this film"}
_ORDER = {"quarantined": 0, "untrusted": 1}
_LATER = "from the next start on"


@dataclass(frozen=True, slots=True)
class Provided:
    """Something that a plugin registered.

    Attributes:
        name: What it is looked up by.
        title: What people read.
    """

    name: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRow:
    """A plugin.

    Attributes:
        key: Its place in the order in which plugins were found.
        report: What became of it when this program began.
        provided: What it registered, by kind, such as ``asset type``.
        content_hash: Of a film's plugin: the hash of its files as they are now.
        trusted: A film's plugin that may run as it is now.
        disabled: The user does not want it.
        later: What the next start changes; empty for nothing.
    """

    key: int
    report: "PluginReport"
    provided: tuple[tuple[str, tuple[Provided, ...]], ...]
    content_hash: str
    trusted: bool
    disabled: bool
    later: str

    @property
    def is_film(self) -> bool:
        """It travels inside the film."""
        return self.report.source == "film"


def read_plugins(root: Path | None) -> list[PluginRow]:
    """Every plugin, those that need a person first. Loads the registry when nothing did yet, which runs plugins.

    Args:
        root: The open film, whose own plugins are listed too; they run only when they are trusted.

    Raises:
        ConfigError: The user's decisions cannot be read.
    """
    from assetforge.extension.decisions import read_decisions
    from assetforge.extension.film_plugins import add_film_plugins, find_film_plugins
    from assetforge.extension.overview import report_plugins
    from assetforge.extension.registry import get_registry

    registry = get_registry()
    now = {}
    if root is not None:
        add_film_plugins(registry, root)
        now = {str(one.path): one.content_hash for one in find_film_plugins(root)}
    decisions, rows = read_decisions(), []
    for key, (plugin, report) in enumerate(zip(registry.plugins, report_plugins(registry), strict=True)):
        if report.source == "film" and report.path not in now:
            # Of a film that was open before.
            continue
        content_hash = now.get(report.path, "")
        trusted = report.source == "film" and decisions.trusts(Path(report.path), content_hash)
        disabled = report.name in decisions.disabled
        given = (
            (kind.replace("_", " "), tuple(map(_provided, specs))) for kind, specs in plugin.specs.items() if specs
        )
        rows.append(
            PluginRow(
                key=key,
                report=report,
                provided=tuple(given),
                content_hash=content_hash,
                trusted=trusted,
                disabled=disabled,
                later=_later(report, content_hash, trusted=trusted, disabled=disabled),
            )
        )
    return sorted(rows, key=lambda row: _ORDER.get(row.report.state, 2 if row.report.failures else 3))


def _provided(spec: "AnySpec") -> Provided:
    from assetforge.extension.kinds import spec_name

    return Provided(spec_name(spec), str(getattr(spec, "title", "") or getattr(spec, "help", "")))


def _later(report: "PluginReport", content_hash: str, *, trusted: bool, disabled: bool) -> str:
    from assetforge.extension.crashes import CRASHES_ALLOWED, count_crashes
    from assetforge.extension.discovery import Candidate

    if disabled:
        return "" if report.state == "disabled" else f"disabled {_LATER}"
    if report.state == "disabled":
        return f"enabled {_LATER}"
    if report.source == "film":
        if report.state == "untrusted":
            return f"runs {_LATER}" if trusted else ""
        if content_hash != report.content_hash:
            return f"its code changed; {'the new one runs' if trusted else 'not trusted'} {_LATER}"
        return "" if trusted or report.state == "skipped" else f"no longer trusted {_LATER}"
    if any(failure.stage == "crash" for failure in report.failures):
        one = Candidate(name=report.name, distribution=report.distribution, version=report.version, target="")
        return "" if count_crashes(one) > CRASHES_ALLOWED else f"tried again {_LATER}"
    return ""


def _state(row: PluginRow) -> Content:
    match row.report.state:
        case "active" if row.report.failures:
            return Content.styled("▲ loaded partly", "$warning")
        case "active":
            return status("ok", word="loaded")
        case "quarantined":
            return status("failed", word="quarantined")
        case "disabled":
            return Content.styled("‖ disabled", "$secondary")
        case "untrusted":
            return Content.styled("◐ not trusted", "$warning")
        case _:
            return dim("· left out")


def summary(rows: Sequence[PluginRow]) -> Content:
    """How many there are of each kind, and whether a restart changes anything."""
    kinds = (
        ("active", "● {} loaded", "$success"),
        ("quarantined", "✕ {} quarantined", "$error"),
        ("untrusted", "◐ {} not trusted", "$warning"),
        ("disabled", "‖ {} disabled", "$secondary"),
        ("skipped", "· {} left out", "$dim"),
    )
    counts = [(sum(row.report.state == state for row in rows), text, style) for state, text, style in kinds]
    partly = sum(row.report.state == "active" and bool(row.report.failures) for row in rows)
    counts.insert(1, (partly, "▲ {} of them partly", "$warning"))
    parts = [Content.styled(text.format(count), style) for count, text, style in counts if count]
    later = sum(bool(row.later) for row in rows)
    if later:
        parts.append(Content.styled(f"↻ {count_of(later, 'change')} {_LATER}", "$primary"))
    return Content("    ").join(parts)


def plugin_cells(row: PluginRow) -> Sequence[Content | str]:
    """The cells of a plugin."""
    gives = ", ".join(count_of(len(given), plain(kind)) for kind, given in row.provided)
    return (
        strong(plain(row.report.name)),
        dim(plain(row.report.version)),
        dim(_SOURCES.get(row.report.source, row.report.source)),
        Content.assemble(_state(row), (" ↻" if row.later else "", "$primary")),
        dim(gives or "–"),
    )


def plugin_facts(row: PluginRow) -> Content:
    """A plugin in full, without what it provides and without tracebacks."""
    report = row.report
    where = plain(report.path) if row.is_film else plain(report.distribution)
    lines = [
        Content.assemble((plain(report.name), "bold"), "  ", _state(row)),
        dim(f"{where} {plain(report.version)}".strip()),
    ]
    if row.later:
        lines += [Content(""), Content.styled(f"↻ {row.later}", "$primary")]
    if report.state == "untrusted" and not row.trusted:
        lines += [
            Content(""),
            Content("Its code lies in the film and has not run. Read it, then t trusts it as it is now."),
        ]
    for failure in report.failures:
        if failure.stage != "trust":
            lines += [Content(""), Content.assemble((f"✕ {failure.stage}  ", "$error"), plain(failure.reason))]
    for warning in report.warnings:
        lines += [Content(""), Content.assemble(("▲ ", "$warning"), plain(warning))]
    if not row.provided and report.state == "active":
        lines += [Content(""), dim("It provides nothing of its own.")]
    if "on_event" in report.hooks:
        lines += [Content(""), dim("It is told what happens in films.")]
    if report.seconds:
        lines += [Content(""), dim(f"loaded in {report.seconds * 1000:.0f} ms")]
    return Content("\n").join(lines)


def plugin_gives(row: PluginRow) -> Content:
    """What a plugin provides, by kind, one a line."""
    lines: list[Content] = []
    for kind, given in row.provided:
        lines += [Content("")] * bool(lines) + [dim(count_of(len(given), plain(kind)))]
        width = min(28, max(len(one.name) for one in given)) + 2
        lines += [Content.assemble(plain(one.name).ljust(width), (plain(one.title), "$dim")) for one in given]
    return Content("\n").join(lines)


def plugin_trace(row: PluginRow) -> Content:
    """The tracebacks of what went wrong, as plain text; empty without any."""
    lines: list[str] = []
    for failure in row.report.failures:
        for line in failure.traceback.splitlines():
            # What only points at columns means nothing once lines are wrapped.
            if not line.strip(" ^~"):
                continue
            indent = len(line) - len(line.lstrip(" "))
            lines.append(" " * indent + plain(line))
    return dim("\n".join(lines)) if lines else Content("")
