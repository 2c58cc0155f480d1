"""``assetforge gc``: remove what nothing refers to any more."""

import dataclasses

from assetforge.cli.output import confirm, emit, plain, say
from assetforge.cli.session import opened_project
from assetforge.cli.sizes import human_size
from assetforge.services.maintenance import GcReport, collect_garbage
from assetforge.services.project_config import GcConfig
from assetforge.store.gc import GcPolicy

__all__ = ["gc"]

_HOUR, _DAY = 3600.0, 86400.0


def gc(
    *, dry_run: bool = False, yes: bool = False, grace_hours: float | None = None, trash_days: float | None = None
) -> None:
    """Remove what nothing refers to any more: into the trash folder first, off the disk a week later.

    Args:
        dry_run: Only show what would go.
        yes: Do not ask.
        grace_hours: Age in hours that anything must have before it goes, at least 1; by default 24.
        trash_days: Days that the trash keeps it; by default 7.
    """
    from assetforge.config import load_settings

    with opened_project(on_full_disk=True) as project:
        settings = load_settings(project.config, gc__grace_hours=grace_hours, gc__trash_days=trash_days)
        policy = policy_of(settings.gc)
        report = collect_garbage(project, policy=policy, dry_run=True)
        if report.items and not dry_run:
            for line in _by_kind(report):
                say(line)
            confirm(f"{len(report.items)} things go: {_where(report)}.", yes=yes)
            report = collect_garbage(project, policy=policy, dry_run=False)

    def text() -> None:
        if not report.items:
            plain(f"Nothing to remove; {report.kept} blobs are in use or young.")
            return
        if dry_run:
            for line in _by_kind(report):
                plain(line)
        plain(f"{len(report.items)} things {'would go' if dry_run else 'went'}: {_where(report)}.")

    document = {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
    emit("gc", {**document, "dry_run": dry_run}, text)


def policy_of(config: GcConfig) -> GcPolicy:
    """The collector's times from the settings."""
    return GcPolicy(
        grace_s=config.grace_hours * _HOUR,
        trash_s=config.trash_days * _DAY,
        failed_jobs_s=config.failed_jobs_days * _DAY,
        cache_s=config.cache_days * _DAY,
        backups=config.backups,
    )


def _by_kind(report: GcReport) -> list[str]:
    sizes = {kind: sum(item.size for item in report.items if item.kind == kind) for kind in report.by_kind}
    return [f"  {count} x {kind}, {human_size(sizes[kind])}" for kind, count in report.by_kind.items()]


def _where(report: GcReport) -> str:
    return f"{human_size(report.freed)} off the disk, {human_size(report.trashed)} into the trash"
