"""How Alembic runs here: one SQLite file, one transaction for all pending revisions, foreign keys off while tables are rebuilt and checked afterwards."""

from typing import Any

from alembic import context
from sqlalchemy import create_engine, event, pool
from sqlmodel import SQLModel

from assetforge.db import models, models_jobs, models_review, models_watch
from assetforge.errors import StorageError

_TABLES = (models, models_jobs, models_review, models_watch)
"""Imported so that every table is in the metadata."""


def _ours(_object: Any, name: str | None, kind: str, _reflected: bool, _compare_to: Any) -> bool:
    """Full-text tables and their shadows are made by hand in revisions; autogenerate must not drop them."""
    return not (kind == "table" and name is not None and "_fts" in name)


def _run() -> None:
    engine = create_engine(
        f"sqlite:///{context.config.attributes['database']}", poolclass=pool.NullPool, connect_args={"timeout": 30}
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA foreign_keys=OFF")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=SQLModel.metadata,
            render_as_batch=True,
            transactional_ddl=True,
            include_object=_ours,
            compare_type=True,
            compare_server_default=True,
        )
        with context.begin_transaction():
            context.run_migrations()
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise StorageError(
                    f"The migration would leave {len(broken)} rows of {broken[0][0]!r} without what they refer to."
                )
    engine.dispose()


_run()
