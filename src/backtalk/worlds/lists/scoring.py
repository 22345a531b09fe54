"""What is wrong with a list, and how good it therefore is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from backtalk.worlds.lists.layout import CLOSING, DASH, ENDINGS, OPENING, SEPARATORS, Layout
from backtalk.worlds.lists.parsing import Repair, Word, count_right, read_words, repair, which_count
from backtalk.worlds.lists.phrases import listed, why_missing, why_out_of_order
from backtalk.worlds.lists.task import ListsTask
from backtalk.worlds.world import Assessment, Issue

WEIGHTS = {"right": 0.45, "complete": 0.15, "relevant": 0.15, "manner": 0.25}
"""Rightly done, no word lost, none put in, laid out as asked."""

_MANNERS = 5
"""How many things are looked at in a layout: separators, letters, dashes, beginning, end."""
_NTH = ("first", "second", "third", "fourth", "fifth")
_SHOWN = 12
_PHRASES = {
    "opening": frozenset(OPENING.lower().rstrip(":").split()),
    "ending": frozenset({CLOSING.lower().rstrip(".")}),
}
_DASHED = re.compile(rf"{DASH}\Z")

# Where several things are put in at one place, this is their order.
_OPENS, _DASHES, _WORDS, _SEPARATES, _ENDS = range(5)


@dataclass(frozen=True)
class _Edit:
    """One change of the layout: put something instead of ``text[start:end]``."""

    start: int
    end: int
    put: str
    kind: str
    rank: int

    @property
    def place(self) -> tuple[int, int, int]:
        """Where it stands among other changes."""
        return self.start, self.end, self.rank

    def within(self, start: int, end: int) -> bool:
        """Return whether it is part of a change of ``text[start:end]``, not beside it."""
        beside = self.start == self.end and self.start in {start, end}
        return start <= self.start and self.end <= end and not beside


def _place(ranked: tuple[int, Issue]) -> tuple[int, int, int]:
    rank, fault = ranked
    return fault.start, fault.end, rank


@dataclass(frozen=True)
class _Judged:
    """A list beside what it should be."""

    task: ListsTask
    layout: Layout
    text: str

    @cached_property
    def words(self) -> tuple[Word, ...]:
        return read_words(self.text)

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Which of the words make up the list."""
        return which_count(self.task, self.words)

    @cached_property
    def kept(self) -> list[Word]:
        return [self.words[place] for place in self.places]

    @cached_property
    def extras(self) -> list[int]:
        """Which of the words are too many."""
        counted = set(self.places)
        return [place for place in range(len(self.words)) if place not in counted]

    @cached_property
    def repair(self) -> Repair:
        return repair(self.task, [word.said for word in self.kept])

    def faults(self) -> tuple[Issue, ...]:
        if not self.kept:
            return (self._nothing(),)
        results = [*self._ends(), *self._order(), *self._missing(), *self._needless()]
        results += list(self._layout(results))
        results.sort(key=_place)
        return tuple(fault for _, fault in results)

    def _nothing(self) -> Issue:
        words = self.task.wanted
        advice = f"Write {', '.join(words)}."
        put = self.layout.written(words)
        return Issue("complete", "no-list", 0, len(self.text), put, "The list is missing.", advice)

    def _order(self) -> Iterator[tuple[int, Issue]]:
        for stretch in self.repair.stretches:
            first, last = self.kept[stretch.first], self.kept[stretch.last]
            among = self.words[self.places[stretch.first] : self.places[stretch.last] + 1]
            whole = len(stretch.right) == len(self.task.wanted)
            label, said, advice = why_out_of_order(
                stretch, [word.said for word in among], whole=whole
            )
            put = self.layout.joined(stretch.right)
            yield _WORDS, Issue("right", label, first.start, last.end, put, said, advice)

    def _missing(self) -> Iterator[tuple[int, Issue]]:
        for gap in self.repair.gaps:
            joint = f"{self.layout.separator}{self.layout.dash}"
            if gap.index == 0:
                place = self.kept[0].start
                put = self.layout.joined(gap.words) + joint
            else:
                place = self.kept[gap.index - 1].end
                put = joint + self.layout.joined(gap.words)
            said, advice = why_missing(gap)
            yield _WORDS, Issue("complete", "lost", place, place, put, said, advice)

    def _needless(self) -> Iterator[tuple[int, Issue]]:
        inside = {
            place
            for stretch in self.repair.stretches
            for place in range(self.places[stretch.first], self.places[stretch.last])
        }
        for place in self.extras:
            if place in inside:
                continue
            if place > self.places[-1]:
                start, end = self.words[place - 1].end, self.words[place].end
            else:
                start, end = self.words[place].start, self.words[place + 1].start
            yield _WORDS, Issue(*self._why_needless(place, start, end))

    def _why_needless(
        self, place: int, start: int, end: int
    ) -> tuple[str, str, int, int, str, str, str]:
        word = self.words[place].said
        if word in self.task.banned:
            said, advice = "A word was to be taken out.", f"Take out {word}."
            return "right", "not-removed", start, end, "", said, advice
        if word in self.task.wanted:
            before = sum(other.said == word for other in self.words[:place])
            nth = _NTH[before] if before < len(_NTH) else "last"
            said, advice = "A word is there twice.", f"Leave out the {nth} {word}."
            return "relevant", "repeated", start, end, "", said, advice
        said, advice = "A word does not belong there.", f"Leave out {word}."
        return "relevant", "added", start, end, "", said, advice

    @cached_property
    def _lead(self) -> tuple[int, int]:
        """Where the beginning ends, and where the first word's dash does."""
        end = self.words[0].start
        dash = _DASHED.search(self.text, 0, end)
        return (dash.start() if dash else end), end

    def _ends(self) -> Iterator[tuple[int, Issue]]:
        end = self._lead[0]
        if self.text[:end].lstrip() != self.layout.lead:
            advice = "Begin with the first word."
            if OPENING in self.text[:end]:
                advice = f"Leave out {OPENING[:-1]}."
            if self.layout.opening:
                advice = f"Begin with {OPENING[:-1]}."
            said, put = "The beginning does not fit.", self.layout.lead
            yield _OPENS, Issue("manner", "opening", 0, end, put, said, advice)
        start = self.words[-1].end
        if self.text[start:].rstrip() != self.layout.ending:
            put, advice = self.layout.ending, ENDINGS[self.layout.ending]
            if not put and CLOSING in self.text[start:]:
                advice = "Leave out Done."
            said = "The end does not fit."
            yield _ENDS, Issue("manner", "ending", start, len(self.text), put, said, advice)

    @cached_property
    def edits(self) -> list[_Edit]:
        """What to change about separators, letters and dashes."""
        results = list(self._dash(*self._lead))
        for index, word in enumerate(self.kept):
            if self.text[word.start : word.end] != self.layout.word(word.said):
                put = self.layout.word(word.said)
                results.append(_Edit(word.start, word.end, put, "letters", _WORDS))
            if index < len(self.kept) - 1:
                following = self.words[self.places[index] + 1].start
                dash = _DASHED.search(self.text, word.end, following)
                end = dash.start() if dash else following
                if self.text[word.end : end] != self.layout.separator:
                    put = self.layout.separator
                    results.append(_Edit(word.end, end, put, "separators", _SEPARATES))
                results += self._dash(end, following)
        return results

    def _dash(self, start: int, end: int) -> Iterator[_Edit]:
        if self.text[start:end] != self.layout.dash:
            yield _Edit(start, end, self.layout.dash, "dashes", _DASHES)

    def _layout(self, others: Sequence[tuple[int, Issue]]) -> Iterator[tuple[int, Issue]]:
        """Yield the changes of the layout, those together that nothing else stands between."""
        run: list[_Edit] = []
        for edit in self.edits:
            if any(edit.within(fault.start, fault.end) for _, fault in others):
                continue
            if run and any(run[-1].place < _place(other) < edit.place for other in others):
                yield self._merged(run)
                run = []
            run.append(edit)
        if run:
            yield self._merged(run)

    def _merged(self, run: Sequence[_Edit]) -> tuple[int, Issue]:
        put, place = "", run[0].start
        for edit in run:
            put += self.text[place : edit.start] + edit.put
            place = edit.end
        kinds = {edit.kind for edit in run}
        label = kinds.pop() if len(kinds) == 1 else "layout"
        said = "The layout does not fit." if label == "layout" else f"The {label} do not fit."
        advice = f"Use {listed(self._asked({edit.kind for edit in run}))}."
        start = run[0].start
        return run[0].rank, Issue("manner", label, start, place, put, said, advice)

    def _asked(self, kinds: set[str]) -> list[str]:
        asked = {
            "separators": SEPARATORS[self.layout.separator],
            "letters": "capitals" if self.layout.capitals else "small letters",
            "dashes": "dashes" if self.layout.dashes else "no dashes",
        }
        return [how for kind, how in asked.items() if kind in kinds]

    def aspects(self, faults: Sequence[Issue]) -> dict[str, float]:
        kept = [word.said for word in self.kept]
        pairs = self.task.pairs
        in_order = count_right(pairs, kept) / len(pairs) if pairs else float(bool(kept))
        left = sum(self.words[place].said in self.task.banned for place in self.extras)
        missed = {edit.kind for edit in self.edits} if kept else set()
        missed |= {fault.label for fault in faults if fault.label in {"opening", "ending"}}
        # The pieces of a garbled phrase must not count as better than the phrase.
        pieces = {self.words[place].said for place in self.extras}
        missed |= {kind for kind, said in _PHRASES.items() if said & pieces}
        return {
            "right": in_order**2 / (1 + left),
            "complete": len(kept) / len(self.task.wanted),
            "relevant": 1 / (1 + len(self.extras)),
            "manner": 1 - len(missed) / _MANNERS if kept else 0.0,
        }

    def trace(self) -> str:
        """Return what a program prints that compares the list with what was expected."""
        results = [word.said for word in self.words[:_SHOWN]]
        results += ["..."] if len(self.words) > _SHOWN else []
        said = f"found {', '.join(results) or 'nothing'}"
        if self.task.kind != "chores":
            return f"expected {', '.join(self.task.wanted)}; {said}"
        place = {word.said: index for index, word in enumerate(self.kept)}
        for first, second in self.task.constraints:
            if first in place and second in place and place[first] > place[second]:
                return f"expected {first} before {second}; {said}"
        return f"expected each of {', '.join(self.task.words)}; {said}"


def judge_list(task: ListsTask, text: str, layout: Layout) -> Assessment:
    """Return the truth about a list that is to have that layout."""
    judged = _Judged(task, layout, text)
    faults = judged.faults()
    aspects = judged.aspects(faults)
    passed = all(aspects[name] == 1 for name in ("right", "complete", "relevant"))
    return Assessment(
        aspects,
        sum(WEIGHTS[name] * value for name, value in aspects.items()),
        faults,
        passed=passed,
        trace="" if passed else judged.trace(),
    )
