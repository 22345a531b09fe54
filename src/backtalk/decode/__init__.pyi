from .base import Decoder as Decoder
from .base import DecoderBase as DecoderBase
from .base import DecoderOutput as DecoderOutput
from .base import get_decoder as get_decoder
from .base import register_decoder as register_decoder
from .best_of_n import BestOfN as BestOfN
from .sample import Sample as Sample
