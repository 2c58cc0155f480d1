"""``assetforge doctor``: check the installation, the plugins and the film."""

from assetforge.cli.exit_codes import ExitCode
from assetforge.cli.output import emit, plain, table
from assetforge.cli.session import film_folder
from assetforge.services.health import examine

__all__ = ["doctor"]


def doctor() -> int:
    """Check the installation, the disk, the plugins, the GPU, and the film that is meant here."""
    checks = examine(film_folder())
    sound = all(check.verdict != "fault" for check in checks)

    def text() -> None:
        table(
            ("", "what", "found"),
            [("" if check.verdict == "ok" else check.verdict, check.name, check.detail) for check in checks],
        )
        for check in checks:
            if check.hint:
                plain(f"{check.name}: {check.hint}")

    emit("doctor", {"sound": sound, "checks": checks}, text)
    return ExitCode.OK if sound else ExitCode.NO
