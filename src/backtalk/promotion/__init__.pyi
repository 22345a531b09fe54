from .gate import Gate as Gate
from .gate import GateRefused as GateRefused
from .history import Promotion as Promotion
from .history import PromotionRecord as PromotionRecord
from .history import active_policy as active_policy
from .history import promotion_history as promotion_history
from .promotion import promote as promote
from .promotion import rollback as rollback
