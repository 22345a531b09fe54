from .effects import EntryEffect as EntryEffect
from .effects import entry_effects as entry_effects
from .retirement import Retirement as Retirement
from .retirement import harmful_entries as harmful_entries
from .retirement import retire_harmful as retire_harmful
from .retirement import retire_in_project as retire_in_project
