"""The language of the filter line: ``type:character status:review -tag:rain "red coat" trained:<7d``.

Words must all match; ``field:value`` asks one field, ``a,b`` any of several values, a hyphen in front says not. Numbers and times take ``<``, ``<=``, ``>`` and ``>=``;
a time is an age (``30m``, ``12h``, ``7d``, ``2w``) or a date. Parsing never fails: what is not understood is left out and said in a sentence.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal

__all__ = [
    "ASSET_FIELDS",
    "REFERENCE_FIELDS",
    "Field",
    "FieldKind",
    "Search",
    "Term",
    "number_matches",
    "parse_search",
    "time_bounds",
]

FieldKind = Literal["text", "choice", "number", "time"]
"""What the values of a field are. All kinds may name fixed choices besides; ``choice`` has nothing else."""


@dataclass(frozen=True, slots=True)
class Field:
    """Something that can be asked.

    Attributes:
        kind: What its values are.
        means: What it asks, for people.
        choices: Fixed values; a beginning stands for all of them that begin so.
    """

    kind: FieldKind
    means: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One condition.

    Attributes:
        field: Name of the field; empty for a word, which may stand anywhere.
        values: What is looked for, any of them; choices are in full. Empty when ``operator`` says something.
        negated: The condition must not hold.
        operator: ``<``, ``<=``, ``>``, ``>=`` or ``=``, for numbers and times; else empty.
        number: What a number is compared with.
        age_s: Seconds before now that a time is compared with.
        day: Date that a time is compared with.
    """

    field: str = ""
    values: tuple[str, ...] = ()
    negated: bool = False
    operator: str = ""
    number: float | None = None
    age_s: float | None = None
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """What somebody asks for.

    Attributes:
        terms: Conditions that must all hold.
        problems: What was not understood, a sentence each; it is not among the terms.
    """

    terms: tuple[Term, ...] = ()
    problems: tuple[str, ...] = ()

    def of(self, field: str) -> tuple[Term, ...]:
        """The terms about one field."""
        return tuple(term for term in self.terms if term.field == field)


_YES_NO = ("yes", "no")

ASSET_FIELDS: Mapping[str, Field] = {
    "name": Field("text", "part of the name"),
    "type": Field("text", "beginning of the type, such as character"),
    "status": Field(
        "choice",
        "what the asset needs or does",
        ("running", "failed", "regressed", "review", "candidate", "approved", "waiting", "collecting"),
    ),
    "tag": Field("text", "word or tag in the captions of its references"),
    "trigger": Field("text", "part of the trigger word"),
    "refs": Field("number", "number of references in use"),
    "trained": Field("time", "when its newest version was trained", ("never",)),
    "changed": Field("time", "when anything about it changed"),
    "rights": Field("choice", "references without rights", ("none",)),
    "captions": Field("choice", "references without a caption", ("missing",)),
    "dataset": Field("number", "size of its newest dataset", ("none", "changed")),
    "approved": Field("choice", "whether it has an approved version", _YES_NO),
    "archived": Field("choice", "whether it is archived", (*_YES_NO, "any")),
}
"""What assets can be asked. Without ``archived``, archived ones are left out."""

REFERENCE_FIELDS: Mapping[str, Field] = {
    "tag": Field("text", "word or tag in the caption"),
    "caption": Field("text", "part of the caption", ("missing",)),
    "rights": Field("text", "part of the rights", ("none",)),
    "state": Field("choice", "whether it is in use", ("active", "excluded")),
    "split": Field("choice", "what it is used for", ("train", "held-out", "none")),
    "added": Field("time", "when it came"),
    "width": Field("number", "pixels"),
    "height": Field("number", "pixels"),
    "sharpness": Field("number", "sharpness of its best region"),
    "format": Field("text", "file format, such as png"),
    "origin": Field("text", "part of where it came from", ("none",)),
    "file": Field("text", "part of the file name"),
    "near": Field("choice", "whether near-duplicates of it are there", _YES_NO),
    "mask": Field("choice", "whether it has a mask", _YES_NO),
}
"""What references can be asked."""

_PIECE = re.compile(
    r"""-?(?P<bare>[A-Za-z_]+):(?=\s|$)|(?P<not>-)?(?:(?P<field>[A-Za-z_]+):)?(?P<value>(?:"[^"]*"?|[^\s"])+)"""
)
_PARTS = re.compile(r'((?:"[^"]*"?|[^,"])+)')
_COMPARISON = re.compile(r"(?P<operator><=|>=|<|>|=)?(?P<operand>.*)\Z", re.DOTALL)
_AGE = re.compile(r"(?P<count>\d{1,6}(?:\.\d{1,3})?)(?P<unit>[mhdw])\Z")
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,6})?\Z")
_TWINS = {"none": "missing", "missing": "none"}
"""Words for nothing; the other one is understood too."""

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_search(text: str, fields: Mapping[str, Field] = ASSET_FIELDS) -> Search:
    """Read a filter line, whatever it is: somebody is still typing.

    Args:
        text: The line.
        fields: What can be asked: :data:`ASSET_FIELDS` or :data:`REFERENCE_FIELDS`.
    """
    terms: list[Term] = []
    problems: list[str] = []
    for match in _PIECE.finditer(text):
        found = _piece(match, fields)
        if isinstance(found, Term):
            terms.append(found)
        elif found:
            problems.append(found)
    return Search(tuple(terms), tuple(dict.fromkeys(problems)))


