"""Preferences between two plain texts, which most rows of an import are.

Their ids and JSON are made directly from the texts, which takes an eighth of the time of building
and writing the records.

>>> from backtalk.feedback import Response
>>> pair = make_text_pair("Open?", "Yes.", "No.", metadata={"split": "test"})
>>> pair.interaction.responses[1]
Response(id='1', text='No.', messages=(), reasoning=None, model=None, policy=None, sample=None, \
propensity=None, log_probability=None, prompt_version=None, prompt_propensity=None, memory=(), \
metadata={})
>>> pair.content() == pair.content()
True
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from math import isfinite
from typing import Any, cast

from pydantic_core import to_json

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.kinds import AnyFeedback, Preference
from backtalk.formats.content_ids import HUMAN, make_case, make_feedback, make_interaction
from backtalk.store.row_codec import PairContent

_INTERACTION_PARTS = b"4:user%d:%b9:responses1:0%d:%b0:1:1%d:%b0:"
"""Parts of the id of an interaction, each after its length, as ``content_id`` hashes them."""
_PROMPT_PARTS = b"4:user4:text%d:%b"
_FEEDBACK_PARTS = b"32:%b10:preference%b0:31:" + b'{"a":"0","b":"1","verdict":"a"}'


_Parts = tuple[str, str, str, dict[str, Any], Annotator]
"""Prompt, preferred text, other text, metadata of the interaction, annotator."""


class TextPair(Case):
    """Preference for the first of two texts. Its records are built when they are read.

    A changed copy, as ``dataclasses.replace`` makes it, is a plain ``Case``.
    """

    __slots__ = ("_case", "_parts")

    _parts: _Parts
    _case: Case | None

    def __new__(
        cls,
        interaction: Interaction,
        feedback: tuple[AnyFeedback, ...] = (),
        *,
        is_merged: bool = False,
    ) -> TextPair:
        """Return a plain case.

        Parameters
        ----------
        interaction : Interaction
            Interaction.
        feedback : tuple of feedback, default ()
            Feedback on it.
        is_merged : bool, default False
            As in :class:`~backtalk.feedback.case.Case`.
        """
        return cast("TextPair", Case(interaction, feedback, is_merged=is_merged))

    @classmethod
    def from_parts(cls, parts: _Parts) -> TextPair:
        """Build a pair of valid texts with JSON metadata; see :func:`make_text_pair`."""
        pair = object.__new__(cls)
        object.__setattr__(pair, "_parts", parts)
        object.__setattr__(pair, "_case", None)
        object.__setattr__(pair, "is_merged", False)
        return pair

    @property
    def prompt_text(self) -> str:
        """Text of the prompt."""
        return self._parts[0]

    @property
    def texts(self) -> tuple[str, str]:
        """Texts of the two responses."""
        return self._parts[1:3]

    @property
    def interaction(self) -> Interaction:
        """Interaction with the prompt and the two responses."""
        return self._built().interaction

    @property
    def feedback(self) -> tuple[AnyFeedback, ...]:
        """The preference."""
        return self._built().feedback

    def latest(self) -> Case:
        """Return the pair, as nothing supersedes its one preference."""
        return self

    def __eq__(self, other: object) -> bool:
        """Compare the records."""
        if not isinstance(other, Case):
            return NotImplemented
        return (self.interaction, self.feedback) == (other.interaction, other.feedback)

    __hash__ = Case.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the parts of a plain case, for pickling and copying."""
        return Case, (self.interaction, self.feedback)

    def content(self) -> PairContent:
        """Return the ids and the JSON of the records.

        Raises
        ------
        UnicodeEncodeError
            If a text has a lone surrogate, which JSON cannot hold.
        """
        prompt, chosen, rejected, metadata, annotator = self._parts
        a, b, c = prompt.encode(), chosen.encode(), rejected.encode()
        parts = _INTERACTION_PARTS % (len(a), a, len(b), b, len(c), c)
        id_ = blake2b(parts, digest_size=16).hexdigest()
        annotator_parts, annotator_json = (
            _HUMAN_CONTENT if annotator is HUMAN else _annotator_content(annotator)
        )
        parts = _FEEDBACK_PARTS % (id_.encode(), annotator_parts)
        feedback = blake2b(parts, digest_size=16).hexdigest()
        more = f',"metadata":{to_json(metadata).decode()}' if metadata else ""
        interaction_json = (
            f'{{"id":"{id_}","prompt":[{{"role":"user","content":{to_json(prompt).decode()}}}],'
            f'"responses":[{{"id":"0","text":{to_json(chosen).decode()}}},'
            f'{{"id":"1","text":{to_json(rejected).decode()}}}],"time":null{more}}}'
        )
        feedback_json = (
            f'{{"id":"{feedback}","interaction":"{id_}","annotator":{annotator_json},"time":null,'
            '"kind":"preference","a":"0","b":"1","verdict":"a","aspect":"overall"}'
        )
        prompt_key = blake2b(_PROMPT_PARTS % (len(a), a), digest_size=16).hexdigest()
        by, kind = annotator.id, annotator.kind
        return id_, prompt_key, interaction_json, feedback, feedback_json, by, kind

    def _built(self) -> Case:
        if self._case is None:
            case = _build_case(*self._parts)
            object.__setattr__(self, "_case", case)
            return case
        return self._case


