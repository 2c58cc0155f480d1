"""Alembic environment and revisions; run by :mod:`assetforge.db.migrate`."""
