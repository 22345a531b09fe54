"""Storage of interactions and feedback, in SQLite by default or in PostgreSQL by URL."""

from backtalk.store.documents import DocumentStore
from backtalk.store.event_log import EventLog, LogEntry
from backtalk.store.inserts import AddResult
from backtalk.store.purge import PurgeResult
from backtalk.store.store import Store

__all__ = ["AddResult", "DocumentStore", "EventLog", "LogEntry", "PurgeResult", "Store"]
