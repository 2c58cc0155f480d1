"""``assetforge fsck``: is everything that the film owns there and whole."""

from assetforge.cli.exit_codes import ExitCode
from assetforge.cli.output import emit, plain, progress, say, table
from assetforge.cli.session import opened_project
from assetforge.cli.sizes import human_size
from assetforge.errors import UsageError
from assetforge.services.maintenance import check_project
from assetforge.store.fsck import FsckLevel

__all__ = ["fsck"]


def fsck(*, quick: bool = False, deep: bool = False, repair: bool = False) -> int:
    """Check that everything the film owns is there and whole. By default every byte is read and hashed.

    Args:
        quick: Look at existence and size only; damaged bytes are not noticed.
        deep: Also check the database, and look into weights files.
        repair: Move damaged files to the trash folder, and bring lost bytes back from wherever they still are.
    """
    if quick and deep:
        raise UsageError("--quick and --deep exclude each other.")
    level: FsckLevel = "quick" if quick else "deep" if deep else "full"
    with opened_project() as project, progress("checking") as update:
        report = check_project(
            project, level=level, repair=repair, progress=lambda done, total: update(done, total, "blobs")
        )

    def text() -> None:
        if report.problems:
            rows = [
                (
                    problem.kind,
                    problem.subject,
                    problem.detail,
                    problem.repaired or ("" if problem.needed else "not needed"),
                )
                for problem in report.problems
            ]
            table(("fault", "of", "found", "repair"), rows)
        plain(
            f"{report.blobs} blobs, {human_size(report.size)}, checked ({report.level}) in {report.seconds:.1f} s:"
            f" {'sound' if report.sound else 'NOT sound'}"
        )

    emit("fsck", {"sound": report.sound, "report": report}, text)
    if not report.sound and not repair:
        say("Try `assetforge fsck --repair`; nothing is ever deleted by it.")
    return ExitCode.OK if report.sound else ExitCode.NO
