from .across import JUDGED_KINDS as JUDGED_KINDS
from .across import pairs_across as pairs_across
from .registry import CONVERSIONS as CONVERSIONS
from .registry import Conversion as Conversion
from .registry import conversion as conversion
from .registry import conversions_to as conversions_to
from .registry import views as views
