"""Fill the generated parts of docs/plugins.md (the table of hooks, the table of specs, the quotes from plugins/assetforge-example) and of docs/tui.md (the table of actions).

``python docs/generate.py`` rewrites the files; a test compares them. A generated part stands between ``<!-- begin: WHAT -->`` and ``<!-- end -->``.
"""

import ast
import dataclasses
import inspect
import re
from pathlib import Path

from assetforge.api import HookSpecs, specs
from assetforge.tui.actions import ACTIONS

ROOT = Path(__file__).resolve().parent.parent
GUIDES = (ROOT / "docs" / "plugins.md", ROOT / "docs" / "tui.md")
_PART = re.compile(r"(<!-- begin: (?P<what>[^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def hooks() -> str:
    """One row per hook, from the signatures and docstrings of the hook specifications."""
    rows = ["| hook | returns | what it is for |", "|---|---|---|"]
    for name, hook in vars(HookSpecs).items():
        if name.startswith("_"):
            continue
        signature = inspect.signature(hook)
        arguments = ", ".join(argument for argument in signature.parameters if argument != "self")
        returned = re.search(r"specs\.(\w+)", str(signature.return_annotation))
        gives = f"list of `{returned[1]}`" if returned else "nothing"
        rows.append(f"| `{name}({arguments})` | {gives} | {inspect.getdoc(hook)} |")
    return "\n".join(rows) + "\n"


def spec_fields() -> str:
    """One row per spec: what it describes, and its fields with their defaults."""
    rows = ["| spec | what it describes | fields |", "|---|---|---|"]
    for name in specs.__all__:
        spec = getattr(specs, name)
        about = (inspect.getdoc(spec) or "").split("\n\n")[0].replace("\n", " ")
        about = re.sub(r":class:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", about).replace("``", "`")
        rows.append(f"| `{name}` | {about} | {', '.join(_field(entry) for entry in dataclasses.fields(spec))} |")
    return "\n".join(rows) + "\n"


def _field(entry: "dataclasses.Field[object]") -> str:
    if entry.default is dataclasses.MISSING:
        return f"`{entry.name}`" if entry.default_factory is dataclasses.MISSING else f"`{entry.name}={{}}`"
    shown = entry.default.__name__ if isinstance(entry.default, type) else repr(entry.default)
    return f"`{entry.name}={shown}`"


def quote(place: str) -> str:
    """A file, or with ``FILE NAME`` one class, function or assignment of it, as a code block."""
    name, _, symbol = place.partition(" ")
    path = ROOT / name
    text = path.read_text("utf-8")
    if symbol:
        text = _symbol(text, symbol)
    language = {".py": "python", ".toml": "toml"}.get(path.suffix, "text")
    return f"```{language}\n{text.rstrip()}\n```\n"


def _symbol(text: str, symbol: str) -> str:
    for node in ast.parse(text).body:
        names = {getattr(node, "name", "")}
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if symbol in names:
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
            return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    raise LookupError(f"There is no {symbol} to quote.")


def actions() -> str:
    """One row per action of the terminal program."""
    rows = ["| action | keys | what it does | command line |", "|---|---|---|---|"]
    for one in ACTIONS:
        keys = ", ".join(f"`{key}`" for key in one.keys.split(",") if key)
        rows.append(f"| `{one.id}` | {keys} | {one.title} | `{one.twin}` |")
    return "\n".join(rows) + "\n"


def filled(text: str) -> str:
    """The guide with every generated part made anew."""

    def part(match: re.Match[str]) -> str:
        what = match["what"]
        tables = {"hooks": hooks, "specs": spec_fields, "actions": actions}
        made = tables[what]() if what in tables else quote(what)
        return f"{match[1]}{made}{match[3]}"

    return _PART.sub(part, text)


if __name__ == "__main__":
    for guide in GUIDES:
        guide.write_text(filled(guide.read_text("utf-8")), "utf-8")
