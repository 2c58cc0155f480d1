"""Trains again what the rules let train, takes finished runs on to renders and a comparison, and sees to it that the queue is worked on."""

import time
from collections.abc import Callable

from assetforge.errors import AssetForgeError
from assetforge.services.assets import list_assets
from assetforge.services.projects import Project
from assetforge.services.retrain_facts import change_marks
from assetforge.services.retraining import Explained, explain, local_now, propose, retrain
from assetforge.services.sequels import Sequels, has_open_jobs

__all__ = ["AutoTrain"]

_EVERY_S = 5.0
_LOOK_AGAIN_S = 60.0
_RETRY_S = 300.0


class AutoTrain:
    """Looks every few seconds whether an asset shall be trained again.

    Everything it needs to know is in the film, so that it may be killed at any moment and nothing is done twice.

    Args:
        project: The film.
        supervise: Makes sure that somebody works on the queue.
        say: Called with sentences for the log.
    """

    def __init__(self, project: Project, supervise: Callable[[Project], None], say: Callable[[str], None]) -> None:
        self._project, self._supervise, self._say = project, supervise, say
        self._sequels = Sequels(project, say)
        self._next = 0.0
        self._version = -1
        self._due: dict[int, float] = {}
        self._marks: dict[int, object] = {}

    def __call__(self, *, arriving: bool) -> None:
        """Look, and act. While files are arriving nothing is decided: the burst is not over."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_S
        if self._sequels() or has_open_jobs(self._project):
            self._supervise(self._project)
        version = self._project.database.version()
        if arriving or (version == self._version and now < min(self._due.values(), default=0.0)):
            return
        self._version = version
        self._look(now)

    def _look(self, now: float) -> None:
        config, moment, marks = self._project.config, local_now(), change_marks(self._project)
        seen = config.retrain, config.budget
        for asset in list_assets(self._project):
            mark = (marks.get(asset.id), asset.recipe, seen)
            if mark == self._marks.get(asset.id) and now < self._due.get(asset.id, 0.0):
                continue
            self._marks[asset.id], self._due[asset.id] = mark, now + _LOOK_AGAIN_S
            try:
                explained = explain(self._project, asset, config, moment)
                self._act(explained)
            except AssetForgeError as error:
                self._due[asset.id] = now + _RETRY_S
                self._say(f"{asset.name}: {error}")
            else:
                if explained.not_before is not None:
                    wait_s = max(0.0, (explained.not_before - moment).total_seconds())
                    self._due[asset.id] = min(self._due[asset.id], now + wait_s)

    def _act(self, explained: Explained) -> None:
        if explained.outcome == "ask" and propose(self._project, explained):
            self._say(f"{explained.asset}: {explained.headline}; `assetforge watch accept {explained.asset}` trains it")
        if explained.outcome != "train":
            return
        request, because = retrain(self._project, explained.asset, automatic=True)
        if request.job is not None:
            self._supervise(self._project)
            self._say(f"{explained.asset}: run {request.run} is queued on {request.dataset}: {because}")
