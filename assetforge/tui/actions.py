"""Every action of the TUI: its id (which keymaps use), its keys, the sentence in the palette and in the help, and the command that does the same.

An action ``film.train`` of scope ``film`` calls the method ``action_train`` of the screen or widget that takes its bindings from ``bindings("film")``; those of scope ``app``
call methods of the App.
"""

from typing import NamedTuple

from textual.binding import Binding

__all__ = ["ACTIONS", "Action", "actions_of", "bindings"]


class Action(NamedTuple):
    """Something a person can do.

    Attributes:
        id: ``scope.name``; the binding id.
        keys: Comma-separated keys; empty is reachable through the palette alone.
        label: One or two words for the footer.
        title: A sentence for palette and help.
        twin: The command line that does or shows the same.
        footer: Whether it stands in the footer.
    """

    id: str
    keys: str
    label: str
    title: str
    twin: str
    footer: bool = False

    @property
    def scope(self) -> str:
        """The screen or pane that it belongs to."""
        return self.id.partition(".")[0]

    @property
    def method(self) -> str:
        """The name of its action as Textual calls it."""
        name = self.id.partition(".")[2].replace("-", "_")
        return f"app.{name}" if self.scope == "app" else name


_A = Action

ACTIONS: tuple[Action, ...] = (
    # everywhere
    _A("app.palette", "ctrl+p", "everything", "Find an action, an asset, a version or a run.", "assetforge --help", footer=True),
    _A("app.keys", "question_mark,f1", "help", "Help for what is focused, with every key.", "assetforge COMMAND --help"),
    _A("app.jump", "g", "jump", "Jump to a place on the screen by its letter.", "assetforge --help"),
    _A("app.back", "escape", "back", "Go back.", "assetforge --help"),
    _A("app.leave", "q,ctrl+q", "quit", "Quit; jobs go on.", "assetforge --help"),
    _A("app.films", "f2", "films", "Show all films.", "assetforge project list"),
    _A("app.film", "f3", "assets", "Show the film's assets.", "assetforge asset list"),
    _A("app.runs", "r,f4", "runs", "Show runs and the queue.", "assetforge run list"),
    _A("app.watched", "w,f5", "watch", "Show watched folders and quarantine.", "assetforge watch status"),
    _A("app.shots", "f6", "shots", "Show the film's shots.", "assetforge project show"),
    _A("app.plugins", "f7", "plugins", "Show plugins.", "assetforge plugin list"),
    _A("app.settings", "f8", "settings", "Change settings.", "assetforge settings list"),
    _A("app.happened", "f9", "activity", "Show what happened to the film.", "assetforge activity"),
    _A("app.lights", "ctrl+t", "lights", "Turn the lights on or off: the dark or the light theme.", "assetforge settings set tui.theme daylight"),
    # films
    _A("films.open", "enter", "open", "Open the film.", "assetforge project show", footer=True),
    _A("films.new", "n", "new film", "Make a film.", "assetforge project new NAME", footer=True),
    _A("films.demo", "d", "demo film", "Make the demo film and take it through the whole loop.", "assetforge demo", footer=True),
    _A("films.filter", "slash", "filter", "Show only films with these words.", "assetforge project list", footer=True),
    # film
    _A("film.open", "enter", "open", "Open the asset.", "assetforge asset show ASSET", footer=True),
    _A("film.compare", "c", "compare", "Compare the newest version with the approved one.", "assetforge compare ASSET/vN", footer=True),
    _A("film.train", "t", "train", "Train the asset, or every marked one.", "assetforge train ASSET", footer=True),
    _A("film.import", "i", "import", "Import pictures from a folder as references of the asset.", "assetforge ref add ASSET PATH", footer=True),
    _A("film.new", "n", "new", "Add a character, prop or style.", "assetforge asset add NAME --type TYPE", footer=True),
    _A("film.filter", "slash", "filter", "Filter and search assets.", "assetforge asset list", footer=True),
    _A("film.freeze", "f", "freeze", "Freeze a dataset version of the asset, or of every marked one.", "assetforge dataset freeze ASSET", footer=True),
    _A("film.view", "v", "gallery/table", "Change between gallery and table.", "assetforge asset list"),
    _A("film.sort", "s", "sort", "Sort by the next column.", "assetforge asset list"),
    _A("film.keep-filter", "ctrl+s", "keep filter", "Keep the filter under a name in the left pane.", "assetforge asset list"),
    _A("film.edit", "e", "edit", "Change trigger, class word, description, recipe or suite.", "assetforge asset set ASSET"),
    _A("film.archive", "A", "archive", "Put the asset, or every marked one, aside or take it back.", "assetforge asset set ASSET --archived"),
    # asset
    _A("asset.tab-1", "1", "references", "Show references.", "assetforge ref list ASSET"),
    _A("asset.tab-2", "2", "captions", "Show captions.", "assetforge caption list ASSET"),
    _A("asset.tab-3", "3", "datasets", "Show dataset versions.", "assetforge dataset list ASSET"),
    _A("asset.tab-4", "4", "versions", "Show versions.", "assetforge version list ASSET"),
    _A("asset.tab-5", "5", "regression", "Show comparisons.", "assetforge version history ASSET"),
    _A("asset.tab-6", "6", "activity", "Show what happened to the asset.", "assetforge activity"),
    _A("asset.train", "t", "train", "Train the asset.", "assetforge train ASSET", footer=True),
    # references of an asset
    _A("references.import", "i", "import", "Import pictures from a file or folder.", "assetforge ref add ASSET PATH", footer=True),
    _A("references.exclude", "x", "exclude", "Exclude the marked references, with a reason.", "assetforge ref exclude ADDRESS --why WHY", footer=True),
    _A("references.restore", "u", "restore", "Take excluded references back.", "assetforge ref restore ADDRESS", footer=True),
    _A("references.hold-out", "h", "hold out", "Hold the marked references out of training, or let the split decide again.", "assetforge ref set ADDRESS --split held_out"),
    _A("references.rights", "R", "rights", "Note the rights of the marked references.", "assetforge ref set ADDRESS --rights TEXT"),
    _A("references.repeats", "n", "repeats", "Show the marked references more often per epoch.", "assetforge ref set ADDRESS --repeats N"),
    _A("references.crop", "C", "crop", "Choose the part of the marked references that is trained on.", "assetforge ref set ADDRESS --crop LEFT,TOP,RIGHT,BOTTOM"),
    _A("references.mask", "M", "mask", "Choose a mask for the marked references, or take it away.", "assetforge ref set ADDRESS --mask FILE"),
    _A("references.viewer", "enter,o", "viewer", "Open the picture in the system's viewer.", "assetforge ref show ADDRESS"),
    _A("references.caption", "e", "caption", "Edit the caption.", "assetforge caption set ADDRESS TEXT", footer=True),
    _A("references.filter", "slash", "filter", "Filter and search references.", "assetforge ref list ASSET", footer=True),
    _A("references.sort", "s", "sort", "Sort by the next column.", "assetforge ref list ASSET"),
    _A("references.view", "v", "gallery/table", "Change between gallery and table.", "assetforge ref list ASSET"),
    _A("references.freeze", "f", "freeze", "Freeze a dataset version of what is active now.", "assetforge dataset freeze ASSET", footer=True),
    # captions
    _A("captions.edit", "enter,e", "edit", "Edit the caption; enter saves and goes on to the next.", "assetforge caption set ADDRESS TEXT", footer=True),
    _A("captions.replace", "ctrl+f", "replace", "Find and replace in all or the marked captions.", "assetforge caption replace ASSET FIND WITH", footer=True),
    _A("captions.prefix", "p", "prefix", "Put words before all or the marked captions.", "assetforge caption prefix ASSET TEXT", footer=True),
    _A("captions.tag", "a", "add tag", "Add a tag to all or the marked captions, or remove one.", "assetforge caption tag ASSET TAG", footer=True),
    _A("captions.tags", "T", "tags", "Show how often each tag occurs; enter filters by it.", "assetforge caption tags ASSET", footer=True),
    _A("captions.trigger", "m", "trigger", "Write the trigger into all or the marked captions, or take it out of them.", "assetforge caption trigger ASSET"),
    _A("captions.undo", "ctrl+z,u", "undo", "Undo the last change of captions.", "assetforge caption undo ASSET", footer=True),
    _A("captions.redo", "ctrl+y,U", "redo", "Make the change again that was undone last.", "assetforge caption redo ASSET"),
    _A("captions.filter", "slash", "filter", "Filter captions.", "assetforge caption list ASSET"),
    _A("captions.history", "H", "history", "Show earlier captions of the reference.", "assetforge caption history ADDRESS"),
    # datasets
    _A("datasets.freeze", "f", "freeze", "Freeze a dataset version of what is active now.", "assetforge dataset freeze ASSET", footer=True),
    _A("datasets.diff", "enter,d", "difference", "Show what changed against the parent, or between two marked ones.", "assetforge dataset diff NEWER OLDER", footer=True),
    _A("datasets.export", "e", "export", "Export the dataset version to a folder.", "assetforge dataset export ADDRESS FOLDER", footer=True),
    # versions
    _A("versions.compare", "enter,c", "compare", "Compare with the approved version.", "assetforge compare ASSET/vN", footer=True),
    _A("versions.approve", "a", "approve", "Approve the version, with a reason.", "assetforge approve ASSET/vN --why WHY", footer=True),
    _A("versions.reject", "x", "reject", "Reject the version, with a reason.", "assetforge reject ASSET/vN --why WHY", footer=True),
    _A("versions.publish", "p", "publish", "Write the version to loras/ under a readable name.", "assetforge version publish ASSET/vN", footer=True),
    _A("versions.lineage", "l", "lineage", "Show what the version was made of.", "assetforge version show ASSET/vN", footer=True),
    _A("versions.alias", "A", "alias", "Give the version a name of your own.", "assetforge alias set NAME ASSET/vN"),
    _A("versions.import", "i", "import", "Import a LoRA file as a version.", "assetforge version import ASSET FILE"),
    _A("versions.render", "R", "render", "Render the version through its suite.", "assetforge render ASSET/vN"),
    # comparisons of an asset
    _A("regression.open", "enter", "open", "Open the comparison.", "assetforge review ASSET/vN", footer=True),
    _A("regression.report", "o", "report", "Write the report and open it.", "assetforge compare NEW BASE --report FILE", footer=True),
    _A("regression.more", "m", "more prompts", "Ask for more prompts, or for a comparison that is missing.", "assetforge compare NEW BASE", footer=True),
    # compare
    _A("compare.blink", "space,enter", "blink", "Blink between the two versions in place.", "assetforge review ASSET/vN", footer=True),
    _A("compare.left", "left,1", "left", "Blind: the left picture is better.", "assetforge review ASSET/vN --vote CELL=a", footer=True),
    _A("compare.right", "right,2", "right", "Blind: the right picture is better.", "assetforge review ASSET/vN --vote CELL=b", footer=True),
    _A("compare.same", "0", "same", "Blind: neither is better.", "assetforge review ASSET/vN --vote CELL=tie", footer=True),
    _A("compare.next", "n,down", "next", "Go to the next cell.", "assetforge review ASSET/vN", footer=True),
    _A("compare.approve", "a", "approve", "Approve the version, with a reason.", "assetforge approve ASSET/vN --why WHY", footer=True),
    _A("compare.reject", "x", "reject", "Reject the version, with a reason.", "assetforge reject ASSET/vN --why WHY", footer=True),
    _A("compare.difference", "d", "difference", "Show where the two pictures differ.", "assetforge compare NEW BASE --report FILE", footer=True),
    _A("compare.strengths", "s", "strengths", "Show the same cell at every strength.", "assetforge compare NEW BASE --report FILE", footer=True),
    _A("compare.blind", "v", "blind vote", "Vote without being told which version is which.", "assetforge review ASSET/vN --blind", footer=True),
    _A("compare.base", "b", "base", "Show the picture without a LoRA.", "assetforge compare NEW BASE --report FILE"),
    _A("compare.previous", "p,up", "previous", "Go to the cell before.", "assetforge review ASSET/vN"),
    _A("compare.weaker", "comma", "weaker", "Show the same prompt and seed at the next weaker strength.", "assetforge compare NEW BASE --report FILE"),
    _A("compare.stronger", "full_stop", "stronger", "Show the same prompt and seed at the next higher strength.", "assetforge compare NEW BASE --report FILE"),
    _A("compare.order", "o", "order", "Sort cells: worst first, or as they were planned.", "assetforge compare NEW BASE --json"),
    _A("compare.filter", "slash", "block", "Show only the cells of one block.", "assetforge compare NEW BASE --json"),
    _A("compare.figures", "f", "figures", "Show all figures, what limits the verdict and what was not measured.", "assetforge compare NEW BASE"),
    _A("compare.references", "j", "references", "Go to the references that were added.", "assetforge dataset diff NEWER OLDER"),
    _A("compare.viewer", "e", "viewer", "Open both pictures in the system's viewer.", "assetforge review ASSET/vN --out FOLDER"),
    _A("compare.blinking", "B", "blink alone", "Blink by itself, twice a second, or stop.", "assetforge review ASSET/vN"),
    _A("compare.more", "m", "more prompts", "Ask for more prompts.", "assetforge compare NEW BASE --more"),
    _A("compare.report", "R", "report", "Write the report and open it.", "assetforge compare NEW BASE --report FILE"),
    # runs
    _A("runs.follow", "enter", "follow", "Follow the run: curves, log, samples.", "assetforge run show N", footer=True),
    _A("runs.stop", "k", "stop and save", "Finish the step, save a checkpoint, stop.", "assetforge run stop N", footer=True),
    _A("runs.cancel", "K", "cancel", "Cancel the job.", "assetforge jobs cancel N", footer=True),
    _A("runs.resume", "R", "resume", "Go on from the last checkpoint, or try again.", "assetforge run resume N", footer=True),
    _A("runs.raise", "plus", "priority", "Let it run earlier.", "assetforge jobs priority N P", footer=True),
    _A("runs.lower", "minus", "later", "Let it run later.", "assetforge jobs priority N P"),
    _A("runs.new", "n", "new run", "Start a run from a form.", "assetforge train ASSET", footer=True),
    _A("runs.logs", "l", "log", "Show the log alone.", "assetforge run logs N"),
    _A("runs.samples", "s", "samples", "Show the pictures that the run makes.", "assetforge run progress N --json"),
    _A("runs.version", "v", "version", "Go to the version that the run made.", "assetforge run show N"),
    _A("runs.finished", "f", "finished", "Show or hide what is finished.", "assetforge jobs list"),
    # a new run
    _A("newrun.start", "ctrl+s", "start", "Start the run.", "assetforge train ASSET --recipe R --set k=v", footer=True),
    _A("newrun.recipe", "ctrl+e", "preset", "Choose another recipe.", "assetforge recipe list", footer=True),
    _A("newrun.reset", "ctrl+r", "reset", "Set the parameter back to the recipe's value.", "assetforge recipe show R", footer=True),
    # watch
    _A("watch.keep", "k", "keep", "Take the file, or every marked one, in although the film's rules hold it back.", "assetforge watch keep N", footer=True),
    _A("watch.retry", "r", "retry", "Read the file, or every marked one, again.", "assetforge watch retry N", footer=True),
    _A("watch.discard", "x", "discard", "Pass the file, or every marked one, over; it stays where it is.", "assetforge watch discard N", footer=True),
    _A("watch.move", "m", "move", "Take the file, or every marked one, in as a reference of another asset.", "assetforge watch move N --to ASSET", footer=True),
    _A("watch.start", "S", "watch", "Watch the film's folders from this program, or stop.", "assetforge watch", footer=True),
    _A("watch.accept", "A", "train", "Train what waits for a yes.", "assetforge watch accept ASSET", footer=True),
    # plugins
    _A("plugins.trust", "t", "trust", "Trust the film's own plugin with the code it has now, or no longer.", "assetforge plugin trust NAME", footer=True),
    _A("plugins.disable", "d", "disable", "Disable the plugin.", "assetforge plugin disable NAME", footer=True),
    _A("plugins.enable", "e", "enable", "Enable the plugin.", "assetforge plugin enable NAME", footer=True),
    # settings
    _A("settings.save", "ctrl+s", "save", "Save the setting.", "assetforge settings set KEY VALUE", footer=True),
    _A("settings.reset", "ctrl+r", "reset", "Set it back to its default.", "assetforge settings unset KEY", footer=True),
    _A("settings.where", "ctrl+e", "film/user", "Choose whether it is written for this film or for you.", "assetforge settings set KEY VALUE --where film", footer=True),
)  # fmt: skip

_BY_SCOPE: dict[str, list[Action]] = {}
for _action in ACTIONS:
    _BY_SCOPE.setdefault(_action.scope, []).append(_action)


def actions_of(scope: str) -> tuple[Action, ...]:
    """The actions of a screen or pane, in the order in which they are shown.

    Raises:
        KeyError: There is no such scope.
    """
    return tuple(_BY_SCOPE[scope])


def bindings(scope: str) -> list[Binding]:
    """The bindings of a screen or pane.

    Raises:
        KeyError: There is no such scope.
    """
    return [
        Binding(one.keys, one.method, one.label, show=one.footer, tooltip=one.title, id=one.id)
        for one in actions_of(scope)
        if one.keys
    ]
