"""Pairs of answers that people compared, with each person's verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backtalk.errors import BacktalkError
from backtalk.evaluate.judges.info import describe_judge
from backtalk.evaluate.judges.protocol import Judge
from backtalk.feedback.aspects import on_aspect
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case, merge_by_prompt, prompt_key
from backtalk.feedback.conversions import views
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.record import content_id
from backtalk.feedback.split import Split, split_for
from backtalk.feedback.views import Pair
from backtalk.store import Store

_PEOPLE = ("human", "simulated")
_KINDS = ("preference", "ranking", "rating", "label")
_UNKNOWN = "unknown"
_UNKNOWN_PREFIX = "\0unknown "


@dataclass(frozen=True)
class LabelledPair:
    """Two answers to a prompt, and the preferences of the people who compared them.

    Attributes
    ----------
    prompt
        Prompt of both answers.
    a, b
        Texts of the answers. Their order does not depend on which one is better.
    labels
        Preference of each person for ``a``: 1, 0, or 1/2 for a tie.
    people
        Person behind each label.
    held_out
        True if the prompt is held out from learning.
    simulated
        True if the labels are those of simulated annotators.
    """

    prompt: Prompt
    a: str
    b: str
    labels: tuple[float, ...]
    people: tuple[str, ...]
    held_out: bool
    simulated: bool = False

    @property
    def key(self) -> str:
        """Content id of the prompt and the answers."""
        return content_id("pair", prompt_key(self.prompt), self.a, self.b)


def labelled_pairs(cases: Iterable[Case], *, aspect: str = OVERALL) -> list[LabelledPair]:
    """Return the pairs of answers that people compared, ranked, rated or labelled.

    Labels of people and of simulated annotators are not mixed: the latter count only if there are
    no others. Judgements of models, programs and observed behaviour are left out, and so are
    answers that are more than text. If a person compared a pair several times, the last label
    counts.

    Parameters
    ----------
    cases : iterable of Case
        Interactions with feedback; all are held in memory.
    aspect : str, default "overall"
        Aspect of the judgements.
    """
    labels: dict[str, dict[tuple[str, str, str], dict[str, float]]] = {
        kind: defaultdict(dict) for kind in _PEOPLE
    }
    prompts: dict[str, Prompt] = {}
    for case in merge_by_prompt(cases):
        key = prompt_key(case.interaction.prompt)
        for view in views(on_aspect(case, aspect), Pair, kinds=_KINDS):
            by_pair = labels.get(view.annotator.kind)
            if by_pair is None or not view.is_plain or view.chosen == view.rejected:
                continue
            prompts[key] = view.prompt
            a, b = sorted((view.chosen, view.rejected), key=lambda text: content_id("order", text))
            for_a = view.probability if view.chosen == a else 1 - view.probability
            by_pair[key, a, b][_person(view)] = _verdict(for_a)
    kind = "human" if labels["human"] else "simulated"
    return [
        LabelledPair(
            prompt=prompts[key],
            a=a,
            b=b,
            labels=tuple(by_person.values()),
            people=tuple(by_person),
            held_out=split_for(key) == "held-out",
            simulated=kind == "simulated",
        )
        for (key, a, b), by_person in labels[kind].items()
    ]


def _person(view: Pair) -> str:
    """Return the person; people without an id are told apart by their feedback."""
    if view.annotator.id != _UNKNOWN:
        return view.annotator.id
    return _UNKNOWN_PREFIX + " ".join(view.feedback)


def person_name(person: str) -> str:
    """Return the id of a person of a :class:`LabelledPair`, ``"unknown"`` for one without."""
    return _UNKNOWN if person.startswith(_UNKNOWN_PREFIX) else person


def _verdict(probability: float) -> float:
    if probability == 0.5:
        return 0.5
    return 1.0 if probability > 0.5 else 0.0


def sample_pairs(
    pairs: Sequence[LabelledPair], limit: int | None = None, *, split: Split | None = None
) -> list[LabelledPair]:
    """Return a sample of pairs: held-out prompts first, and as many prompts as possible.

    The order of the pairs is fixed by their content, so that more feedback changes a sample as
    little as possible, and the judge's verdicts on the rest are in its cache.

    Parameters
    ----------
    pairs : sequence of LabelledPair
        Pairs to sample from.
    limit : int, optional
        Maximum size of the sample. Default: all pairs.
    split : {"train", "held-out"}, optional
        Split of the prompts. Default: both.
    """
    seen: Counter[str] = Counter()
    ranked = []
    for pair in sorted(pairs, key=lambda pair: pair.key):
        if split is not None and pair.held_out != (split == "held-out"):
            continue
        prompt = prompt_key(pair.prompt)
        ranked.append((not pair.held_out, seen[prompt], pair.key, pair))
        seen[prompt] += 1
    return [pair for *_, pair in sorted(ranked, key=lambda item: item[:3])][:limit]


def pairs_for(
    judge: Judge, store: Store, *, aspect: str | None = None, limit: int | None = None
) -> list[LabelledPair]:
    """Return the pairs of a store that a judge can be checked on.

    A learned reward is checked on prompts of the other split than it was fitted on, and on
    held-out ones if that is unknown.

    Parameters
    ----------
    judge : Judge
        Judge to check.
    store : Store
        Store of people's feedback.
    aspect : str, optional
        Aspect of the judgements. Default: the aspect of the judge, or ``"overall"``.
    limit : int, optional
        Maximum number of pairs. Default: all.

    Raises
    ------
    BacktalkError
        If the judge is people's feedback itself, or was fitted on all prompts.
    """
    info = describe_judge(judge)
    fitted = None if info.fitted_on is None else info.fitted_on.split
    if info.kind in {"recorded", "people"} or fitted == "all":
        raise BacktalkError(
            f"The judge {info.name} knows the feedback that it would be compared with",
            "Check a judge that does not, such as llm:MODEL",
        )
    split: Split | None = None
    if info.kind == "reward":
        split = "train" if fitted == "held-out" else "held-out"
    judged = aspect or str(getattr(judge, "aspect", OVERALL))
    return sample_pairs(labelled_pairs(store.cases(), aspect=judged), limit, split=split)
