"""``assetforge service``: watching and training that starts with the user's session."""

from cyclopts import App

from assetforge.cli.output import emit, facts, plain
from assetforge.cli.session import opened_project
from assetforge.jobs.systemd_unit import install_unit, remove_unit, unit_name, unit_status, unit_text

__all__ = ["app"]

app = App(
    name="service", help="A systemd unit of the user that watches the film and runs its queue.", help_format="plaintext"
)


@app.command
def install() -> None:
    """Write the unit of the film, start it, and have it started with every session."""
    with opened_project() as project:
        path, unit = install_unit(project), unit_name(project)
    emit(
        "service-install",
        {"unit": unit, "path": path},
        lambda: plain(
            f"{unit} runs. It starts with your session; `loginctl enable-linger` starts it with the machine, and keeps it "
            "and its jobs when you log out."
        ),
    )


@app.command
def remove() -> None:
    """Stop the unit of the film and delete it; running jobs go on."""
    with opened_project() as project:
        path, unit = remove_unit(project), unit_name(project)
    emit("service-remove", {"unit": unit, "path": path}, lambda: plain(f"{unit} is removed."))


@app.command
def status() -> None:
    """Say whether the unit of the film is installed and runs."""
    with opened_project() as project:
        known = unit_status(project)
    emit(
        "service-status",
        {"service": known},
        lambda: facts(
            {
                "unit": known.unit,
                "file": known.path,
                "installed": known.installed,
                "enabled": known.enabled,
                "state": known.active or "unknown: systemd does not answer",
            }
        ),
    )


@app.command(name="print")
def print_() -> None:
    """Print the unit of the film, to be put where you like."""
    with opened_project() as project:
        text = unit_text(project)
    emit("service-print", {"text": text}, lambda: plain(text.rstrip("\n")))
