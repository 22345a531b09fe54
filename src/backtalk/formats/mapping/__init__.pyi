from .reader import mapping_format as mapping_format
from .table import RowMapping as RowMapping
