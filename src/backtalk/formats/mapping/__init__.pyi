from .table import RowMapping as RowMapping
from .table import mapping_format as mapping_format
