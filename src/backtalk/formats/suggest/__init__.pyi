from .mapping import explain_placeholders as explain_placeholders
from .mapping import suggest_line as suggest_line
from .mapping import suggest_mapping as suggest_mapping