def make_text_pair(
    prompt: str,
    chosen: str,
    rejected: str,
    *,
    metadata: dict[str, Any] | None = None,
    annotator: Annotator = HUMAN,
) -> Case:
    """Return the case of a preference for the first of two texts.

    Parameters
    ----------
    prompt : str
        Text of one user message.
    chosen : str
        Text of the preferred response, with the id ``"0"``.
    rejected : str
        Text of the other response, with the id ``"1"``.
    metadata : dict, optional
        Metadata of the interaction.
    annotator : Annotator, default an unknown person
        Annotator who prefers the first text.

    Raises
    ------
    ValidationError
        If a text or the metadata is not valid.
    """
    metadata = metadata or {}
    if chosen == rejected:  # the rows of a pair say that its texts differ
        return _build_case(prompt, chosen, rejected, metadata, annotator)
    try:
        # JSON cannot hold lone surrogates; the record says so when it is written.
        prompt.encode(), chosen.encode(), rejected.encode()
    except UnicodeEncodeError:
        return _build_case(prompt, chosen, rejected, metadata, annotator)
    if metadata and not _is_plain(metadata):
        return _build_case(prompt, chosen, rejected, metadata, annotator)
    return TextPair.from_parts((prompt, chosen, rejected, metadata, annotator))


def _build_case(
    prompt: str, chosen: str, rejected: str, metadata: dict[str, Any], annotator: Annotator
) -> Case:
    responses = [Response(id="0", text=chosen), Response(id="1", text=rejected)]
    interaction = make_interaction(prompt, responses, metadata=metadata)
    preference = make_feedback(Preference, interaction, annotator, a="0", b="1", verdict="a")
    return make_case(interaction, [preference])


def _is_plain(metadata: Mapping[str, Any]) -> bool:
    """Return true if all values are null, true, false, finite numbers or valid texts."""
    for name, value in metadata.items():
        kind = type(value)
        try:
            name.encode()
            if kind is str:
                value.encode()
        except UnicodeEncodeError:
            return False
        if kind not in _PLAIN_TYPES or (kind is float and not isfinite(value)):
            return False
    return True


_PLAIN_TYPES = frozenset({str, int, float, bool, type(None)})


def _annotator_content(annotator: Annotator) -> tuple[bytes, str]:
    """Return the parts of a feedback id for an annotator, and the annotator's JSON."""
    parts = (annotator.kind.encode(), annotator.id.encode("utf-8", "surrogatepass"))
    return b"".join(b"%d:%b" % (len(part), part) for part in parts), annotator.to_json()


_HUMAN_CONTENT = _annotator_content(HUMAN)
