"""Gateway: an OpenAI-compatible server that stores its answers and takes feedback on them.

Needs ``backtalk[serve]``. See docs/serve.md.
"""

import importlib.util

from backtalk.errors import MissingExtra

if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
    raise MissingExtra.named("serve", "The gateway")

from backtalk.serve.app import create_app
from backtalk.serve.settings import Limits, RetryPolicy, Settings, UpstreamSettings

__all__ = ["Limits", "RetryPolicy", "Settings", "UpstreamSettings", "create_app"]
