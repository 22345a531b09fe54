from .client import AsyncClient as AsyncClient
from .client import Client as Client
from .protocol import SendError as SendError
from .protocol import SendResult as SendResult
from .wrap import wrap as wrap
