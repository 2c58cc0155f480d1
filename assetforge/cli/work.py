"""``assetforge work``: run the queue of a film."""

import signal
import sys
import time
from typing import Annotated

from cyclopts import Parameter

from assetforge.cli.output import say
from assetforge.cli.session import opened_project

__all__ = ["work"]


def work(
    *,
    until_idle: Annotated[bool, Parameter(negative=())] = False,
    slots: int = 0,
) -> None:
    """Run the queue of a film. Ending this ends no job: jobs go on by themselves, and the next one that works takes them over.

    Args:
        until_idle: End when no job is queued or running.
        slots: How many jobs to run at once on this machine; by default one per GPU, else one per core, at most four.
    """
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
