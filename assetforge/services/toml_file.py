"""Changing single values of a TOML file that people edit by hand: comments, order and layout stay as they are."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from assetforge.durable import locked, storage_error, write_atomic
from assetforge.errors import BusyError, ConfigError

__all__ = ["MISSING", "change_values", "parse_toml", "read_text", "value_at"]

T = TypeVar("T")
Key = tuple[str, ...]
"""A key in its parts."""


class _Missing:
    """Says that a file does not hold a key."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()

_HEADER = re.compile(r"^\s*\[")
_COMMENT = re.compile(r"^\s*#")


def read_text(path: Path) -> str:
    """The text of a settings file, line ends as they are.

    Raises:
        ConfigError: It cannot be read, or is no UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", hint="Restore it from a backup, or check its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}).", hint="Save the file as UTF-8.") from error


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """What the text of a file says.

    Raises:
        ConfigError: It is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.", hint="Correct that line.") from error


def value_at(values: Mapping[str, Any], key: Key) -> Any:
    """What stands at a key, or :data:`MISSING`."""
    found: Any = values
    for part in key:
        if not isinstance(found, Mapping) or part not in found:
            return MISSING
        found = found[part]
    return found


def change_values(
    path: Path,
    changes: Mapping[Key, Any],
    check: Callable[[str], T],
    *,
    lock: Path,
    expected: Mapping[Key, Any] | None = None,
    new: str | None = None,
) -> T:
    """Change values of a file in one step, or nothing at all.

    Args:
        path: The file; where it is a link, what it points to is written.
        changes: Values by key; ``None`` removes one. A table is merged into the one that is there, so that comments in it stay.
        check: Gets the text that would be written, and raises when it cannot be used.
        lock: Held meanwhile by everybody who changes the file through this function.
        expected: What whoever decided saw at a key; somebody may have changed the file since.
        new: The text to begin with when there is no file; ``None`` says that there has to be one.

    Returns:
        What ``check`` made of the new text.

    Raises:
        ConfigError: The file is broken, or ``check`` says no; the file is untouched then.
        BusyError: Somebody else changed the file meanwhile; it is untouched.
        StorageError: The file cannot be written.
    """
    with locked(lock):
        target = path.resolve()
        before = _bytes(target) if new is not None else read_text(path).encode()
        text = new if before is None else _decoded(before, path)
        assert text is not None  # noqa: S101 - without a file there is ``new``
        values = parse_toml(text, path)
        for key, seen in (expected or {}).items():
            now = value_at(values, key)
            if now != seen:
                raise BusyError(
                    f"{path} was changed meanwhile: {'.'.join(key)} is {now!r} there now; nothing was written.",
                    hint="Look at it again, then repeat the change.",
                )
        for key, value in _leaves(changes, values):
            text = _changed(text, key, value, path)
        result = check(text)
        if text.encode() == before:
            return result
        # Editors take no lock; what somebody saved since it was read must not be lost.
        if _bytes(target) != before:
            raise BusyError(
                f"{path} was changed meanwhile by another program; nothing was written.",
                hint="Look at it again, then repeat the change.",
            )
        write_atomic(target, text.encode(), mode=_mode(target))
    return result


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, path, "read") from error


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}).", hint="Save the file as UTF-8.") from error


