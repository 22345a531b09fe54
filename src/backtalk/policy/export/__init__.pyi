from .export import ExportDtype as ExportDtype
from .export import ExportedPolicy as ExportedPolicy
from .export import ExportForm as ExportForm
from .export import export_policy as export_policy
