"""Write the schema of a new SQLite store as the migrations make it; run it after a new one."""

from __future__ import annotations

from backtalk.store.migrations import SQLITE_SCHEMA, migrated_sqlite_schema

if __name__ == "__main__":
    SQLITE_SCHEMA.write_text(migrated_sqlite_schema(), encoding="utf-8")
