"""Label Studio's results, one for each control or marked region, as answers to questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from backtalk.formats.fields import Fields
from backtalk.formats.importers.annotation_answers import ToolAnswer
from backtalk.formats.importers.label_studio_layouts import Annotation
from backtalk.formats.importers.label_studio_marks import MarkReader, label_key

_UNPLACED = "_"
"""Bucket of the items that the annotator did not place."""


class ResultReader:
    """Reader of the results of a task's annotations.

    Parameters
    ----------
    marks : MarkReader
        Reader of labelled spans.
    pair_is_named : bool
        If true, the caller named the responses, the left one of a pair first.
    """

    def __init__(self, marks: MarkReader, *, pair_is_named: bool) -> None:
        self._marks = marks
        self._pair_is_named = pair_is_named
        self._names = marks.names
        self.left_out: Counter[str] = Counter()
        """Number of results that were left out, by kind."""

    def read(self, annotation: Annotation) -> list[ToolAnswer]:
        """Return the answers of an annotation.

        Raises
        ------
        RecordError
            If a result is not valid, or it is not clear what it is about.
        """
        spans: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
        answers: dict[tuple[str, str], list[ToolAnswer]] = {}
        comments = self._comments(annotation.results)
        for result in annotation.results:
            if "from_id" in result:
                self.left_out["relations"] += 1
                continue
            question, value = result.text("from_name"), result.data.get("value")
            if isinstance(value, dict) and label_key(value) is not None:
                mark = self._marks.read(result, comments.get(str(result.data.get("id")), ""))
                if mark is None:
                    self.left_out["marks_on_prompt"] += 1
                else:
                    spans.setdefault((question, mark.response), []).extend(mark.spans)
            elif not (isinstance(value, dict) and _is_region(value)):
                control = question, str(result.data.get("to_name"))
                if control in answers:
                    raise result.error(
                        "from_name",
                        f"{question!r} has two results in one annotation",
                        "Answers about single messages or regions are not read; remove them",
                    )
                answers[control] = list(self._answers(annotation, result, question, value))
        return [
            *(answer for items in answers.values() for answer in items),
            *(
                _answer(annotation, question, marks, response)
                for (question, response), marks in spans.items()
            ),
        ]

    def _answers(
        self, annotation: Annotation, result: Fields, question: str, value: Any
    ) -> Iterator[ToolAnswer]:
        if isinstance(value, list | str):
            value = {"choices": value}
        fields = Fields(value if isinstance(value, dict) else {}, result.field_path("value"))
        response = self._marks.response_of(result)
        if "selected" in fields:
            yield _answer(annotation, question, self._selected(result, fields), response)
        elif "ranker" in fields:
            yield from self._ranking(annotation, question, fields)
        elif (number := fields.data.get("rating", fields.data.get("number"))) is not None:
            yield _answer(annotation, question, number, response)
        elif (words := _words(fields)) is not None:
            yield _answer(annotation, question, words, response, ordered=False)
        else:
            self.left_out[_kind(result, fields)] += 1

    def _selected(self, result: Fields, value: Fields) -> str:
        """Return the name of the response that was selected in a pair."""
        side = value.text("selected").strip().lower()
        if side not in {"left", "right"}:
            raise value.error("selected", f"expected left or right, got {side!r}")
        pair = [name.strip() for name in str(result.data.get("to_name")).split(",")]
        if len(pair) != 2 or not set(pair) <= set(self._names):
            pair = list(self._names)
            if len(pair) != 2 or (pair != sorted(pair) and not self._pair_is_named):
                raise value.error(
                    "selected",
                    f"it is not clear which of the responses is on the {side}",
                    "Name them with the option responses=LEFT,RIGHT",
                )
        return pair[0] if side == "left" else pair[1]

    def _ranking(
        self, annotation: Annotation, question: str, value: Fields
    ) -> Iterator[ToolAnswer]:
        ranker = value.data["ranker"]
        if isinstance(ranker, dict) and set(ranker) == {question}:
            ranker = ranker[question]
        if isinstance(ranker, list):
            if len(ranker) > 1:
                yield _answer(annotation, question, [self._item(value, item) for item in ranker])
            return
        buckets = value.object("ranker")
        for bucket in buckets.data:
            items = buckets.array(bucket)
            if bucket == _UNPLACED:
                self.left_out["unplaced_items"] += len(items)
                continue
            for item in items:
                yield _answer(annotation, question, bucket, self._item(value, item))

    def _item(self, value: Fields, item: Any) -> str:
        if str(item) not in self._names:
            raise value.error("ranker", f"there is no item {item!r}, only {list(self._names)}")
        return str(item)

    def _comments(self, results: Iterable[Fields]) -> dict[str, str]:
        """Return what was said about marked regions, by the region's id."""
        comments: dict[str, list[str]] = {}
        regions = set()
        for result in results:
            value, region = result.data.get("value"), str(result.data.get("id"))
            if not isinstance(value, dict) or not _is_region(value):
                continue
            if label_key(value) is not None:
                regions.add(region)
                continue
            words = _words(Fields(value)) or [
                str(value[key]) for key in ("rating",) if key in value
            ]
            comments.setdefault(region, []).extend(words)
        self.left_out["answers_on_regions"] += sum(region not in regions for region in comments)
        return {region: "\n".join(words) for region, words in comments.items()}


def _answer(
    annotation: Annotation,
    question: str,
    value: Any,
    response: str | None = None,
    *,
    ordered: bool = True,
) -> ToolAnswer:
    return ToolAnswer(
        question=question,
        value=value,
        annotator=annotation.annotator,
        confidence=annotation.confidence,
        time=annotation.time,
        response=response,
        ordered=ordered,
    )


def _is_region(value: dict[str, Any]) -> bool:
    """Return true if a value is about a part of a text, an image or a recording."""
    return bool({"start", "end", "x", "points", "rle"} & set(value))


def _words(value: Fields) -> list[str] | None:
    """Return chosen or written texts, ``None`` if the control has none."""
    for name in ("choices", "text"):
        if name in value:
            words = [value.text(name)] if isinstance(value.data[name], str) else value.array(name)
            if not all(isinstance(word, str) for word in words):
                raise value.error(name, "expected texts")
            return words
    if "taxonomy" not in value:
        return None
    paths = value.array("taxonomy")
    return [" / ".join(map(str, path)) if isinstance(path, list) else str(path) for path in paths]


def _kind(result: Fields, value: Fields) -> str:
    name = result.data.get("type")
    return name if isinstance(name, str) and name else next(iter(value.data), "without_value")
