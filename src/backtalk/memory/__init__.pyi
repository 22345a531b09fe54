from .entry import EntryKind as EntryKind
from .entry import MemoryEntry as MemoryEntry
from .spec import MemorySpec as MemorySpec
