"""What the watch screen shows: watched folders, what would train, files that wait, each as a line and in full."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from textual.content import Content

from assetforge.errors import AssetForgeError
from assetforge.tui.hints import in_words
from assetforge.tui.widgets.virtual_table import Column
from assetforge.tui.words import ago, count_of, dim, duration, number, plain, status, strong

if TYPE_CHECKING:
    from assetforge.db.browse.reader import Reader
    from assetforge.services.projects import Project
    from assetforge.services.quarantine import Quarantined
    from assetforge.services.retraining import Explained
    from assetforge.services.watch_records import RootHealth
    from assetforge.watch.place import Watching

__all__ = [
    "FILE_COLUMNS",
    "ROOT_COLUMNS",
    "TRAINING_COLUMNS",
    "Root",
    "Training",
    "Waiting",
    "Watched",
    "file_cells",
    "file_facts",
    "read_trainings",
    "read_watched",
    "root_cells",
    "root_facts",
    "scan_line",
    "training_cells",
    "training_facts",
    "watcher_name",
]

ROOT_COLUMNS = (
    Column("asset", "asset", 16, minimum=10, sortable=False),
    Column("path", "folder", 0, minimum=12, priority=3, sortable=False),
    Column("mode", "by", 7, priority=4, sortable=False),
    Column("files", "files", 5, "right", priority=2, sortable=False),
    Column("state", "state", 18, sortable=False),
)
TRAINING_COLUMNS = (
    Column("asset", "asset", 16, minimum=10, sortable=False),
    Column("when", "when", 11, sortable=False),
    Column("why", "why", 0, minimum=10, priority=1, sortable=False),
)
FILE_COLUMNS = (
    Column("file", "file", 0, minimum=12, sortable=False),
    Column("reason", "reason", 14, priority=1, sortable=False),
    Column("asset", "asset", 10, minimum=8, priority=2, sortable=False),
    Column("since", "since", 12, "right", priority=3, sortable=False),
)

_REASONS = {
    "small": "too small",
    "near-duplicate": "looks alike",
    "decoder-crash": "breaks decoders",
    "too-slow": "takes too long",
    "too-large": "too large",
}
_ORDER = {"train": 0, "ask": 1, "wait": 2, "no": 3}


@dataclass(frozen=True, slots=True)
class Root:
    """A watched folder.

    Attributes:
        key: Row id.
        health: How watching it goes.
        watched: Somebody watches the film now.
    """

    key: int
    health: "RootHealth"
    watched: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that waits for a decision.

    Attributes:
        file: The file.
        sha256: The blob with its bytes, where it could be read; else empty.
        twin: The blob of the reference that it looks like, if that is why it waits; else empty.
        twin_address: Address of that reference.
    """

    file: "Quarantined"
    sha256: str = ""
    twin: str = ""
    twin_address: str = ""


@dataclass(frozen=True, slots=True)
class Training:
    """What the rules say of an asset.

    Attributes:
        key: Row id of the asset.
        explained: What they say.
    """

    key: int
    explained: "Explained"


@dataclass(frozen=True, slots=True)
class Watched:
    """The screen but for what would train.

    Attributes:
        roots: Watched folders, those with something wrong first.
        waiting: Files that wait, the newest first.
        by: Who watches.
        problem: Why folders cannot be told, in a sentence; empty when they can.
    """

    roots: list[Root]
    waiting: list[Waiting]
    by: "Watching | None"
    problem: str


