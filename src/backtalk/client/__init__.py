"""Client of a gateway: sends feedback from the application that received the answers.

>>> from backtalk.client import Client
>>> client = Client("http://localhost:8080/v1", api_key="bt-...")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
