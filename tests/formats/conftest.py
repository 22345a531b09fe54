"""Stores in SQLite and PostgreSQL: the fixtures of the tests of the store."""

from tests.store.conftest import location, postgres, postgres_database, store

__all__ = ["location", "postgres", "postgres_database", "store"]
