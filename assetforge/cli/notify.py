"""``assetforge notify``: whether notifications arrive, and which ones still wait."""

import os
from datetime import UTC, datetime

from cyclopts import App

from assetforge.builtin.notify.outbox import Outbox
from assetforge.cli.global_options import current_options
from assetforge.cli.output import emit, say, table
from assetforge.cli.session import film_folder
from assetforge.errors import CheckFailedError, ConfigError
from assetforge.paths import ProjectPaths, user_config_file

__all__ = ["app"]

app = App(name="notify", help="Notifications about what happens to a film.", help_format="plaintext")


@app.command
def test() -> None:
    """Send a test notification through every channel that your settings name, now, and say how it went."""
    from assetforge.builtin.notify.channels import send
    from assetforge.builtin.notify.settings import load_notify_settings
    from assetforge.builtin.notify.wording import Notification
    from assetforge.config import load_settings
    from assetforge.services.activity import current_actor

    load_settings()
    settings = load_notify_settings()
    if not settings.channels:
        raise ConfigError(
            "No notifications are set up.",
            hint=f"Write [notify] with desktop, command or webhook into {user_config_file()}.",
        )
    notification = Notification.test(film_folder(), current_actor())
    outcomes = {channel: send(channel, notification, settings) for channel in settings.channels}
    failed = {channel: outcome.problem for channel, outcome in outcomes.items() if outcome.problem}
    rows = [(channel, outcome.problem or "sent", outcome.output) for channel, outcome in outcomes.items()]
    emit(
        "notify-test",
        {
            "id": notification.id,
            "channels": [
                {"channel": channel, "sent": not outcome.problem, "problem": outcome.problem, "output": outcome.output}
                for channel, outcome in outcomes.items()
            ],
        },
        lambda: table(("channel", "result", "printed"), rows),
    )
    if failed:
        raise CheckFailedError("Not every notification was sent: " + "; ".join(map(": ".join, failed.items())) + ".")


@app.command(name="list")
def list_() -> None:
    """List the notifications of a film that were not sent yet, oldest first."""
    from assetforge.builtin.notify.sender import log_file
    from assetforge.services.projects import find_project

    paths = ProjectPaths(find_project(current_options().project or os.environ.get("ASSETFORGE_PROJECT", "")))
    waiting, unreadable = Outbox(paths).pending()
    told = [
        {
            "id": pending.notification.id,
            "event": pending.notification.event,
            "queued": datetime.fromtimestamp(pending.queued, UTC),
            "text": pending.notification.sentence,
            "channel": channel,
            "tries": delivery.tries,
            "next_try": datetime.fromtimestamp(delivery.not_before, UTC) if delivery.not_before else None,
            "problem": delivery.problem,
        }
        for pending in waiting
        for channel, delivery in pending.deliveries.items()
    ]
    columns = ("queued", "event", "text", "channel", "tries", "next_try", "problem")
    rows = [[one[column] for column in columns] for one in told]
    emit(
        "notify-list",
        {"waiting": told, "unreadable": unreadable, "log": log_file(paths)},
        lambda: table([column.replace("_", " ") for column in columns], rows, empty="Nothing waits to be sent."),
    )
    if told and not current_options().json:
        say(f"What went wrong with others is in {log_file(paths)}.")
    for path in unreadable:
        say(f"{path} cannot be read.")
