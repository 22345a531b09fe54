"""Label Studio's labelled spans of texts, dialogues and HTML, as spans of a response."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backtalk.formats.fields import Fields
from backtalk.formats.importers.annotation_spans import is_at
from backtalk.formats.importers.annotation_texts import Texts
from backtalk.formats.offsets import OffsetUnit

_LABELS = ("labels", "hypertextlabels", "paragraphlabels")


def label_key(value: Mapping[str, Any]) -> str | None:
    """Return the name of the labels of a marked text, ``None`` if it is none."""
    return next((name for name in _LABELS if name in value and "start" in value), None)


@dataclass(frozen=True)
class Mark:
    """Marked part of a response."""

    response: str | None
    """Id of the response; ``None`` if the question decides."""
    spans: list[dict[str, Any]]
    """Spans with the same offsets, one for each label."""


class MarkReader:
    """Reader of labelled spans.

    Parameters
    ----------
    data : Mapping[str, Any]
        Data of the task.
    texts : Texts
        Prompt and responses in it.
    about : Mapping[str, str]
        Response that questions are about, as the caller named it.
    unit : {"code-points", "utf-16", "utf-8"} or None
        Unit of offsets, ``None`` if it is not known.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        texts: Texts,
        about: Mapping[str, str],
        unit: OffsetUnit | None,
    ) -> None:
        self._data = data
        self._texts = texts
        self._about = about
        self._unit = unit
        self.names = texts.names
        """Ids of the responses."""

    def read(self, result: Fields, comment: str) -> Mark | None:
        """Return a marked part of a response, ``None`` if it is in the prompt.

        Parameters
        ----------
        result : Fields
            Result with a ``value`` that has labels and offsets.
        comment : str
            Comment on the part, which may be empty.

        Raises
        ------
        RecordError
            If it is not clear which text is marked.
        """
        value = result.object("value")
        labels = value.array(label_key(value.data) or _LABELS[0]) or [result.text("from_name")]
        question = result.text("from_name")
        response = self._about.get(question) or self.response_of(result)
        if response is None and self._names_prompt(result):
            return None
        if "startOffset" in value:
            mark = self._turn_offsets(value) if _is_index(value) else self._html_offsets(value)
        else:
            mark = Fields(value.select("start", "end", "text"), value.path)
        if mark is not None and response is None:
            response = self._marked_response(question, mark)
        if mark is None or response is None:
            return None
        details = {"comment": comment} if comment else {}
        return Mark(response, [{**mark.data, "label": str(label), **details} for label in labels])

    def response_of(self, result: Fields) -> str | None:
        """Return the response that a result names, ``None`` if it names none."""
        to_name = str(result.data.get("to_name"))
        for name in (str(result.data.get("source")).removeprefix("$"), to_name):
            if name in self.names:
                return name
        number = re.search(r"\d+$", to_name)
        same = [name for name in self.names if number and _ends_with(name, number[0])]
        return same[0] if len(same) == 1 and len(self.names) > 1 else None

    def _names_prompt(self, result: Fields) -> bool:
        names = (str(result.data.get("source")).removeprefix("$"), result.data.get("to_name"))
        return any(name in self._texts.prompt_fields for name in names)

    def _turn_offsets(self, value: Fields) -> Fields | None:
        """Return the offsets within the last turn, ``None`` if another turn is marked."""
        turns = self._data.get(self._texts.prompt_fields[0])
        if not self._texts.is_dialogue or not isinstance(turns, list):
            raise value.error("startOffset", "marks in a response of several turns are not read")
        if {str(value.data.get("start")), str(value.data.get("end"))} != {str(len(turns) - 1)}:
            return None
        start, end = value.integer("startOffset"), value.integer("endOffset")
        return Fields({**value.select("text"), "start": start, "end": end}, value.path)

    def _html_offsets(self, value: Fields) -> Fields:
        """Return the offsets of a text in HTML, where it stands once, or those in the document."""
        marked = value.optional_text("text")
        places = [
            (response.text.index(marked), response.text.count(marked))
            for response in self._texts.responses
            if marked and marked in response.text
        ]
        if marked is not None and [count for _, count in places] == [1]:
            start = places[0][0]
            data = {"start": start, "end": start + len(marked), "text": marked}
            return Fields(data, value.path)
        offsets = value.object("globalOffsets")
        return Fields({**offsets.select("start", "end"), **value.select("text")}, offsets.path)

    def _marked_response(self, question: str, mark: Fields) -> str | None:
        """Return the response that has the marked text at its offsets, ``None`` for the prompt."""
        if mark.data.get("text"):
            at = [item.id for item in self._texts.responses if is_at(item.text, mark, self._unit)]
            if len(at) == 1:
                return at[0]
            prompts = [message.text for message in self._texts.prompt]
            if not at and any(is_at(text, mark, self._unit) for text in prompts):
                return None
        elif self._texts.is_dialogue:
            return self.names[0]
        raise mark.error(
            "text",
            "it is not clear which text is marked",
            f"Name its field with the option about={question}=FIELD",
        )


def _is_index(value: Fields) -> bool:
    """Return true if a mark is in a dialogue, whose turns are numbered."""
    return str(value.data.get("start")).isdigit()


def _ends_with(name: str, number: str) -> bool:
    return re.search(rf"(?<!\d){number}$", name) is not None
