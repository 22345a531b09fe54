"""Stores in SQLite and PostgreSQL, as in the tests of the store."""

from tests.store.conftest import location, postgres, postgres_database, store

__all__ = ["location", "postgres", "postgres_database", "store"]
