"""Learning: methods that improve a policy from feedback."""

import lazy_loader

from backtalk.callable_package import make_callable

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

make_callable(__name__)
