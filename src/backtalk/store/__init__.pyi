from .documents import DocumentStore as DocumentStore
from .event_log import EventLog as EventLog
from .event_log import LogEntry as LogEntry
from .inserts import AddResult as AddResult
from .purge import PurgeResult as PurgeResult
from .store import Store as Store
