"""Trains again what the rules let train, and takes finished runs on to renders and a comparison."""

import time
from collections.abc import Callable

from assetforge.errors import AssetForgeError
from assetforge.services.assets import list_assets
from assetforge.services.projects import Project
from assetforge.services.retraining import Explained, explain, local_now, propose, retrain
from assetforge.services.sequels import Sequels

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
        self._due = 0.0
        self._resting: dict[str, float] = {}

    def __call__(self, *, arriving: bool) -> None:
        """Look, and act. While files are arriving nothing is decided: the burst is not over."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_S
        if self._sequels():
            self._supervise(self._project)
        if arriving or not self._worth_looking(now):
            return
        config, moment = self._project.config, local_now()
        self._due = now + _LOOK_AGAIN_S
        for asset in list_assets(self._project):
            if self._resting.get(asset.name, 0.0) > now:
                continue
            try:
                explained = explain(self._project, asset, config, moment)
                self._act(explained)
            except AssetForgeError as error:
                self._resting[asset.name] = now + _RETRY_S
                self._say(f"{asset.name}: {error}")
            else:
                if explained.not_before is not None:
                    self._due = min(self._due, now + max(0.0, (explained.not_before - moment).total_seconds()))

    def _act(self, explained: Explained) -> None:
        if explained.outcome == "ask" and propose(self._project, explained):
            self._say(f"{explained.asset}: {explained.headline}; `assetforge watch accept {explained.asset}` trains it")
        if explained.outcome != "train":
            return
        request, because = retrain(self._project, explained.asset, automatic=True)
        if request.job is not None:
            self._supervise(self._project)
            self._say(f"{explained.asset}: run {request.run} is queued on {request.dataset}: {because}")

    def _worth_looking(self, now: float) -> bool:
        """Something was written to the film since the last look, or enough time has passed for rules that follow the clock."""
        version = self._project.database.version()
        if version == self._version and now < self._due:
            return False
        self._version = version
        return True
