"""Names and addresses: ``mara``, ``mara/v2``, ``mara@approved``, ``mara/d3``, ``mara/ref/3f9a1c``."""

import re
from dataclasses import dataclass

from assetforge.errors import UsageError

__all__ = [
    "LATEST",
    "MAX_NAME",
    "REFERENCE_DIGITS",
    "DatasetAddress",
    "ReferenceAddress",
    "VersionAddress",
    "check_name",
    "dataset_address",
    "parse_dataset",
    "parse_reference",
    "parse_version",
    "reference_address",
    "version_address",
]

LATEST = "latest"
"""Alias that always names the newest; computed, never stored."""

MAX_NAME = 64
"""Longest name, in characters: names become parts of file names."""

REFERENCE_DIGITS = 6
"""How many hex digits of a hash are written; any longer or shorter unique beginning is understood."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*\Z")
_VERSION = re.compile(r"(?P<asset>[^/@]+)(?:/v(?P<number>[1-9][0-9]{0,8})|@(?P<alias>[^/@]+))\Z")
_DATASET = re.compile(r"(?P<asset>[^/@]+)(?:/d(?P<number>[1-9][0-9]{0,8})|@latest)?\Z")
_REFERENCE = re.compile(r"(?P<asset>[^/@]+)/ref/(?P<digits>[0-9a-f]{4,64})\Z")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


@dataclass(frozen=True, slots=True)
class VersionAddress:
    """A version, by number or by alias; exactly one of the two is given.

    Attributes:
        asset: Name of the asset.
        number: Number of the version, from 1; ``None`` when an alias names it.
        alias: Alias, such as ``approved`` or ``latest``; empty when a number names it.
    """

    asset: str
    number: int | None = None
    alias: str = ""

    def __str__(self) -> str:
        return version_address(self.asset, self.number) if self.number is not None else f"{self.asset}@{self.alias}"


@dataclass(frozen=True, slots=True)
class DatasetAddress:
    """A dataset version.

    Attributes:
        asset: Name of the asset.
        number: Number of the dataset version, from 1; ``None`` is the newest.
    """

    asset: str
    number: int | None = None

    def __str__(self) -> str:
        return dataset_address(self.asset, self.number) if self.number is not None else f"{self.asset}@{LATEST}"


@dataclass(frozen=True, slots=True)
class ReferenceAddress:
    """A reference.

    Attributes:
        asset: Name of the asset.
        digits: Beginning of the hash of its bytes, 4 to 64 lowercase hex digits.
    """

    asset: str
    digits: str

    def __str__(self) -> str:
        return f"{self.asset}/ref/{self.digits}"


def check_name(name: str, *, what: str) -> str:
    """Return ``name`` when it can be the name of a ``what`` (project, asset, alias ...): ``[a-z0-9][a-z0-9-]*``, at most 64 characters.

    Raises:
        UsageError: It cannot; the message proposes a name that can.
    """
    if _NAME.match(name) and len(name) <= MAX_NAME and name not in _DEVICES:
        return name
    proposal = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:MAX_NAME].rstrip("-")
    if proposal in _DEVICES:
        proposal = f"{proposal}-{what.rsplit(maxsplit=1)[-1]}"
    rule = f"Names have 1 to {MAX_NAME} lowercase letters, digits and hyphens, and start with a letter or digit"
    hint = f"{rule}; {proposal!r} would do." if proposal else f"{rule}."
    raise UsageError(f"{name!r} cannot be the name of {_a(what)}.", hint=hint)


def parse_version(text: str) -> VersionAddress:
    """Read ``mara/v2``, ``mara@approved`` or ``mara@latest``.

    Raises:
        UsageError: It is none of these.
    """
    match = _VERSION.match(text)
    if not match:
        raise UsageError(
            f"{text!r} does not name a version.", hint="Write it as ASSET/v2, ASSET@approved or ASSET@latest."
        )
    asset = check_name(match["asset"], what="asset")
    if match["number"]:
        return VersionAddress(asset, number=int(match["number"]))
    return VersionAddress(asset, alias=check_name(match["alias"], what="alias"))


def parse_dataset(text: str) -> DatasetAddress:
    """Read ``mara/d3``; ``mara`` and ``mara@latest`` are the newest dataset version.

    Raises:
        UsageError: It is none of these.
    """
    match = _DATASET.match(text)
    if not match:
        raise UsageError(
            f"{text!r} does not name a dataset version.", hint="Write it as ASSET/d3; ASSET alone is the newest one."
        )
    return DatasetAddress(check_name(match["asset"], what="asset"), int(match["number"]) if match["number"] else None)


def parse_reference(text: str) -> ReferenceAddress:
    """Read ``mara/ref/3f9a1c`` (4 to 64 digits of the hash).

    Raises:
        UsageError: It is not that.
    """
    match = _REFERENCE.match(text)
    if not match:
        raise UsageError(
            f"{text!r} does not name a reference.",
            hint="Write it as ASSET/ref/3f9a1c, with at least 4 digits of its hash; `assetforge ref list ASSET` shows them.",
        )
    return ReferenceAddress(check_name(match["asset"], what="asset"), match["digits"])


def version_address(asset: str, number: int) -> str:
    """``mara/v2``."""
    return f"{asset}/v{number}"


def dataset_address(asset: str, number: int) -> str:
    """``mara/d3``."""
    return f"{asset}/d{number}"


def reference_address(asset: str, sha256: str) -> str:
    """``mara/ref/3f9a1c``."""
    return f"{asset}/ref/{sha256[:REFERENCE_DIGITS]}"


def _a(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"
