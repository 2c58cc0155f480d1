"""What follows a run that was made because references changed: renders, a comparison with the baseline, its report. Then a person decides, or the film's policy."""

import time
from collections.abc import Callable
from functools import partial

from sqlalchemy import ColumnElement
from sqlalchemy.orm import aliased
from sqlmodel import col, exists, select

from assetforge.db.models import Asset, Run, Version
from assetforge.db.models_jobs import Comparison, Evaluation, Job
from assetforge.domain.names import version_address
from assetforge.domain.priorities import AUTOMATIC_PRIORITY
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.errors import AssetForgeError
from assetforge.services.activity import acting_as, record
from assetforge.services.auto_approval import apply_policy, waiting_for_policy
from assetforge.services.comparison import request_comparison
from assetforge.services.projects import Project
from assetforge.services.rendering import request_render
from assetforge.services.report import write_report
from assetforge.services.retraining import CAUSE
from assetforge.services.succession import WATCH

__all__ = ["Sequels", "has_open_jobs"]


def has_open_jobs(project: Project) -> bool:
    """Whether the queue holds a job that could run now or runs."""
    with project.read() as session:
        found = session.exec(
            select(Job.id).where(col(Job.state).in_(OPEN_JOB_STATES), Job.not_before <= time.time()).limit(1)
        ).first()
    return found is not None


class Sequels:
    """Takes versions of such runs one step further each time it is called; what is done is read from the film, so that nothing is done twice.

    Args:
        project: The film.
        say: Called with sentences for the log.
    """

    def __init__(self, project: Project, say: Callable[[str], None]) -> None:
        self._project, self._say = project, say
        self._impossible: set[str] = set()
        self._left: set[int] = set()

    def __call__(self) -> bool:
        """Ask for what is missing; whether jobs were queued."""
        queued = False
        settings = self._project.config.retrain
        for asset, address, rendered in self._versions():
            then = settings.of(asset).then
            if "compare" in then:
                queued |= self._try(address, partial(self._compare, address))
            elif "render" in then and not rendered:
                queued |= self._try(address, partial(self._render, address))
        for number, address in self._without_report():
            self._try(f"the report of {address}", partial(self._report, number))
        self._approve()
        return queued

    def _approve(self) -> None:
        """Let the film's policy decide; why it leaves a version to a person is said once."""
        for number, address, objections in waiting_for_policy(self._project):
            if not self._is_last_word(number):
                continue
            if objections and number not in self._left:
                self._left.add(number)
                self._say(f"{address} waits for a person: {', '.join(objections)}")
            elif not objections:
                self._try(f"the approval of {address}", partial(self._by_policy, number))

    def _by_policy(self, number: int) -> str:
        return "follows from the policy of the film" if apply_policy(self._project, number) else "was decided meanwhile"

    def _try(self, what: str, work: Callable[[], str]) -> bool:
        """Do one thing and say it; what cannot be done is said once."""
        if what in self._impossible:
            return False
        try:
            with acting_as(WATCH):
                self._say(f"{what} {work()}")
        except AssetForgeError as error:
            self._impossible.add(what)
            self._say(f"{what}: {error}")
            return False
        return True

    def _compare(self, address: str) -> str:
        info = request_comparison(self._project, address, priority=AUTOMATIC_PRIORITY)
        self._record(address, "asked for a comparison", baseline=info.baseline)
        return f"is compared with {info.baseline or 'the bare base'}"

    def _render(self, address: str) -> str:
        request_render(self._project, address, priority=AUTOMATIC_PRIORITY)
        self._record(address, "asked for renders")
        return "is rendered"

    def _record(self, address: str, verb: str, **detail: str) -> None:
        with self._project.write() as session:
            record(session, WATCH, verb, address, cause="its run was made because references changed", **detail)

    def _report(self, number: int) -> str:
        return f"is in {write_report(self._project, number)}"

    def _versions(self) -> list[tuple[str, str, bool]]:
        """Candidates of such runs that were not compared yet, and whether they were rendered."""
        compared = exists().where(col(Comparison.version_id) == Version.id)
        rendered = exists().where(col(Evaluation.version_id) == Version.id)
        with self._project.read() as session:
            rows = session.execute(
                select(Asset.name, Version.number, rendered)
                .select_from(Version)
                .join(Run, col(Run.id) == Version.run_id)
                .join(Asset, col(Asset.id) == Version.asset_id)
                .where(col(Run.cause).startswith(CAUSE), ~compared, Version.stage == "candidate")
            ).all()
        return [(name, version_address(name, number), bool(there)) for name, number, there in rows]

    def _without_report(self) -> list[tuple[int, str]]:
        with self._project.read() as session:
            rows = session.execute(
                select(Comparison.id, Asset.name, Version.number)
                .select_from(Comparison)
                .join(Version, col(Version.id) == Comparison.version_id)
                .join(Run, col(Run.id) == Version.run_id)
                .join(Asset, col(Asset.id) == Version.asset_id)
                .where(
                    Comparison.state == "succeeded",
                    Comparison.report == "",
                    col(Run.cause).startswith(CAUSE),
                    _last_word(),
                )
            ).all()
        return [(number, version_address(name, version)) for number, name, version in rows]

    def _is_last_word(self, number: int) -> bool:
        with self._project.read() as session:
            return session.exec(select(Comparison.id).where(Comparison.id == number, _last_word())).first() is not None


def _last_word() -> ColumnElement[bool]:
    """No second look at a comparison is under way or done; one that failed leaves the word to what was there before."""
    later = aliased(Comparison)
    extended = exists().where(col(later.extends_id) == Comparison.id, col(later.state).in_(("queued", "succeeded")))
    # A score job asks for the second look after its figures are written and before it ends.
    may_be = exists().where(col(Job.id) == Comparison.job_id, col(Job.state).in_(OPEN_JOB_STATES))
    return ~extended & ~may_be