def _mode(path: Path) -> int:
    """The permissions a file has; a new one of the user's own is nobody else's business."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return 0o600


def _leaves(changes: Mapping[Key, Any], values: Mapping[str, Any]) -> list[tuple[Key, Any]]:
    """The changes value by value: of a table only what differs from the one that is there."""
    leaves: list[tuple[Key, Any]] = []
    for key, value in changes.items():
        now = value_at(values, key)
        if isinstance(value, Mapping) and (isinstance(now, Mapping) or now is MISSING):
            old: Mapping[str, Any] = now if isinstance(now, Mapping) else {}
            leaves += _leaves({(*key, name): None for name in old if value.get(name) is None}, values)
            leaves += _leaves({(*key, name): one for name, one in value.items() if one is not None}, values)
        elif (
            now is not MISSING
            if value is None
            else now != value or isinstance(now, bool) is not isinstance(value, bool)
        ):
            leaves.append((key, value))
    return leaves


def _changed(text: str, key: Key, value: Any, path: Path) -> str:
    values = parse_toml(text, path)
    for depth in range(1, len(key)):
        if not isinstance(value_at(values, key[:depth]), Mapping | _Missing):
            raise ConfigError(
                f"{path}: {'.'.join(key[:depth])} in {'.'.join(key)!r} is a value, not a section.",
                hint="Correct the key.",
            )
    if value is not None and value_at(values, key) is MISSING:
        placed = _placed(text, key, value)
        # The place is found by the look of lines; where that fails, as in strings of many lines, the library finds another one.
        if _means(placed, _with(values, key, value)):
            return placed
    return _through_library(text, key, value)


def _with(values: Mapping[str, Any], key: Key, value: Any) -> dict[str, Any]:
    first, *rest = key
    inner = values.get(first, {})
    return {**values, first: _with(inner, tuple(rest), value) if rest else value}


def _means(text: str, values: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == values
    except tomllib.TOMLDecodeError:
        return False


def _through_library(text: str, key: Key, value: Any) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    table: Any = document
    for part in key[:-1]:
        if part not in table:
            if value is None:
                return text
            table[part] = tomlkit.table()
        table = table[part]
    if value is None:
        table.pop(key[-1], None)
    else:
        table[key[-1]] = _item(value)
    return tomlkit.dumps(document)


def _item(value: Any) -> Any:
    """A value as the library writes it on one line."""
    import tomlkit

    if isinstance(value, Mapping):
        inline = tomlkit.inline_table()
        for name, one in value.items():
            if one is not None:
                inline.append(name, _item(one))
        return inline
    if isinstance(value, Sequence) and not isinstance(value, str):
        array = tomlkit.array()
        array.extend([_item(one) for one in value])
        return array
    return tomlkit.item(value)


def _placed(text: str, key: Key, value: Any) -> str:
    """The text with a new key where a person would write it: below the comment that shows it, else below the last value of its section, else in a new section."""
    import tomlkit

    end = "\r\n" if "\r\n" in text else "\n"
    line = f"{tomlkit.key(key[-1]).as_string()} = {_item(value).as_string()}{end}"
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    headers = [index for index, one in enumerate(lines) if _HEADER.match(one)]
    section = _section(lines, headers, key[:-1])
    if section is not None:
        lines.insert(_below(lines, *section, key[-1]), line)
        return "".join(lines)
    header = f"[{tomlkit.key(list(key[:-1])).as_string()}]{end}"
    parent = next(
        (found for depth in range(len(key) - 2, 0, -1) if (found := _section(lines, headers, key[:depth]))), None
    )
    if parent is None or parent[1] == len(lines):
        gap = [end] if lines and lines[-1].strip() else []
        return "".join([*lines, *gap, header, line])
    place = parent[1]
    while place > parent[0] and _COMMENT.match(lines[place - 1]):
        place -= 1
    return "".join([*lines[:place], header, line, end, *lines[place:]])


def _section(lines: Sequence[str], headers: Sequence[int], table: Key) -> tuple[int, int] | None:
    """First line after the header of a table, and the line of the next header."""
    if not table:
        return 0, headers[0] if headers else len(lines)
    wanted: Any = {}
    for part in reversed(table):
        wanted = {part: wanted}
    for number, index in enumerate(headers):
        if not lines[index].lstrip().startswith("[[") and _means(lines[index], wanted):
            return index + 1, headers[number + 1] if number + 1 < len(headers) else len(lines)
    return None


def _below(lines: Sequence[str], first: int, last: int, name: str) -> int:
    example = re.compile(rf"^\s*#\s*{re.escape(name)}\s*=")
    # Commented sections begin another table; what they show is no example of this one.
    stop = next((index for index in range(first, last) if re.match(r"^\s*#\s*\[", lines[index])), last)
    for index in range(first, stop):
        if example.match(lines[index]):
            return index + 1
    written = [index for index in range(first, last) if lines[index].strip() and not _COMMENT.match(lines[index])]
    return written[-1] + 1 if written else first
