"""Memory: entries that a policy recalls when it answers, with their scope and measured effect."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