def read_watched(project: "Project", reader: "Reader") -> Watched:
    """Watched folders, files that wait, and who watches."""
    from assetforge.db.browse.quarantine import kept_pictures
    from assetforge.services.quarantine import list_quarantine
    from assetforge.services.watch_records import list_health, watched_folders
    from assetforge.watch.place import who_watches

    problem, by = "", who_watches(project.paths)
    health = list_health(project)
    wanted: dict[tuple[str, str], int] = {(one.asset, one.path): at for at, one in enumerate(health)}
    try:
        wanted = {(one.asset, one.shown): one.root_id for one in watched_folders(project)}
        health = list_health(project)
    except AssetForgeError as error:
        problem = in_words(error)
    roots = [
        Root(wanted[one.asset, one.path], one, by is not None) for one in health if (one.asset, one.path) in wanted
    ]
    kept = kept_pictures(reader)
    waiting = [Waiting(one, *kept.get(one.id, ())) for one in list_quarantine(project)]
    return Watched(sorted(roots, key=lambda one: one.health.state == "ok"), waiting, by, problem)


def read_trainings(project: "Project") -> tuple[list[Training], str]:
    """What the rules say of every asset, what trains soon first, and why nothing can be said of some; looks at pictures, which may take seconds."""
    from assetforge.services.assets import list_assets
    from assetforge.services.retraining import explain, local_now

    config, now = project.config, local_now()
    found, problem = [], ""
    for asset in list_assets(project):
        try:
            found.append(Training(asset.id, explain(project, asset, config, now)))
        except AssetForgeError as error:
            problem = in_words(error)
    return sorted(found, key=_soonest), problem


def _soonest(one: Training) -> tuple[int, float, bool]:
    said = one.explained
    at = said.not_before.timestamp() if said.not_before else float("inf")
    return _ORDER.get(said.outcome, 4), at, not said.because


# folders


def root_cells(root: Root) -> Sequence[Content | str]:
    """The cells of a folder."""
    health = root.health
    return (
        strong(plain(health.asset)),
        plain(_short_path(health)),
        dim(health.mode if health.scans else "–"),
        number(health.files),
        _root_state(root),
    )


def _short_path(health: "RootHealth") -> str:
    """The end of it, which tells folders apart; of an asset's own inbox its name alone."""
    parts = health.path.split("/")
    return parts[-1] if parts[-2:-1] == [health.asset] else "/".join(parts[-2:])


def _root_state(root: Root) -> Content:
    health = root.health
    if health.state == "lost":
        return status("problem", word=f"gone since {_clock(health.updated_at)}")
    if health.state != "ok":
        return status("problem")
    if not health.scans:
        return dim("○ never looked at")
    return status("ok") if root.watched else status("waiting", word="not watched")


def root_facts(root: Root) -> Content:
    """A folder in full."""
    health = root.health
    lines = [
        Content.assemble((plain(health.asset), "bold"), "  ", _root_state(root)),
        Content(plain(health.path)),
    ]
    if health.problem:
        lines += [Content(""), Content.styled(plain(health.problem), "$error" if health.state != "ok" else "$warning")]
    if health.state == "lost":
        lines.append(dim("Its references stay as they are; when the folder is back, watching goes on by itself."))
    if health.scans:
        how = "events of the system" if health.mode == "events" else "looking again and again"
        place = f" on {plain(health.filesystem)}" if health.filesystem else ""
        lines += [
            Content(""),
            dim(f"by {how}{place}"),
            dim(
                f"{count_of(health.files, 'file')}, {number(health.quarantined)} of them "
                f"{'waits' if health.quarantined == 1 else 'wait'} for a decision"
            ),
            dim(f"{count_of(health.events, 'event')}, {number(health.missed)} missed"),
            dim(f"last full scan {ago(health.last_scan_at)}, took {health.last_scan_s:.2g} s"),
        ]
    return Content("\n").join(lines)


def scan_line(roots: Sequence[Root]) -> Content:
    """``last full scan 40 s ago · 0 missed · 38 folders``: when every folder was looked at since, what no event had announced, how many there are."""
    scans = [root.health.last_scan_at for root in roots if root.health.state == "ok"]
    parts = [count_of(len(roots), "folder")]
    if scans:
        parts.insert(0, f"{number(sum(root.health.missed for root in roots))} missed")
        times = [at.replace(tzinfo=UTC) if at.tzinfo is None else at for at in scans if at is not None]
        parts.insert(0, f"last full scan {ago(min(times))}" if len(times) == len(scans) else "no full scan yet")
    return dim("  ·  ".join(parts))


