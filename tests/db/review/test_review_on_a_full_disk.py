"""Renders, scores and reports on a disk that is really full: one clear sentence, nothing half-written, and it goes on when there is space."""

import shutil
import subprocess
from pathlib import Path

import pytest

from assetforge.errors import StorageError
from assetforge.services import comparison, rendering
from assetforge.services.comparison import get_comparison, request_comparison
from assetforge.services.maintenance import check_project
from assetforge.services.report import write_report

KB = 1024
LEAVES = (0, 4, 8, 16, 28, 40, 56, 80, 120, 180, 300, 600, 1500, 4000)


@pytest.fixture
def films(home, tmp_path):
    """The folder of films, on a small filesystem of its own."""
    folder = tmp_path / "projects"
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nothing can be mounted here: {getattr(error, 'stderr', b'') or error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(films: Path, leave_kb: int) -> Path:
    ballast = films / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        while (free := shutil.disk_usage(films).free) > leave_kb * KB:
            stream.write(b"x" * min(64 * KB, free - leave_kb * KB))
    return ballast


def squeeze(films, project, act) -> int:
    """Do something with ever more space until it succeeds; returns how often it failed."""
    failures = []
    for leave in LEAVES:
        ballast = fill(films, leave)
        try:
            act()
        except StorageError as error:
            failures.append(error)
        else:
            ballast.unlink()
            break
        ballast.unlink()
        assert check_project(project, level="deep").problems == ()
    left = [path for path in films.rglob("*") if path.name.startswith((".new-", ".tmp-")) or path.suffix == ".partial"]
    assert left == []
    for error in failures:
        assert error.message.startswith("The disk is full; "), error.message
        assert "ree some space" in error.hint
    return len(failures)


def test_a_comparison_to_its_end(films, world):
    project = world.project
    info = request_comparison(project, "mara/v2", "mara/v1")
    failures = {"render": 0, "score": 0}
    while info.jobs:
        for job in info.jobs:
            kind, workdir = world.job(job).kind, world.folder / f"job{job}"
            result = world.render_result(job, workdir) if kind == "render" else world.score_result(job)
            service = rendering if kind == "render" else comparison
            failures[kind] += squeeze(
                films,
                project,
                lambda s=service, j=job, r=result, w=workdir: s.register_result(project, j, r, w),
            )
            world.finish(job)
        info = get_comparison(project, info.id)
    assert all(failures.values()), failures
    assert info.state == "succeeded"
    assert squeeze(films, project, lambda: write_report(project, info.id)) > 0
    (report,) = project.paths.reports.iterdir()
    assert report.read_text().rstrip().endswith("</html>")
