"""Words that say little about the kind of a request."""

from __future__ import annotations

_FUNCTION_WORDS_TEXT = """
a about above after again against all also always am an and another any anyone anything are as
at be because been before being below between both but by can could did do does doesn't doing
don't done down during each either else ever every everyone everything everywhere few for from
further get gets got had has have having he her here hers him his how i i'd i'll i'm i've if in
into is isn't it it's its itself just let like may me might mine more most much must my myself
n't near need needs no nor of off on once one only or other our ours out over own please shall
she should so some someone something such than that the their theirs them then there these they
this those through to too under until up us use used very via want wants was we were what when
whenever where wherever whether which while who whom whose why will with would you your yours
yourself
"""
_GENERAL_WORDS_TEXT = """
answer ask case chat conversation draft email give help involve kind letter mail make mention
message note people prompt question reply request response sort talk task tell text thing topic
type work write writing
"""
_UNSPECIFIC_WORDS_TEXT = """
answer ask case chat conversation everywhere involve kind make people prompt question reply
request response sort talk task text thing topic work
"""
_ALL_WORDS_TEXT = """
all always any anything each every everything everywhere whenever
"""

FUNCTION_WORDS = frozenset(_FUNCTION_WORDS_TEXT.split())
"""Words without content. The list of scikit-learn also has words such as "bill", "fire" and
"system", which conditions are about."""

GENERAL_WORDS = frozenset(_GENERAL_WORDS_TEXT.split())
"""Stems of words for any kind of request."""

UNSPECIFIC_WORDS = frozenset(_UNSPECIFIC_WORDS_TEXT.split())
"""Those of them that name no kind."""

ALL_WORDS = frozenset(_ALL_WORDS_TEXT.split())
"""Words for all requests of a kind."""
