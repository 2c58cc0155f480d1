"""``assetforge watch``: folders that watch themselves."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from assetforge.cli.exit_codes import ExitCode
from assetforge.cli.output import emit, plain, say, table
from assetforge.cli.session import opened_project

if TYPE_CHECKING:
    from assetforge.services.projects import Project
    from assetforge.services.retraining import Explained

__all__ = ["app"]

app = App(
    name="watch",
    help="Watch folders, take in what lands there, and train again when the rules say so.",
    help_format="plaintext",
)

_Numbers = Annotated[tuple[int, ...], Parameter(negative=())]
_NEW_FILMS_S = 30.0
_Flag = Annotated[bool, Parameter(negative=())]


@app.default
def watch(*, once: _Flag = False, explain: _Flag = False, all: _Flag = False, no_train: _Flag = False) -> int:  # noqa: A002 - the option's name
    """Watch the folders of a film until this is ended. What is running goes on by itself then.

    Args:
        once: Take in what is there, do what the rules say, and end.
        explain: Only say of every asset whether it would be trained now, why or why not, and what it would cost.
        all: Watch every film, not one.
        no_train: Take in files only; never train.
    """
    if explain:
        return _explain()
    if once:
        return _once(train=not no_train)
    with _stopped_by_signals() as stopping:
        if all:
            _watch_every_film(stopping, train=not no_train)
        else:
            with opened_project() as project:
                if sys.stderr.isatty():
                    say(f"Watching {project.name}. Ctrl+C ends this; running jobs go on.")
                _watch_film(project, stopping, train=not no_train)
    return ExitCode.OK


def _watch_film(project: "Project", stopping: threading.Event, *, train: bool, prefix: str = "") -> None:
    from assetforge.jobs.background import ensure_supervisor
    from assetforge.watch.autotrain import AutoTrain
    from assetforge.watch.deliver import Deliver
    from assetforge.watch.watcher import Watcher

    def speak(text: str) -> None:
        say(f"{time.strftime('%H:%M:%S')} {prefix}{text}")

    trains = (AutoTrain(project, ensure_supervisor, speak),) if train else ()
    Watcher(project, follow_ups=(*trains, Deliver(project)), say=speak).run(stopping)


def _watch_every_film(stopping: threading.Event, *, train: bool) -> None:
    """A thread for each film; films that are made meanwhile join in, and one that cannot be opened does not keep the others from being watched."""
    from assetforge.errors import AssetForgeError
    from assetforge.paths import projects_dir
    from assetforge.services.projects import open_project

    def watch_one(root: Path) -> None:
        try:
            with open_project(root) as project:
                _watch_film(project, stopping, train=train, prefix=f"{project.name}: ")
        except AssetForgeError as error:
            say(f"{time.strftime('%H:%M:%S')} {root.name}: {error}")

    threads: dict[Path, threading.Thread] = {}
    while not stopping.is_set():
        for config in sorted(projects_dir().glob("*/project.toml")):
            root = config.parent
            if root not in threads or not threads[root].is_alive():
                threads[root] = threading.Thread(target=watch_one, args=(root,), name=f"watch-{root.name}")
                threads[root].start()
        stopping.wait(_NEW_FILMS_S)
    for thread in threads.values():
        thread.join()


@app.command
def status() -> int:
    """Show how watching goes, folder by folder."""
    from assetforge.services.watch_records import list_health

    with opened_project() as project:
        folders = list_health(project)
    rows = [
        (
            one.asset,
            one.path,
            one.mode,
            one.filesystem,
            one.state,
            one.files,
            one.quarantined,
            one.events,
            one.missed,
            one.last_scan_at,
            one.problem,
        )
        for one in folders
    ]
    columns = ("asset", "folder", "by", "on", "state", "files", "wait", "events", "missed", "last full look", "problem")
    emit(
        "watch-status",
        {"folders": folders},
        lambda: table(columns, rows, empty="No folder was watched yet; start `assetforge watch`."),
    )
    return ExitCode.OK if all(one.state == "ok" for one in folders) else ExitCode.NO


@app.command
def quarantine(asset: str = "") -> None:
    """Show files that wait for a decision, with the reason.

    Args:
        asset: Only in the folders of this one.
    """
    from assetforge.services.quarantine import list_quarantine

    with opened_project() as project:
        files = list_quarantine(project, asset)
    rows = [(one.id, one.asset, one.shown, one.code, one.message, one.hint) for one in files]
    emit(
        "watch-quarantine",
        {"files": files},
        lambda: table(("no", "asset", "file", "reason", "what", "do"), rows, empty="Nothing waits."),
    )


@app.command
def keep(*numbers: int, all: _Flag = False) -> int:  # noqa: A002
    """Make references of files that the film's rules hold back.

    Args:
        numbers: From `assetforge watch quarantine`.
        all: All of them.
    """
    from assetforge.services import quarantine as waiting

    with opened_project() as project:
        chosen = waiting.find_quarantined(project, numbers, everything=all)
        left = waiting.keep(project, chosen)
    return _decided("watch-keep", len(chosen), left, "are references now")


@app.command
def retry(*numbers: int, all: _Flag = False) -> int:  # noqa: A002
    """Read files again that could not be read.

    Args:
        numbers: From `assetforge watch quarantine`.
        all: All of them.
    """
    from assetforge.services import quarantine as waiting

    with opened_project() as project:
        chosen = waiting.find_quarantined(project, numbers, everything=all)
        left = waiting.retry(project, chosen)
    return _decided("watch-retry", len(chosen), left, "are references now")


@app.command
def discard(*numbers: int, all: _Flag = False, why: Annotated[str, Parameter(name=["--why", "-m"])] = "") -> int:  # noqa: A002
    """Pass files over from now on; they stay where they are.

    Args:
        numbers: From `assetforge watch quarantine`.
        all: All of them.
        why: The reason, for the record.
    """
    from assetforge.services import quarantine as waiting

    with opened_project() as project:
        chosen = waiting.find_quarantined(project, numbers, everything=all)
        waiting.discard(project, chosen, why=why)
    return _decided("watch-discard", len(chosen), [], "are passed over now")


@app.command
def move(*numbers: int, to: str) -> int:
    """Make references of another asset of files.

    Args:
        numbers: From `assetforge watch quarantine`.
        to: The other asset.
    """
    from assetforge.services import quarantine as waiting

    with opened_project() as project:
        chosen = waiting.find_quarantined(project, numbers)
        report = waiting.move_to(project, chosen, to)
        refused = {one.path for one in report.refused}
        left = [one for one in chosen if one.path in refused]
    return _decided("watch-move", len(chosen), left, f"are references of {to} now")


@app.command
def accept(asset: str) -> None:
    """Say yes to training an asset again with its changed references, as its rules propose.

    Args:
        asset: Its name.
    """
    from assetforge.jobs.background import ensure_supervisor
    from assetforge.services.retraining import retrain

    with opened_project() as project:
        request, because = retrain(project, asset)
        if request.job is not None:
            ensure_supervisor(project)
    document = {
        "asset": asset,
        "run": request.run,
        "dataset": request.dataset,
        "because": because,
        "reused": request.reused,
    }
    what = f"{request.reused} is that already" if request.reused else f"run {request.run} is queued"
    emit("watch-accept", document, lambda: plain(f"{asset}: {what}, on {request.dataset}: {because}."))


def _decided(name: str, chosen: int, left: list[Any], what: str) -> int:
    def text() -> None:
        plain(f"{chosen - len(left)} of {chosen} files {what}.")
        for one in left:
            plain(f"  {one.id}  {one.shown}: {one.message}")

    emit(name, {"done": chosen - len(left), "left": left}, text)
    return ExitCode.NO if left else ExitCode.OK


def _explain() -> int:
    from assetforge.services.retraining import explain_all

    with opened_project() as project:
        answers = explain_all(project)
    emit("watch-explain", {"assets": answers}, lambda: _print_answers(answers))
    return ExitCode.OK


def _print_answers(answers: "list[Explained]") -> None:
    if not answers:
        say("There is no asset yet.")
    width = max((len(one.asset) for one in answers), default=0)
    for one in answers:
        plain(f"{one.asset:<{width}}  {one.outcome:<5}  {one.headline}")
        for reason in one.reasons:
            if not one.headline.startswith(reason.text) and reason.code != "ask":
                plain(f"{'':<{width}}         {reason.text}")
        if one.outcome in ("train", "ask", "wait"):
            plain(f"{'':<{width}}         costs {one.cost}")
    plain("")
    plain("ask: `assetforge watch accept ASSET` says yes. The rules are [retrain] and [budget] in project.toml.")


def _once(*, train: bool) -> int:
    from assetforge.jobs.background import ensure_supervisor
    from assetforge.services.quarantine import list_quarantine
    from assetforge.services.watch_records import list_health
    from assetforge.watch.autotrain import AutoTrain
    from assetforge.watch.watcher import Watcher

    with opened_project() as project:
        Watcher(project, say=say).once()
        if train:
            AutoTrain(project, ensure_supervisor, say)(arriving=False)
        folders, waiting = list_health(project), list_quarantine(project)

    def text() -> None:
        plain(f"{len(folders)} folders, {sum(one.files for one in folders)} files, {len(waiting)} wait for a decision.")
        for one in folders:
            if one.problem:
                plain(f"  {one.path}: {one.problem}")

    emit("watch-once", {"folders": folders, "quarantine": waiting}, text)
    return ExitCode.OK if all(one.state == "ok" for one in folders) else ExitCode.NO


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    stopping = threading.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop(*_: object) -> None:
        # Not here: the event's own lock may be held by the very code that this interrupts.
        threading.Thread(target=stopping.set).start()

    before = [signal.signal(number, stop) for number in signals]
    try:
        yield stopping
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
