"""Client of a gateway: sends feedback from the application that received the answers.

>>> from backtalk.client import Client
>>> client = Client("http://localhost:8080/v1", api_key="bt-...")
"""

from backtalk.client.client import AsyncClient, Client
from backtalk.client.protocol import SendError, SendResult
from backtalk.client.wrap import wrap

__all__ = ["AsyncClient", "Client", "SendError", "SendResult", "wrap"]
