"""``assetforge plugin``: what is installed, what is wrong with it, and what may run.

Works without any film and with every plugin broken.
"""

from collections.abc import Sequence
from difflib import get_close_matches

from cyclopts import App

from assetforge.cli.output import emit, facts, plain, say, table
from assetforge.cli.session import film_folder
from assetforge.errors import NotFoundError, UsageError
from assetforge.extension.crashes import forget_crashes
from assetforge.extension.decisions import change_decisions, read_decisions
from assetforge.extension.discovery import BUILTIN, installed_plugins
from assetforge.extension.film_plugins import add_film_plugins, find_film_plugins, trust_film_plugin
from assetforge.extension.overview import PluginReport, report_plugins
from assetforge.extension.registry import get_registry

__all__ = ["app"]

app = App(name="plugin", help="Plugins.", help_format="plaintext")


@app.command(name="list")
def list_plugins() -> None:
    """List the plugins with their state, what they give, and what is wrong with them."""
    reports = _reports()

    def text() -> None:
        rows = [(report.name, report.distribution, report.version, report.state, _gives(report)) for report in reports]
        table(("plugin", "from", "version", "state", "gives"), rows)
        for report in reports:
            for line in (report.reason, *report.warnings):
                if line:
                    plain(f"{report.name}: {line}")

    emit("plugin-list", {"plugins": reports}, text)


@app.command
def show(name: str) -> None:
    """Show one plugin with the tracebacks of what went wrong.

    Args:
        name: Name of the plugin.
    """
    reports = _reports()
    _known(name, [report.name for report in reports])
    chosen = [report for report in reports if report.name == name]

    def text() -> None:
        for report in chosen:
            facts(
                {
                    "plugin": report.name,
                    "from": f"{report.distribution} {report.version}",
                    "state": report.state,
                    "path": report.path,
                    "hooks": ", ".join(report.hooks),
                    "gives": _gives(report),
                    "loaded in": f"{report.seconds * 1000:.0f} ms",
                    "reason": report.reason,
                }
            )
            for warning in report.warnings:
                plain(f"warning: {warning}")
            for failure in report.failures:
                plain(failure.traceback.rstrip())

    emit("plugin-show", {"plugins": chosen}, text)


@app.command
def disable(name: str) -> None:
    """Do not load a plugin any more, for this user.

    Args:
        name: Name of the plugin.
    """
    if name == BUILTIN.name:
        raise UsageError("The builtin plugin cannot be disabled.", hint="It is assetforge itself.")
    _known(name, _names())
    with change_decisions() as decisions:
        decisions.disabled.add(name)
    emit(
        "plugin-disable",
        {"name": name, "disabled": True},
        lambda: say(f"{name} is disabled; `assetforge plugin enable {name}` undoes it."),
    )


@app.command
def enable(name: str) -> None:
    """Load a plugin again that was disabled, or that is left out because it ended the program.

    Args:
        name: Name of the plugin.
    """
    _known(name, [*_names(), *read_decisions().disabled])
    with change_decisions() as decisions:
        decisions.disabled.discard(name)
    forget_crashes(name)
    emit("plugin-enable", {"name": name, "disabled": False}, lambda: say(f"{name} is enabled."))


@app.command
def trust(name: str, *, revoke: bool = False) -> None:
    """Let a plugin from the film's own plugins/ folder run, exactly as it is now; read it first.

    Args:
        name: Name of the plugin: its file or folder without suffix.
        revoke: Take the trust back.
    """
    root = film_folder()
    if root is None:
        raise UsageError(
            "Trust is about a plugin inside a film, and no film is named here.",
            hint="Add --project NAME, or go into the film's folder.",
        )
    candidate = trust_film_plugin(root, name, revoke=revoke)
    facts_of = {"name": name, "path": candidate.path, "content_hash": candidate.content_hash, "trusted": not revoke}
    verb = "is no longer trusted" if revoke else f"is trusted as it is now ({candidate.version}); any change asks again"
    emit("plugin-trust", facts_of, lambda: say(f"{candidate.path} {verb}."))


def _reports() -> list[PluginReport]:
    registry = get_registry()
    root = film_folder()
    if root is not None:
        add_film_plugins(registry, root)
    return report_plugins(registry)


def _gives(report: PluginReport) -> str:
    return "; ".join(f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in report.gives.items())


def _names() -> list[str]:
    root = film_folder()
    return [candidate.name for candidate in (*installed_plugins(), *(find_film_plugins(root) if root else ()))]


def _known(name: str, names: Sequence[str]) -> None:
    if name not in names:
        close = get_close_matches(name, names, n=3) or list(names)
        raise NotFoundError(f"There is no plugin named {name!r}.", hint=f"Did you mean {', '.join(close)}?")
