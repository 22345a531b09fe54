"""Experiments on live traffic: arms, adaptive allocation, and decisions valid at any time.

The state of an experiment is a fold over its log: its events, the interactions that its arms
answered, and the feedback on them. No other state is stored, so that it can always be rebuilt.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
