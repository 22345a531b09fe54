"""Sending feedback to a gateway, from the application that got the answers.

>>> from backtalk.client import Client
>>> client = Client("http://localhost:8080/v1", api_key="bt-...")
"""

from backtalk.client.client import AsyncClient, Client
from backtalk.client.protocol import NotSent, Sent
from backtalk.client.wrap import wrap

__all__ = ["AsyncClient", "Client", "NotSent", "Sent", "wrap"]