def watcher_name(by: "Watching | None") -> str:
    """How another process that watches is called."""
    if by is None or not by.pid:
        return "another process"
    return f"{plain(by.command, 40) or 'a program'} (process {by.pid})"


# what would train


def training_cells(training: Training) -> Sequence[Content | str]:
    """The cells of an asset."""
    said = training.explained
    why = Content(plain(said.because))
    against = "; ".join(plain(one.text) for one in said.reasons if one.effect != "note")
    if against:
        why = Content.assemble(why, "; " if said.because else "", (against, "$dim"))
    return strong(plain(said.asset)) if said.outcome != "no" else plain(said.asset), _when(said), why


def _when(said: "Explained") -> Content:
    if said.outcome == "train":
        return status("running", word="now")
    if said.outcome == "ask":
        return status("review", word="your yes")
    if said.outcome != "wait":
        return dim("· off" if said.mode == "off" else "· no")
    if said.not_before is None:
        return status("waiting", word="waits")
    left = (said.not_before - datetime.now(UTC)).total_seconds()
    hours = f"{round(left / 3600)} h"
    return status("waiting", word=f"in {hours if 5400 <= left < 172800 else duration(left)}" if left > 0 else "now")


def training_facts(training: Training) -> Content:
    """What the rules say of an asset, every sentence of it."""
    said = training.explained
    lines = [Content.assemble((plain(said.asset), "bold"), "  ", _when(said)), Content("")]
    if said.because:
        lines.append(Content.assemble("changed  ", plain(said.because)))
    glyphs = {"no": ("✕ ", "$error"), "wait": ("‖ ", "$secondary"), "note": ("· ", "$dim")}
    lines += [Content.assemble(glyphs.get(one.effect, ("· ", "$dim")), plain(one.text)) for one in said.reasons]
    if said.outcome in ("train", "ask", "wait"):
        lines += [Content(""), dim(f"costs {plain(said.cost)}")]
    if said.outcome == "wait" and said.not_before is not None:
        then = "and asks then" if said.mode == "ask" else "and begins by itself"
        lines.append(dim(f"not before {_clock(said.not_before)}, {then}"))
    if said.outcome == "ask":
        lines += [Content(""), Content.styled("A trains it.", "$primary")]
    lines += [Content(""), dim(f"mode {said.mode}; the rules are settings of retrain (f8)")]
    return Content("\n").join(lines)


# files that wait


def file_cells(waiting: Waiting) -> Sequence[Content | str]:
    """The cells of a file."""
    file = waiting.file
    reason = _REASONS.get(file.code, plain(file.code).replace("-", " "))
    glyph = ("◐ ", "$warning") if file.can_keep else ("✕ ", "$error")
    return (
        plain(file.shown.rpartition("/")[2]),
        Content.assemble(glyph, reason),
        dim(plain(file.asset)),
        dim(ago(file.at)),
    )


def file_facts(waiting: Waiting) -> Content:
    """A file in full."""
    file = waiting.file
    lines = [
        strong(plain(file.shown)),
        dim(f"{plain(file.asset)}, {ago(file.at)}"),
        Content(""),
        Content(plain(file.message)),
    ]
    if file.hint:
        lines.append(dim(plain(file.hint)))
    if not waiting.sha256:
        lines += [Content(""), dim("There is no picture to show: it could not be read.")]
    lines += [Content(""), dim(plain(str(file.path)))]
    return Content("\n").join(lines)


def _clock(moment: datetime) -> str:
    """A time of day, or the day when that is another one."""
    moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone()
    today = datetime.now().astimezone().date()
    return f"{moment:%H:%M}" if moment.date() == today else f"{moment.day} {moment:%b %H:%M}"
