"""Where interactions and feedback are kept: SQLite by default, PostgreSQL by URL."""

from backtalk.store.inserts import Added
from backtalk.store.journal import DocumentStore, EventLog, LogEntry
from backtalk.store.purge import Purged
from backtalk.store.store import Store

__all__ = ["Added", "DocumentStore", "EventLog", "LogEntry", "Purged", "Store"]
