"""Every error that assetforge raises on purpose.

    AssetForgeError               message: what happened, to which file; hint: what to do
    ├── UsageError                a name, value or combination that cannot be used           exit 2
    │   └── ConfigError           a settings file or project.toml that cannot be used
    ├── NotFoundError             an address that names nothing                              exit 3
    ├── CheckFailedError          a check, comparison or verdict says no                     exit 1
    ├── PluginError               a plugin that is missing, broken or broke its contract     exit 4
    ├── JobError                  a job that failed, was cancelled or was lost               exit 5
    ├── BusyError                 somebody else holds what is needed                         exit 6
    ├── TryAgainError             an answer exists later: inconclusive, not finished yet     exit 75
    ├── StorageError              disk full, damaged blob, unreadable database               exit 1
    └── ImageError                a picture that cannot become a reference, with the reason  exit 1

The mapping to exit codes lives in :mod:`assetforge.cli.exit_codes`.
"""

__all__ = [
    "AssetForgeError",
    "BusyError",
    "CheckFailedError",
    "ConfigError",
    "ImageError",
    "JobError",
    "NotFoundError",
    "PluginError",
    "StorageError",
    "TryAgainError",
    "UsageError",
]


class AssetForgeError(Exception):
    """Base of all deliberate errors.

    Attributes:
        message: One sentence: what happened, and to which file or address.
        hint: What the user can do about it; empty when there is nothing to add.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(AssetForgeError):
    """A name, value or combination that cannot be used."""


class ConfigError(UsageError):
    """A settings file or project.toml that cannot be used."""


class NotFoundError(AssetForgeError):
    """An address that names nothing."""


class CheckFailedError(AssetForgeError):
    """A check, comparison or verdict says no."""


class PluginError(AssetForgeError):
    """A plugin that is missing, broken, or broke its contract."""


class JobError(AssetForgeError):
    """A job that failed, was cancelled or was lost."""


class BusyError(AssetForgeError):
    """Somebody else holds what is needed."""


class TryAgainError(AssetForgeError):
    """There is no answer yet; the same question may have one later."""


class StorageError(AssetForgeError):
    """The disk, a stored file or the database cannot be used."""


class ImageError(AssetForgeError):
    """A picture that cannot become a reference.

    Attributes:
        code: Stable short reason, such as ``truncated`` or ``too-large``.
    """

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
