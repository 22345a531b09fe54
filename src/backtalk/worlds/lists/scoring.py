"""True utility of a list, with its issues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from backtalk.worlds.lists.layout import CLOSING, DASH, ENDINGS, OPENING, SEPARATORS, ListLayout
from backtalk.worlds.lists.parsing import (
    ListWord,
    OrderRepair,
    count_satisfied,
    counted_positions,
    order_repair,
    read_words,
)
from backtalk.worlds.lists.phrases import join_words, missing_reason, order_reason
from backtalk.worlds.lists.task import ListsTask
from backtalk.worlds.world import Assessment, Issue

WEIGHTS = {"right": 0.45, "complete": 0.15, "relevant": 0.15, "manner": 0.25}
"""Weights of: right order, no word missing, none superfluous, right layout."""

_STYLE_FEATURES = 5
"""Number of layout features: separators, letters, dashes, beginning, end."""
_NTH = ("first", "second", "third", "fourth", "fifth")
_SHOWN = 12
_PHRASES = {
    "opening": frozenset(OPENING.lower().rstrip(":").split()),
    "ending": frozenset({CLOSING.lower().rstrip(".")}),
}
_DASHED = re.compile(rf"{DASH}\Z")

# Order of insertions at one position.
_OPENS, _DASHES, _WORDS, _SEPARATES, _ENDS = range(5)


@dataclass(frozen=True)
class _LayoutEdit:
    """One change of the layout: a replacement for ``text[start:end]``."""

    start: int
    end: int
    replacement: str
    kind: str
    rank: int

    @property
    def position(self) -> tuple[int, int, int]:
        """Sort key among other changes."""
        return self.start, self.end, self.rank

    def within(self, start: int, end: int) -> bool:
        """Return true if it lies inside ``text[start:end]``, not at its border."""
        at_border = self.start == self.end and self.start in {start, end}
        return start <= self.start and self.end <= end and not at_border


def _position(ranked: tuple[int, Issue]) -> tuple[int, int, int]:
    rank, issue = ranked
    return issue.start, issue.end, rank


@dataclass(frozen=True)
class _IssueFinder:
    """Finder of the issues of a list."""

    task: ListsTask
    layout: ListLayout
    text: str

    @cached_property
    def words(self) -> tuple[ListWord, ...]:
        return read_words(self.text)

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """Positions of the words that count."""
        return counted_positions(self.task, self.words)

    @cached_property
    def counted(self) -> list[ListWord]:
        return [self.words[position] for position in self.positions]

    @cached_property
    def extras(self) -> list[int]:
        """Positions of superfluous words."""
        counted = set(self.positions)
        return [position for position in range(len(self.words)) if position not in counted]

    @cached_property
    def repair(self) -> OrderRepair:
        return order_repair(self.task, [word.text for word in self.counted])

    def issues(self) -> tuple[Issue, ...]:
        if not self.counted:
            return (self._empty_issue(),)
        results = [
            *self._end_issues(),
            *self._order_issues(),
            *self._missing_issues(),
            *self._superfluous_issues(),
        ]
        results += list(self._layout_issues(results))
        results.sort(key=_position)
        return tuple(issue for _, issue in results)

    def _empty_issue(self) -> Issue:
        words = self.task.expected
        advice = f"Write {', '.join(words)}."
        replacement = self.layout.render(words)
        return Issue(
            "complete", "no-list", 0, len(self.text), replacement, "The list is missing.", advice
        )

    def _order_issues(self) -> Iterator[tuple[int, Issue]]:
        for run in self.repair.runs:
            first, last = self.counted[run.first], self.counted[run.last]
            among = self.words[self.positions[run.first] : self.positions[run.last] + 1]
            whole = len(run.right) == len(self.task.expected)
            label, description, advice = order_reason(
                run, [word.text for word in among], whole=whole
            )
            replacement = self.layout.join(run.right)
            yield (
                _WORDS,
                Issue("right", label, first.start, last.end, replacement, description, advice),
            )

    def _missing_issues(self) -> Iterator[tuple[int, Issue]]:
        for gap in self.repair.gaps:
            joint = f"{self.layout.separator}{self.layout.dash}"
            if gap.index == 0:
                position = self.counted[0].start
                replacement = self.layout.join(gap.words) + joint
            else:
                position = self.counted[gap.index - 1].end
                replacement = joint + self.layout.join(gap.words)
            description, advice = missing_reason(gap)
            yield (
                _WORDS,
                Issue("complete", "lost", position, position, replacement, description, advice),
            )

    def _superfluous_issues(self) -> Iterator[tuple[int, Issue]]:
        inside = {
            position
            for run in self.repair.runs
            for position in range(self.positions[run.first], self.positions[run.last])
        }
        for position in self.extras:
            if position in inside:
                continue
            if position > self.positions[-1]:
                start, end = self.words[position - 1].end, self.words[position].end
            else:
                start, end = self.words[position].start, self.words[position + 1].start
            yield _WORDS, Issue(*self._removal_reason(position, start, end))

    def _removal_reason(
        self, position: int, start: int, end: int
    ) -> tuple[str, str, int, int, str, str, str]:
        word = self.words[position].text
        if word in self.task.banned:
            description, advice = "A word was to be taken out.", f"Take out {word}."
            return "right", "not-removed", start, end, "", description, advice
        if word in self.task.expected:
            earlier = (other for other in islice(self.words, position) if other.text == word)
            before = sum(1 for _ in islice(earlier, len(_NTH)))  # more have no ordinal
            ordinal = _NTH[before] if before < len(_NTH) else "last"
            description, advice = "A word is there twice.", f"Leave out the {ordinal} {word}."
            return "relevant", "repeated", start, end, "", description, advice
        description, advice = "A word does not belong there.", f"Leave out {word}."
        return "relevant", "added", start, end, "", description, advice

    @cached_property
    def _lead(self) -> tuple[int, int]:
        """End of the opening, and end of the first word's dash."""
        end = self.words[0].start
        dash = _DASHED.search(self.text, 0, end)
        return (dash.start() if dash else end), end

    def _end_issues(self) -> Iterator[tuple[int, Issue]]:
        end = self._lead[0]
        if self.text[:end].lstrip() != self.layout.lead:
            advice = "Begin with the first word."
            if OPENING in self.text[:end]:
                advice = f"Leave out {OPENING[:-1]}."
            if self.layout.opening:
                advice = f"Begin with {OPENING[:-1]}."
            description, replacement = "The beginning does not fit.", self.layout.lead
            yield _OPENS, Issue("manner", "opening", 0, end, replacement, description, advice)
        start = self.words[-1].end
        if self.text[start:].rstrip() != self.layout.ending:
            replacement, advice = self.layout.ending, ENDINGS[self.layout.ending]
            if not replacement and CLOSING in self.text[start:]:
                advice = "Leave out Done."
            description = "The end does not fit."
            yield (
                _ENDS,
                Issue("manner", "ending", start, len(self.text), replacement, description, advice),
            )

    @cached_property
    def edits(self) -> list[_LayoutEdit]:
        """Changes of separators, letters and dashes."""
        results = list(self._dash(*self._lead))
        for index, word in enumerate(self.counted):
            if self.text[word.start : word.end] != self.layout.format_word(word.text):
                replacement = self.layout.format_word(word.text)
                results.append(_LayoutEdit(word.start, word.end, replacement, "letters", _WORDS))
            if index < len(self.counted) - 1:
                following = self.words[self.positions[index] + 1].start
                dash = _DASHED.search(self.text, word.end, following)
                end = dash.start() if dash else following
                if self.text[word.end : end] != self.layout.separator:
                    replacement = self.layout.separator
                    results.append(
                        _LayoutEdit(word.end, end, replacement, "separators", _SEPARATES)
                    )
                results += self._dash(end, following)
        return results

    def _dash(self, start: int, end: int) -> Iterator[_LayoutEdit]:
        if self.text[start:end] != self.layout.dash:
            yield _LayoutEdit(start, end, self.layout.dash, "dashes", _DASHES)

    def _layout_issues(self, others: Sequence[tuple[int, Issue]]) -> Iterator[tuple[int, Issue]]:
        """Yield the changes of the layout, adjacent ones merged."""
        run: list[_LayoutEdit] = []
        for edit in self.edits:
            if any(edit.within(issue.start, issue.end) for _, issue in others):
                continue
            if run and any(run[-1].position < _position(other) < edit.position for other in others):
                yield self._merge_edits(run)
                run = []
            run.append(edit)
        if run:
            yield self._merge_edits(run)

    def _merge_edits(self, run: Sequence[_LayoutEdit]) -> tuple[int, Issue]:
        replacement, position = "", run[0].start
        for edit in run:
            replacement += self.text[position : edit.start] + edit.replacement
            position = edit.end
        kinds = {edit.kind for edit in run}
        label = kinds.pop() if len(kinds) == 1 else "layout"
        description = (
            "The layout does not fit." if label == "layout" else f"The {label} do not fit."
        )
        advice = f"Use {join_words(self._layout_terms({edit.kind for edit in run}))}."
        start = run[0].start
        return run[0].rank, Issue(
            "manner", label, start, position, replacement, description, advice
        )

    def _layout_terms(self, kinds: set[str]) -> list[str]:
        requested = {
            "separators": SEPARATORS[self.layout.separator],
            "letters": "capitals" if self.layout.capitals else "small letters",
            "dashes": "dashes" if self.layout.dashes else "no dashes",
        }
        return [how for kind, how in requested.items() if kind in kinds]

    def aspects(self, issues: Sequence[Issue]) -> dict[str, float]:
        counted = [word.text for word in self.counted]
        pairs = self.task.pairs
        in_order = count_satisfied(pairs, counted) / len(pairs) if pairs else float(bool(counted))
        remaining = sum(self.words[position].text in self.task.banned for position in self.extras)
        missed = {edit.kind for edit in self.edits} if counted else set()
        missed |= {issue.label for issue in issues if issue.label in {"opening", "ending"}}
        # The pieces of a garbled phrase must not score better than the phrase.
        pieces = {self.words[position].text for position in self.extras}
        missed |= {kind for kind, words in _PHRASES.items() if words & pieces}
        return {
            "right": in_order**2 / (1 + remaining),
            "complete": len(counted) / len(self.task.expected),
            "relevant": 1 / (1 + len(self.extras)),
            "manner": 1 - len(missed) / _STYLE_FEATURES if counted else 0.0,
        }

    def trace(self) -> str:
        """Return the output of a check that compares the list with the expected one."""
        results = [word.text for word in self.words[:_SHOWN]]
        results += ["..."] if len(self.words) > _SHOWN else []
        summary = f"found {', '.join(results) or 'nothing'}"
        if self.task.kind != "chores":
            return f"expected {', '.join(self.task.expected)}; {summary}"
        position = {word.text: index for index, word in enumerate(self.counted)}
        for first, second in self.task.constraints:
            if first in position and second in position and position[first] > position[second]:
                return f"expected {first} before {second}; {summary}"
        return f"expected each of {', '.join(self.task.words)}; {summary}"


def score_list(task: ListsTask, text: str, layout: ListLayout) -> Assessment:
    """Return the assessment of a list.

    Parameters
    ----------
    task : ListsTask
        Task that the text answers.
    text : str
        Text of the list.
    layout : ListLayout
        Required layout.
    """
    finder = _IssueFinder(task, layout, text)
    issues = finder.issues()
    aspects = finder.aspects(issues)
    passed = all(aspects[name] == 1 for name in ("right", "complete", "relevant"))
    return Assessment(
        aspects,
        sum(WEIGHTS[name] * value for name, value in aspects.items()),
        issues,
        passed=passed,
        trace="" if passed else finder.trace(),
    )
