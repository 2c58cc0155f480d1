"""Who remembers what a film had, and says when something of it is gone, doubled or damaged."""

import json
from collections import Counter
from pathlib import Path

from faulted_film import FaultedFilm
from sqlmodel import select

from assetforge.db.models import DatasetVersion, Image, Publication, Reference, Run, Version
from assetforge.db.models_jobs import Job, JobAttempt
from assetforge.db.models_watch import WatchedFile
from assetforge.services.backups import restore, verify_backup
from assetforge.services.maintenance import blob_needs, check_project, collect_garbage
from assetforge.store.gc import GcPolicy

NOTHING_STAYS = GcPolicy(grace_s=0.0, trash_s=0.0, failed_jobs_s=0.0, cache_s=0.0)


class Witness:
    """Looks at a film again and again."""

    def __init__(self, film: FaultedFilm) -> None:
        self.film, self.project = film, film.project
        self._known: dict[str, set[tuple[object, ...]]] = {}
        self.looks = 0

    def look(self) -> None:
        """The film is sound, and everything that was ever there still is."""
        self.looks += 1
        with self.project.read() as session:
            facts = {
                "references": set(session.exec(select(Reference.id, Reference.asset_id, Reference.sha256))),
                "datasets": set(
                    session.exec(select(DatasetVersion.id, DatasetVersion.number, DatasetVersion.tree_hash))
                ),
                "runs": set(session.exec(select(Run.id, Run.recipe_key, Run.cause))),
                "versions": set(
                    session.exec(select(Version.id, Version.number, Version.run_id, Version.weights, Version.parent_id))
                ),
                "publications": set(session.exec(select(Publication.id, Publication.path, Publication.sha256))),
            }
            succeeded = set(session.exec(select(Run.id).where(Run.state == "succeeded")))
        facts["succeeded runs"] = {(one,) for one in succeeded}
        for what, now in facts.items():
            lost = self._known.get(what, set()) - now
            assert not lost, f"{what} are gone: {sorted(map(str, lost))}"
        self._known = facts
        report = check_project(self.project, level="deep")
        assert not report.problems, report.problems

    def all_is_in_order(self, backups: Path) -> dict[str, int]:
        """What must be true when everything has come to rest."""
        self.look()
        self._folder_is_database()
        figures = self._runs_ran_once()
        self._versions_are_whole()
        self._nothing_is_left_behind()
        figures["backups"] = self._backups_are_whole(backups)
        figures["references"] = len(self._known["references"])
        figures["datasets"] = len(self._known["datasets"])
        for log in self.film.logs:
            assert "Traceback" not in log.read_text(), log.read_text()
        return figures

    def _folder_is_database(self) -> None:
        there, inbox = self.film.inbox.hashes(), self.film.inbox
        with self.project.read() as session:
            rows = session.exec(select(Reference).where(Reference.asset_id == 1)).all()
            images = set(session.exec(select(Image.sha256).join(Reference).where(Reference.asset_id == 1)))
            files = session.exec(select(WatchedFile)).all()
        assert images <= inbox.whole, "halves of files became pictures"
        assert {row.sha256 for row in rows if row.state == "active"} == set(there)
        assert Counter(one.sha256 for one in files if one.state == "taken") == there
        assert all(row.excluded_by == "watch" for row in rows if row.state != "active")

    def _runs_ran_once(self) -> dict[str, int]:
        with self.project.read() as session:
            jobs = session.exec(select(Job)).all()
            runs = session.exec(select(Run)).all()
            attempts = session.exec(select(JobAttempt).order_by(JobAttempt.job_id, JobAttempt.number)).all()
        assert {job.state for job in jobs} == {"succeeded"}, [(job.id, job.state, job.error) for job in jobs]
        keys = Counter(run.recipe_key for run in runs)
        assert max(keys.values()) == 1, "the same thing was trained twice"
        for job in jobs:
            mine = [one for one in attempts if one.job_id == job.id]
            assert [one.outcome for one in mine].count("succeeded") == 1, [(one.number, one.outcome) for one in mine]
            assert mine[-1].outcome == "succeeded"
            if job.kind == "train":
                self._one_writer_at_a_time(self.project.paths.job(job.id))
        return {
            "jobs": len(jobs),
            "runs": len(runs),
            "attempts": len(attempts),
            "most attempts of a job": max(job.attempt for job in jobs),
        }

    def _one_writer_at_a_time(self, workdir: Path) -> None:
        lines = [line.split(maxsplit=3) for line in (workdir / "writers.log").read_text().splitlines()]
        blocks = [pid for number, (pid, *_) in enumerate(lines) if number == 0 or lines[number - 1][0] != pid]
        assert len(blocks) == len(set(blocks)), f"{workdir}: two children at once: {blocks}"
        result = workdir / "result.json"
        written = result.stat().st_mtime
        late = [line for line in lines if float(line[2]) > written + 0.01]
        assert not late, f"{workdir}: went on after it was done: {late}"
        assert json.loads(result.read_text())["attempt"] == int(lines[-1][1])

    def _versions_are_whole(self) -> None:
        with self.project.read() as session:
            versions = session.exec(select(Version).order_by(Version.number)).all()
            runs = {run.id: run for run in session.exec(select(Run))}
            publications = session.exec(select(Publication)).all()
        assert [one.number for one in versions] == list(range(1, len(versions) + 1)), "numbers have gaps"
        assert Counter(one.run_id for one in versions) == Counter(list(runs)), "a run without its one version"
        for before, one in zip([None, *versions], versions, strict=False):
            assert one.parent_id == (before.id if before else None)
            assert self.project.blobs.verify(one.weights)
            assert self.project.blobs.verify(one.diffusers)
        weights = {one.id: one.weights for one in versions}
        for one in publications:
            assert one.sha256 == weights[one.version_id]

    def _nothing_is_left_behind(self) -> None:
        """After a collection there is nothing that nobody needs."""
        collect_garbage(self.project, policy=NOTHING_STAYS, dry_run=False)
        collect_garbage(self.project, policy=NOTHING_STAYS, dry_run=False)
        assert set(self.project.blobs) == set(blob_needs(self.project.paths.database))
        private, loras = self.project.paths.private, self.project.paths.loras
        left = [path for path in private.iterdir() if path.name.startswith((".", "backup-", "restore-"))]
        left += [path for path in self.project.paths.jobs.iterdir() if not path.name.isdigit()]
        left += [path for path in loras.rglob("*") if path.name.startswith(".")]
        left += list(self.project.blobs.incoming.iterdir())
        left += [path for path in self.film.root.iterdir() if path.name.startswith(".") and path != private]
        left += [path for path in self.project.paths.thumbs.rglob("*") if path.is_file() and path.name.startswith(".")]
        assert not left, f"nobody takes these away: {left}"
        assert check_project(self.project, level="deep").problems == ()

    def _backups_are_whole(self, backups: Path) -> int:
        whole = sorted(backups.glob("*.tar"))
        for one in whole:
            verify_backup(one)
        for number, one in enumerate(whole[-3:]):
            with restore(one, backups.parent / f"restored-{number}") as copy:
                assert check_project(copy, level="deep").sound
        return len(whole)
