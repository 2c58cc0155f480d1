"""A ``systemd --user`` unit per film, which watches the film and keeps its queue going."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assetforge.durable import storage_error, write_atomic
from assetforge.errors import BusyError, JobError, NotFoundError
from assetforge.paths import systemd_units_dir
from assetforge.services.projects import Project

__all__ = ["UnitStatus", "install_unit", "remove_unit", "unit_name", "unit_status", "unit_text"]

_KEPT_VARIABLES = (
    "ASSETFORGE_HOME",
    "ASSETFORGE_PLUGINS",
    "CUDA_VISIBLE_DEVICES",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
)
_MARK = "# assetforge watches the film in "

_UNIT = """\
{mark}
[Unit]
Description=assetforge: the film {name}

[Service]
ExecStart={command}
{environment}Restart=on-failure
RestartSec=10
# Running jobs live under agents of their own and go on when this stops; the next start finds them again.
KillMode=process
SendSIGHUP=no
# One job that runs out of memory must not take the service down.
OOMPolicy=continue
TimeoutStopSec=60

[Install]
WantedBy=default.target
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitStatus:
    """What systemd says about a film's unit.

    Attributes:
        unit: Its name.
        path: Its file.
        installed: The file is there, and for this film.
        enabled: It starts when the user's session manager does.
        active: What systemd calls its state, such as ``active`` or ``inactive``; empty without systemd.
    """

    unit: str
    path: Path
    installed: bool
    enabled: bool
    active: str


def unit_name(project: Project) -> str:
    """``assetforge-<film>.service``."""
    return f"assetforge-{project.name}.service"


def unit_text(project: Project, environment: Mapping[str, str] | None = None) -> str:
    """The unit of a film.

    Args:
        project: The film.
        environment: Where settings that the service needs are taken from; by default this process's own.
    """
    given = os.environ if environment is None else environment
    words = [sys.executable, "-P", "-m", "assetforge", "--project", str(project.root), "watch"]
    kept = [f"Environment={_quoted(f'{name}={given[name]}')}\n" for name in _KEPT_VARIABLES if name in given]
    return _UNIT.format(
        mark=_MARK + _one_line(str(project.root)),
        name=project.name,
        command=" ".join(_quoted(word, command=True) for word in words),
        environment="".join(kept),
    )


def install_unit(project: Project, run: Callable[[Sequence[str]], str] | None = None) -> Path:
    """Write the unit of a film, start it, and have it started from now on.

    Args:
        project: The film.
        run: Calls ``systemctl --user`` with words and returns what it printed; by default the real one.

    Returns:
        The file.

    Raises:
        NotFoundError: There is no systemd here.
        BusyError: Another film of the same name has the unit.
        JobError: systemd refused.
        StorageError: The file cannot be written.
    """
    call = run or _systemctl
    # Fails without a session of systemd, before anything is written.
    call(["show-environment"])
    path = systemd_units_dir() / unit_name(project)
    if path.exists() and not _is_ours(path, project):
        raise BusyError(
            f"{path} belongs to another film or was written by hand.", hint="Rename the film, or move that file away."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path.parent, "made") from error
    write_atomic(path, unit_text(project).encode())
    call(["daemon-reload"])
    call(["enable", unit_name(project)])
    call(["restart", unit_name(project)])
    return path


def remove_unit(project: Project, run: Callable[[Sequence[str]], str] | None = None) -> Path:
    """Stop the unit of a film and delete it; running jobs go on.

    Raises:
        NotFoundError: It is not installed for this film, or there is no systemd here.
        JobError: systemd refused.
    """
    call = run or _systemctl
    path = systemd_units_dir() / unit_name(project)
    if not _is_ours(path, project):
        raise NotFoundError(
            f"There is no unit {path} for this film.", hint="`assetforge service install` writes and starts one."
        )
    call(["disable", "--now", unit_name(project)])
    path.unlink(missing_ok=True)
    call(["daemon-reload"])
    return path


def unit_status(project: Project, run: Callable[[Sequence[str]], str] | None = None) -> UnitStatus:
    """What is known about the unit of a film."""
    call = run or _systemctl
    path, answers = systemd_units_dir() / unit_name(project), {}
    with suppress(NotFoundError, JobError):
        said = call(["show", "--property=ActiveState,UnitFileState", unit_name(project)])
        answers = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    return UnitStatus(
        unit=unit_name(project),
        path=path,
        installed=_is_ours(path, project),
        enabled=answers.get("UnitFileState") == "enabled",
        active=answers.get("ActiveState", ""),
    )


def _is_ours(path: Path, project: Project) -> bool:
    try:
        return path.read_text("utf-8").startswith(_MARK + _one_line(str(project.root)) + "\n")
    except (OSError, UnicodeDecodeError):
        return False


def _systemctl(words: Sequence[str]) -> str:
    if shutil.which("systemctl") is None:
        raise NotFoundError("There is no systemd here.", hint="`assetforge work --daemon` works without it.")
    done = subprocess.run(["systemctl", "--user", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise JobError(
            f"`systemctl --user {' '.join(words)}` failed: {said}",
            hint="`assetforge work --daemon` works without systemd.",
        )
    return done.stdout


def _quoted(word: str, *, command: bool = False) -> str:
    """A word as systemd reads it: specifiers, and in a command variables too, taken literally."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    if command:
        word = word.replace("$", "$$")
    return word if re.fullmatch(r"[A-Za-z0-9_./:=+@%-]+", word) else f'"{word}"'


def _one_line(text: str) -> str:
    return text.replace("\n", " ")
