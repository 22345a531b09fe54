from .change import MemoryChange as MemoryChange
from .entry import EntryKind as EntryKind
from .entry import MemoryEntry as MemoryEntry
from .listing import EntryPage as EntryPage
from .listing import EntryQuery as EntryQuery
from .memory import Memory as Memory
from .memory import OpenQuestion as OpenQuestion
from .spec import MemorySpec as MemorySpec
