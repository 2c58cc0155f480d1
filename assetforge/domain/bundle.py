"""What a service wants in a bundle, before any file exists."""

from dataclasses import dataclass

from assetforge.api.job import JobSpec

__all__ = ["BundlePlan", "InputFile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """One file of a bundle; exactly one of ``sha256`` and ``data`` is given.

    Attributes:
        path: Where it goes, relative to the work folder.
        sha256: A blob of the project's store.
        data: Literal bytes.
    """

    path: str
    sha256: str = ""
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundlePlan:
    """A bundle to be written."""

    spec: JobSpec
    inputs: tuple[InputFile, ...]
