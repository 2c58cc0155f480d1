"""The table of commands: what ``assetforge --help`` prints, and where each command's code lives.

Standard library only, so that help costs nothing.
"""

from typing import NamedTuple

__all__ = ["COMMANDS", "GLOBAL_OPTIONS", "CommandEntry", "overview"]


class CommandEntry(NamedTuple):
    """One word after ``assetforge``.

    Attributes:
        name: The word.
        load: ``"module:attribute"`` of a cyclopts app or a function.
        help: One line.
        group: Heading in the overview.
    """

    name: str
    load: str
    help: str
    group: str


_FILM, _TRAIN, _REVIEW, _KEEP = "The film", "Training", "Review", "Housekeeping"

COMMANDS = (
    CommandEntry("ui", "assetforge.cli.ui:ui", "The terminal program; `assetforge` alone opens it.", _FILM),
    CommandEntry("demo", "assetforge.cli.demo:demo", "The whole loop on a tiny model, on a CPU, in minutes.", _FILM),
    CommandEntry("project", "assetforge.cli.project:app", "Films: new, list, show, archive.", _FILM),
    CommandEntry("asset", "assetforge.cli.asset:app", "Characters, props and styles: add, list, show, set.", _FILM),
    CommandEntry("ref", "assetforge.cli.ref:app", "References: add, list, show, set, exclude, restore.", _FILM),
    CommandEntry(
        "watch", "assetforge.cli.watch:app", "Watch folders, take in what lands there, train again by rules.", _FILM
    ),
    CommandEntry(
        "activity", "assetforge.cli.activity:activity", "What happened to the film, who did it, and why.", _FILM
    ),
    CommandEntry("serve", "assetforge.cli.serve:serve", "The terminal program in a browser, behind a token.", _FILM),
    CommandEntry("caption", "assetforge.cli.caption:app", "Captions: set, list, replace, tag, trigger, undo.", _FILM),
    CommandEntry("dataset", "assetforge.cli.dataset:app", "Dataset versions: freeze, list, show, diff, export.", _FILM),
    CommandEntry(
        "train", "assetforge.cli.train:train", "Train a LoRA of an asset on its newest dataset version.", _TRAIN
    ),
    CommandEntry(
        "sweep", "assetforge.cli.sweep:sweep", "Train a small grid of parameters, and rank what comes of it.", _TRAIN
    ),
    CommandEntry("base", "assetforge.cli.base:app", "Base models: add, list, show, remove.", _TRAIN),
    CommandEntry(
        "run", "assetforge.cli.run:app", "Runs: list, show, progress, logs, stop, resume, priority, cancel.", _TRAIN
    ),
    CommandEntry("recipe", "assetforge.cli.recipe:app", "Recipes: list, show.", _TRAIN),
    CommandEntry("work", "assetforge.cli.work:work", "Run the queue of a film.", _TRAIN),
    CommandEntry("jobs", "assetforge.cli.jobs:app", "The queue: list, show, cancel, retry, priority, logs.", _TRAIN),
    CommandEntry(
        "service", "assetforge.cli.service:app", "A systemd unit for the film: install, remove, status, print.", _TRAIN
    ),
    CommandEntry(
        "version", "assetforge.cli.version:app", "LoRA versions: list, show, history, publish, import.", _REVIEW
    ),
    CommandEntry("suite", "assetforge.cli.suite:app", "Regression suites: list, show, add.", _REVIEW),
    CommandEntry("metric", "assetforge.cli.metric:app", "Metrics: list.", _REVIEW),
    CommandEntry("render", "assetforge.cli.render:render", "Render a version through a suite.", _REVIEW),
    CommandEntry(
        "compare",
        "assetforge.cli.compare:compare",
        "Compare a version with its baseline and write a contact sheet.",
        _REVIEW,
    ),
    CommandEntry("review", "assetforge.cli.review:app", "Look at the worst pictures, vote blind.", _REVIEW),
    CommandEntry("approve", "assetforge.cli.review:approve", "Approve a version, with a reason.", _REVIEW),
    CommandEntry("reject", "assetforge.cli.review:reject", "Reject a version, with a reason.", _REVIEW),
    CommandEntry("alias", "assetforge.cli.alias:app", "Movable names of versions: set, log, at.", _REVIEW),
    CommandEntry(
        "rank", "assetforge.cli.rank:rank", "Rank versions, or the checkpoints of a run, against each other.", _REVIEW
    ),
    CommandEntry("calibrate", "assetforge.cli.calibrate:calibrate", "Measure what training again changes.", _REVIEW),
    CommandEntry(
        "drift", "assetforge.cli.drift:drift", "Make a few pictures again and say what changed since.", _REVIEW
    ),
    CommandEntry("fsck", "assetforge.cli.fsck:fsck", "Check that everything the film owns is there and whole.", _KEEP),
    CommandEntry("gc", "assetforge.cli.gc:gc", "Remove what nothing refers to any more.", _KEEP),
    CommandEntry("backup", "assetforge.cli.backup:backup", "Copy a film, consistently, while it is in use.", _KEEP),
    CommandEntry("restore", "assetforge.cli.backup:restore", "Make a film from a backup, verified.", _KEEP),
    CommandEntry("doctor", "assetforge.cli.doctor:doctor", "Check the installation, the plugins and the film.", _KEEP),
    CommandEntry(
        "settings",
        "assetforge.cli.settings:app",
        "Settings of the film and your own: list, show, set, unset, path.",
        _KEEP,
    ),
    CommandEntry("notify", "assetforge.cli.notify:app", "Notifications: test, list.", _KEEP),
    CommandEntry("plugin", "assetforge.cli.plugin:app", "Plugins: list, trust, disable, enable.", _KEEP),
    CommandEntry(
        "completion", "assetforge.cli.completion:completion", "Print the completion script of a shell.", _KEEP
    ),
)

GLOBAL_OPTIONS = """\
Everywhere:
  --project, -p NAME   the film: its name or folder; by default the one around the current folder, or the only one
  --json               one JSON document on stdout instead of text
  --quiet, -q          no progress on stderr
  --help, -h           help for a command, such as `assetforge train --help`
"""


def overview() -> str:
    """The text of ``assetforge --help``."""
    lines = ["assetforge: continuous integration for a film's LoRAs.", "", "Usage: assetforge COMMAND ...", ""]
    for group in dict.fromkeys(entry.group for entry in COMMANDS):
        lines.append(f"{group}:")
        lines += [f"  {entry.name:<11} {entry.help}" for entry in COMMANDS if entry.group == group]
        lines.append("")
    lines.append(GLOBAL_OPTIONS)
    lines.append(
        "New here? `assetforge demo` makes a small film and takes it through the whole loop. Plugins may add commands: `assetforge plugin list`.\n"
    )
    return "\n".join(lines)
