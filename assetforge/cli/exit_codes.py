"""Exit codes are a contract; errors map to them by type, here and nowhere else."""

from enum import IntEnum

from assetforge import errors

__all__ = ["ExitCode", "exit_code_of"]


class ExitCode(IntEnum):
    """What the process tells scripts."""

    OK = 0
    NO = 1
    USAGE = 2
    NOT_FOUND = 3
    PLUGIN = 4
    JOB = 5
    BUSY = 6
    TRY_AGAIN = 75
    INTERRUPTED = 130


_BY_TYPE = (
    (errors.NotFoundError, ExitCode.NOT_FOUND),
    (errors.UsageError, ExitCode.USAGE),
    (errors.PluginError, ExitCode.PLUGIN),
    (errors.JobError, ExitCode.JOB),
    (errors.BusyError, ExitCode.BUSY),
    (errors.TryAgainError, ExitCode.TRY_AGAIN),
)


def exit_code_of(error: errors.AssetForgeError) -> ExitCode:
    """The exit code of a deliberate error."""
    for kind, code in _BY_TYPE:
        if isinstance(error, kind):
            return code
    return ExitCode.NO
