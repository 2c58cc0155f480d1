"""Every user and project path. The only module that asks platformdirs."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ProjectPaths",
    "device_slots_dir",
    "hub_cache_dir",
    "projects_dir",
    "systemd_units_dir",
    "user_bases_file",
    "user_cache_dir",
    "user_config_file",
    "user_data_dir",
]

_APP = "assetforge"


def _home() -> Path | None:
    """``ASSETFORGE_HOME`` puts everything that is per user into one folder (tests, portable installs)."""
    home = os.environ.get("ASSETFORGE_HOME")
    return Path(home).expanduser() if home else None


def user_config_file() -> Path:
    """The user's settings file."""
    import platformdirs

    home = _home()
    return (home or Path(platformdirs.user_config_dir(_APP))) / "config.toml"


def user_bases_file() -> Path:
    """The base models that the user registered, beside the settings file."""
    return user_config_file().with_name("bases.toml")


def user_data_dir() -> Path:
    """Where per-user facts live: trusted plugins, disabled plugins, default projects."""
    import platformdirs

    home = _home()
    return home / "data" if home else Path(platformdirs.user_data_dir(_APP))


def device_slots_dir() -> Path:
    """Locks of this machine's devices, shared by all films of the user; a folder per machine, since a home may be on a network filesystem."""
    return user_data_dir() / "slots" / socket.gethostname()


def systemd_units_dir() -> Path:
    """Where ``systemd --user`` looks for the user's own units."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "systemd" / "user"


def user_cache_dir() -> Path:
    """Where derived files live that may be deleted at any time."""
    import platformdirs

    home = _home()
    return home / "cache" if home else Path(platformdirs.user_cache_dir(_APP))


def hub_cache_dir() -> Path:
    """Where the tools of Hugging Face keep what they fetched: ``HF_HUB_CACHE``, else ``hub`` in ``HF_HOME``, else in the user's cache."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(home).expanduser() / "hub"


def projects_dir() -> Path:
    """Where films live: ``ASSETFORGE_PROJECTS``, else ``./projects`` when it exists, else the user's data folder."""
    configured = os.environ.get("ASSETFORGE_PROJECTS")
    if configured:
        return Path(configured).expanduser()
    here = Path.cwd() / "projects"
    return here if here.is_dir() else user_data_dir() / "projects"


@dataclass(frozen=True, slots=True)
class ProjectPaths:
    """The layout of one film on disk (design section 4).

    Attributes:
        root: The project folder, the one that holds ``project.toml``.
    """

    root: Path

    @property
    def config(self) -> Path:
        """The hand-editable project file."""
        return self.root / "project.toml"

    @property
    def private(self) -> Path:
        """The folder that assetforge owns."""
        return self.root / ".assetforge"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.private / "forge.db"

    @property
    def blobs(self) -> Path:
        """Content-addressed bytes."""
        return self.private / "blobs"

    @property
    def thumbs(self) -> Path:
        """Derived thumbnails; deletable."""
        return self.private / "thumbs"

    @property
    def cache(self) -> Path:
        """Derived tensors (latents, text embeddings), shared by all runs of the project; deletable."""
        return self.private / "cache"

    @property
    def jobs(self) -> Path:
        """One work folder a job."""
        return self.private / "jobs"

    @property
    def logs(self) -> Path:
        """Logs of the supervisor."""
        return self.private / "logs"

    @property
    def outbox(self) -> Path:
        """Notifications that wait to be sent, a folder per user."""
        return self.private / "outbox"

    @property
    def trash(self) -> Path:
        """Where gc moves things before they are deleted."""
        return self.private / "trash"

    @property
    def backups(self) -> Path:
        """Copies of the database, made before every migration and on request."""
        return self.private / "backups"

    @property
    def loras(self) -> Path:
        """Published LoRA files with readable names."""
        return self.root / "loras"

    @property
    def reports(self) -> Path:
        """Reports made for people."""
        return self.root / "reports"

    @property
    def plugins(self) -> Path:
        """Plugins that travel with the film; never run without recorded trust."""
        return self.root / "plugins"

    def references(self, type_folder: str, asset: str) -> Path:
        """The inbox of an asset; never written to or deleted from by assetforge after it was made."""
        return self.root / type_folder / asset / "references"

    def job(self, job_id: int) -> Path:
        """The work folder of a job."""
        return self.jobs / f"{job_id:06d}"
