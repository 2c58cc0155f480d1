"""``assetforge work``: run the queue of a film."""

import signal
import sys
import time
from typing import Annotated

from cyclopts import Parameter

from assetforge.cli.output import emit, plain, say
from assetforge.cli.session import opened_project
from assetforge.errors import UsageError

__all__ = ["work"]


def work(
    *,
    until_idle: Annotated[bool, Parameter(negative=())] = False,
    slots: int = 0,
    daemon: Annotated[bool, Parameter(negative=())] = False,
    stop: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Run the queue of a film. Ending this ends no job: jobs go on by themselves, and the next one that works takes them over.

    Args:
        until_idle: End when no job is queued or running.
        slots: How many jobs to run at once on this machine; by default one per GPU, else one per core, at most four.
        daemon: Do so in the background; logs/work.log in the film says what happens.
        stop: End the one in the background.
    """
    if daemon or stop:
        if daemon and stop:
            raise UsageError("--daemon and --stop exclude each other.")
        _in_background(stop=stop, words=[*(["--until-idle"] if until_idle else []), f"--slots={slots}"])
        return
    from assetforge.jobs.background import presence
    from assetforge.jobs.slots import Executors
    from assetforge.jobs.supervisor import Supervisor

    with opened_project() as project, presence(project, shared=True):
        supervisor = Supervisor(
            project,
            executors=Executors(slots=slots),
            say=lambda text: say(f"{time.strftime('%H:%M:%S')} {text}"),
        )
        signals = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, lambda *_: supervisor.stop()) for number in signals]
        if not until_idle and sys.stderr.isatty():
            say(f"Working on {project.name}. Ctrl+C ends this; running jobs go on.")
        try:
            supervisor.run(until_idle=until_idle)
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)


def _in_background(*, stop: bool, words: list[str]) -> None:
    from assetforge.jobs.daemon import start_daemon, stop_daemon

    with opened_project() as project:
        pid = stop_daemon(project) if stop else start_daemon(project, words)
        log, name = project.paths.logs / "work.log", project.name
    if stop:
        emit("work-stop", {"pid": pid}, lambda: plain(f"Process {pid} no longer works on {name}; running jobs go on."))
    else:
        emit("work-daemon", {"pid": pid, "log": log}, lambda: plain(f"Process {pid} works on {name}; it tells {log}."))
