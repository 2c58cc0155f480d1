"""Taking over what a job made: every byte is checked against ``result.json`` before it is believed."""

import hashlib
from pathlib import Path, PurePosixPath

from assetforge.api.job import Result
from assetforge.errors import JobError
from assetforge.services.projects import Project

__all__ = ["store_output", "verify_outputs"]


def verify_outputs(result: Result, workdir: Path) -> None:
    """Check that every output exists inside the work folder and has the promised hash.

    Raises:
        JobError: A path leaves the folder, a file is missing, or its bytes are others.
    """
    for output in result.outputs:
        parts = PurePosixPath(output.path).parts
        if not parts or parts[0] != "outputs" or ".." in parts:
            raise JobError(
                f"Job {result.job} names an output outside its folder: {output.path!r}.", hint="Nothing was taken over."
            )
        path = workdir / output.path
        if not path.is_file():
            raise JobError(
                f"Job {result.job} promised {output.path}, and it is not there.",
                hint="Nothing was taken over; run it again.",
            )
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != output.sha256:
            raise JobError(
                f"{path} changed after job {result.job} wrote it.", hint="Nothing was taken over; run it again."
            )
    promised = {output.path for output in result.outputs}
    named = [path for weights in result.weights for path in (weights.kohya, weights.diffusers) if path] + [
        cell.file for cell in result.cells
    ]
    for path_text in named:
        if path_text not in promised:
            raise JobError(
                f"Job {result.job} names {path_text!r} without its hash.", hint="The plugin that ran is at fault."
            )


def store_output(project: Project, path: Path) -> str:
    """Put a file into the film's store; returns its hash."""
    sha256, _size = project.blobs.put_file(path)
    return sha256