def _piece(match: re.Match[str], fields: Mapping[str, Field]) -> Term | str:
    """A term, or what is wrong; nothing for what cannot be looked for, such as a lone hyphen."""
    if match["bare"]:
        name = match["bare"].lower()
        return _unknown(name, fields) if name not in fields else f"{name}: needs a value: {_expected(fields[name])}."
    negated, name = bool(match["not"]), (match["field"] or "").lower()
    value = match["value"]
    if not name:
        word = value.replace('"', "")
        return Term(values=(word,), negated=negated) if word.strip(" -") else ""
    if name not in fields:
        return _unknown(name, fields)
    field = fields[name]
    if field.kind in ("number", "time"):
        return _compared(name, field, value.replace('"', ""), negated)
    values = [part.replace('"', "").strip() for part in _PARTS.findall(value)]
    values = [part for part in values if part]
    if not values:
        return f"{name}: needs a value: {_expected(field)}."
    return _chosen(name, field, values, negated)


def _chosen(name: str, field: Field, values: list[str], negated: bool) -> Term | str:
    """A term of a field that holds text or one of a few choices."""
    found: list[str] = []
    for given in values:
        twin = _TWINS.get(given.lower(), "")
        value = twin if twin in field.choices else given
        if field.kind == "text":
            # Only the whole word: what begins like it may be meant as text.
            found.append(value.lower() if value.lower() in field.choices else value)
            continue
        beginning = [choice for choice in field.choices if choice.startswith(value.lower().replace("_", "-"))]
        if not beginning:
            return f"{name}:{value} is not known{_nearest(value, field.choices)}; it can be {_either(field.choices)}."
        found += beginning
    return Term(field=name, values=tuple(dict.fromkeys(found)), negated=negated)


def _compared(name: str, field: Field, value: str, negated: bool) -> Term | str:
    """A term of a number or a time."""
    if value.lower() in field.choices:
        return Term(field=name, values=(value.lower(),), negated=negated)
    match = _COMPARISON.match(value)
    operand = match["operand"].strip() if match else ""
    operator = (match["operator"] if match else "") or "="
    if not operand:
        return f"{name}: needs a value: {_expected(field)}."
    if field.kind == "number":
        if _NUMBER.match(operand):
            return Term(field=name, negated=negated, operator=operator, number=float(operand))
        return f"{name}:{value} is no number; write {_expected(field)}."
    age = _AGE.match(operand)
    if age:
        # An age alone means the time since then.
        operator = "<" if operator == "=" else operator
        return Term(field=name, negated=negated, operator=operator, age_s=float(age["count"]) * _UNITS[age["unit"]])
    try:
        return Term(field=name, negated=negated, operator=operator, day=date.fromisoformat(operand))
    except ValueError:
        return f"{name}:{value} is no time; write {_expected(field)}."


def _expected(field: Field) -> str:
    listed = _either(field.choices)
    if field.kind == "number":
        return f"a comparison such as >10{f', or {listed}' if listed else ''}"
    if field.kind == "time":
        return f"an age such as <7d, or a date such as >2026-11-01{f', or {listed}' if listed else ''}"
    if field.kind == "text":
        return f"{field.means}{f', or {listed}' if listed else ''}"
    return listed


def _unknown(name: str, fields: Mapping[str, Field]) -> str:
    return f"There is no field {name}:{_nearest(name, tuple(fields), ':')}; there are {', '.join(fields)}."


def _nearest(value: str, known: tuple[str, ...], end: str = "") -> str:
    found = difflib.get_close_matches(value.lower(), known, n=1, cutoff=0.6)
    return f", did you mean {found[0]}{end}" if found else ""


def _either(choices: tuple[str, ...]) -> str:
    if len(choices) < 2:
        return "".join(choices)
    return f"{', '.join(choices[:-1])} or {choices[-1]}"


def number_matches(term: Term, value: float) -> bool:
    """Whether a number fulfils the comparison of a term; ``negated`` is for the caller."""
    wanted = term.number or 0.0
    return {
        "<": value < wanted,
        "<=": value <= wanted,
        ">": value > wanted,
        ">=": value >= wanted,
        "=": value == wanted,
    }.get(term.operator, False)


def time_bounds(term: Term, now: datetime) -> tuple[datetime | None, datetime | None]:
    """From when (that moment included) until when (excluded) a time fulfils the comparison of a term.

    Args:
        term: A term with an age or a date. ``<7d`` is younger than seven days, ``>2026-11-01`` is after that day.
        now: The present, with the time zone in which dates are meant.
    """
    if term.age_s is not None:
        try:
            moment = now - timedelta(seconds=term.age_s)
        except OverflowError:
            moment = datetime(1, 1, 2, tzinfo=now.tzinfo)
        return (moment, None) if term.operator in ("<", "<=", "=") else (None, moment)
    if term.day is None:
        return None, None
    begin = datetime.combine(term.day, time.min, tzinfo=now.tzinfo)
    end = begin + timedelta(days=1) if term.day < date.max else begin
    return {"<": (None, begin), "<=": (None, end), ">": (end, None), ">=": (begin, None)}.get(
        term.operator, (begin, end)
    )
