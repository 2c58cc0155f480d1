"""Models in the local cache of Hugging Face, found by their id. Only files are read; nothing is ever fetched."""

import re
from dataclasses import dataclass
from pathlib import Path

from assetforge.errors import NotFoundError
from assetforge.paths import hub_cache_dir

__all__ = ["HubSnapshot", "find_snapshot", "is_hub_id"]

_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w][\w./-]*))?\Z", re.ASCII)
_DEFAULT = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSnapshot:
    """One revision of a model in the cache.

    Attributes:
        repo: Such as ``org/name``.
        commit: The revision that lies there, as the hub names it.
        path: Its folder; files in it may be links into the cache.
    """

    repo: str
    commit: str
    path: Path

    @property
    def pinned(self) -> str:
        """Its id with the commit, which always means these files."""
        return f"{self.repo}@{self.commit}"


def is_hub_id(text: str) -> bool:
    """Whether ``text`` could be ``org/name`` or ``org/name@revision``."""
    match = _ID.match(text)
    return match is not None and ".." not in text


def find_snapshot(hub_id: str) -> HubSnapshot:
    """The files of a hub id on this machine.

    Args:
        hub_id: ``org/name``, or ``org/name@revision`` with a branch, a tag or a commit; without one, what ``main`` was when it was fetched.

    Raises:
        NotFoundError: The cache does not hold it; the hint names the command that fetches it.
    """
    match = _ID.match(hub_id)
    if match is None or ".." in hub_id:
        raise NotFoundError(f"{hub_id!r} is no hub id.", hint="Write it as org/name or org/name@revision.")
    repo, revision = match["repo"], match["revision"] or ""
    command = f"hf download {repo}" + (f" --revision {revision}" if revision else "")
    hint = f"`{command}` fetches it; assetforge fetches nothing by itself."
    cache = hub_cache_dir()
    folder = cache / f"models--{repo.replace('/', '--')}"
    if not folder.is_dir():
        raise NotFoundError(f"There is no folder {repo} here, and the Hugging Face cache {cache} has none.", hint=hint)
    reference = folder / "refs" / (revision or _DEFAULT)
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    path = folder / "snapshots" / commit
    if commit and "/" not in commit and path.is_dir():
        return HubSnapshot(repo=repo, commit=commit, path=path)
    there = sorted(entry.name for entry in (folder / "snapshots").glob("*") if entry.is_dir())
    listed = f"; it has {', '.join(there)}" if there else ""
    raise NotFoundError(
        f"The Hugging Face cache {cache} has no revision {revision or _DEFAULT} of {repo}{listed}.", hint=hint
    )
