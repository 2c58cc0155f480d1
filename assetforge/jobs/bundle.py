"""Writing a bundle: the self-contained folder that a job runs from, on any machine."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from assetforge import agent
from assetforge.api.job import JobSpec
from assetforge.domain.bundle import BundlePlan, InputFile
from assetforge.durable import storage_error, sync_folder, write_atomic
from assetforge.errors import BusyError, StorageError, UsageError
from assetforge.store.blobs import BlobStore

__all__ = ["job_bytes", "manifest_bytes", "write_bundle"]


def job_bytes(spec: JobSpec) -> bytes:
    """``job.json`` in canonical form; its SHA-256 is the id of the bundle."""
    document = spec.model_dump(mode="json", by_alias=True)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def manifest_bytes(plan: BundlePlan, blobs: BlobStore) -> bytes:
    """``manifest.jsonl``: path, hash and size of every input, sorted by path.

    Raises:
        UsageError: A path is not below ``inputs/``, or two inputs have one path.
        StorageError: A blob is missing.
    """
    lines: dict[str, str] = {}
    for item in plan.inputs:
        parts = PurePosixPath(item.path).parts
        if parts[:1] != ("inputs",) or len(parts) < 2 or ".." in parts or item.path in lines:
            raise UsageError(
                f"{item.path!r} cannot be an input of a bundle.", hint="Inputs lie below inputs/, each path once."
            )
        sha256 = item.sha256 or hashlib.sha256(item.data).hexdigest()
        size = blobs.size(sha256) if item.sha256 else len(item.data)
        entry = {"path": item.path, "sha256": sha256, "size": size}
        lines[item.path] = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "".join(f"{lines[path]}\n" for path in sorted(lines)).encode()


def write_bundle(plan: BundlePlan, workdir: Path, blobs: BlobStore, trash: Path) -> str:
    """Make the work folder of a job, or take the one that is there when it holds the same bundle.

    The folder is built beside its place and renamed, so that it is either whole or absent. What an earlier attempt left in an identical bundle (checkpoints,
    events, finished renders) stays; a folder that holds another bundle goes to the trash.

    Returns:
        The id of the bundle.

    Raises:
        BusyError: Somebody still writes in a folder that holds another bundle.
        StorageError: A blob is missing, or the disk is full.
    """
    files = {"job.json": job_bytes(plan.spec), "manifest.jsonl": manifest_bytes(plan, blobs)}
    bundle = hashlib.sha256(files["job.json"]).hexdigest()
    if workdir.exists() and not _holds(workdir, files):
        _set_aside(workdir, trash)
    try:
        if workdir.exists():
            _place_inputs(plan.inputs, workdir, blobs)
            write_atomic(workdir / "agent.py", _agent_source())
            return bundle
        workdir.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=workdir.parent))
        try:
            _place_inputs(plan.inputs, temporary, blobs)
            for name, data in {**files, "agent.py": _agent_source()}.items():
                write_atomic(temporary / name, data)
            for name in ("checkpoints", "control", "outputs"):
                (temporary / name).mkdir()
            for folder in _folders(temporary):
                sync_folder(folder)
            temporary.chmod(0o755)
            temporary.rename(workdir)
            sync_folder(workdir.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise storage_error(error, workdir, "written") from error
    return bundle


def _agent_source() -> bytes:
    source = agent.__file__
    if not source:
        raise StorageError("assetforge/agent.py has no file.", hint="Reinstall assetforge.")
    return Path(source).read_bytes()


def _holds(workdir: Path, files: dict[str, bytes]) -> bool:
    return all((workdir / name).is_file() and (workdir / name).read_bytes() == data for name, data in files.items())


def _place_inputs(inputs: tuple[InputFile, ...], workdir: Path, blobs: BlobStore) -> None:
    """Put every input where it belongs; one that is there already is left for the agent to check."""
    for item in inputs:
        target = workdir / item.path
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if item.sha256:
            blobs.place(item.sha256, target)
        else:
            write_atomic(target, item.data)


def _set_aside(workdir: Path, trash: Path) -> None:
    try:
        lock = agent.take_lock(workdir)
    except OSError as error:
        raise storage_error(error, workdir, "set aside") from error
    if lock is None:
        raise BusyError(
            f"Somebody still works in {workdir}, which holds another bundle.", hint="Cancel that job first."
        )
    try:
        trash.mkdir(parents=True, exist_ok=True)
        workdir.rename(trash / f"job-{workdir.name}-{time.time_ns()}")
    except OSError as error:
        raise storage_error(error, workdir, "set aside") from error
    finally:
        os.close(lock)


def _folders(root: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(root):
        yield Path(folder)
