"""What is read of runs beside the screen: their events and logs as they come, and how one that ended was made. All of it in threads."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from assetforge.jobs.live import LiveRun, LiveUpdate
    from assetforge.services.projects import Project
    from assetforge.services.runs import RunInfo

__all__ = ["Device", "Follow", "RunFacts", "devices", "look_at", "run_facts"]

_LOG_BYTES = 256 * 1024
"""Of a long log only the end is read at first."""

_LOG_LINES = 2_000


@dataclass
class Follow:
    """A job that is followed.

    Attributes:
        live: Reads its events.
        update: What they say.
        cursor: Where its log goes on; negative before the first look.
        lines: The last lines of its log.
        count: How many lines there were in all.
    """

    live: "LiveRun"
    update: "LiveUpdate | None" = None
    cursor: int = -_LOG_BYTES
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LOG_LINES))
    count: int = 0

    def read(self, project: "Project", *, log: bool) -> None:
        """Read what is new."""
        from assetforge.jobs.control import read_log

        self.update = self.live.read()
        if log:
            new, self.cursor = read_log(project, self.live.job_id, self.cursor, to_the_end=self.update.is_over)
            self.lines.extend(new)
            self.count += len(new)

    def lines_after(self, count: int) -> list[str]:
        """What came after so many lines, as far as it is kept."""
        new = min(self.count - count, len(self.lines))
        return list(self.lines)[len(self.lines) - new :]


class RunFacts(NamedTuple):
    """How a run was made.

    Attributes:
        run: The run.
        changed: Name, value of the recipe and value of the run, for every parameter that differs; ``None`` where the recipe is no longer known.
    """

    run: "RunInfo"
    changed: list[tuple[str, Any, Any]] | None


class Device(NamedTuple):
    """What jobs can run on here.

    Attributes:
        name: Such as ``GPU 0 RTX 4090``.
        figures: Memory and load, as far as they can be told.
    """

    name: str
    figures: str


def look_at(project: "Project", follows: dict[int, Follow], jobs: Iterable[int], with_log: int | None) -> None:
    """Read what some jobs wrote since the last look; in one thread at a time.

    Args:
        project: The film.
        follows: What is kept between two looks, by job; those that are new are added, one that is gone is removed.
        jobs: Row ids.
        with_log: The one whose log is wanted too.

    Raises:
        StorageError: The database or a file cannot be read.
    """
    from assetforge.errors import NotFoundError
    from assetforge.jobs.live import LiveRun

    for job in jobs:
        follow = follows.setdefault(job, Follow(LiveRun(project, job)))
        try:
            follow.read(project, log=job == with_log)
        except NotFoundError:
            follows.pop(job, None)


def run_facts(project: "Project", number: int) -> RunFacts:
    """How a run was made.

    Raises:
        NotFoundError: There is no such run.
    """
    from assetforge.services.runs import get_run

    run = get_run(project, number)
    return RunFacts(run, _changed(run.recipe, run.params))


def _changed(recipe: str, params: Mapping[str, Any]) -> list[tuple[str, Any, Any]] | None:
    """What differs from a recipe as it is installed now."""
    from pydantic import ValidationError

    from assetforge.errors import AssetForgeError
    from assetforge.extension.registry import get_registry

    try:
        spec = get_registry().recipe(recipe).spec
        model = get_registry().trainer(spec.trainer).spec.params
        # The resolution follows from the base where the recipe does not say it.
        given = {"resolution": params["resolution"]} if "resolution" in params else {}
        preset = model.model_validate({**given, **spec.params}).model_dump(mode="json")
    except (AssetForgeError, ValidationError):
        return None
    return [(name, preset.get(name), value) for name, value in params.items() if preset.get(name) != value]


def devices() -> list[Device]:
    """The GPUs with their memory and load, or the CPU where there is none."""
    import os

    from assetforge.builtin.gpu_load import gpu_loads

    found = [
        Device(
            f"GPU {one.key} {one.name}",
            f"{one.used_gb:.1f}/{one.memory_gb:.0f} GB" + (f"  {one.busy} %" if one.busy is not None else ""),
        )
        for one in gpu_loads(os.environ)
    ]
    if found:
        return found
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return [Device(f"CPU {os.cpu_count() or 1} cores", load)]
