"""Building blocks of the tables: named constraints, checked text states, UTC times."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import CheckConstraint
from sqlmodel import SQLModel

__all__ = ["one_of", "utc_now"]

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def one_of(column: str, values: Sequence[str]) -> CheckConstraint:
    """A named CHECK that a text column holds one of ``values``; table models validate nothing by themselves."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")
