"""Random interactions and feedback of every kind, for property tests."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from backtalk.feedback import (
    Annotator,
    AnyFeedback,
    Choice,
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Instruction,
    Interaction,
    Label,
    MemoryUse,
    Message,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Response,
    Scale,
    Scope,
    Shown,
    Span,
    Spans,
    Step,
    Steps,
)
from backtalk.feedback.case import Case

# Databases and JSON hold neither NUL nor lone surrogates as text.
texts = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=30
)
names = st.text("abcdefghij-_ é", min_size=1, max_size=8)
probabilities = st.floats(0, 1)
propensities = st.floats(0.001, 1)
_SECONDS_IN_2100 = 4_102_444_800
times = st.none() | st.integers(0, _SECONDS_IN_2100).map(lambda s: datetime.fromtimestamp(s, UTC))
metadata = st.dictionaries(names, st.none() | st.booleans() | st.integers() | texts, max_size=2)
annotators = st.builds(
    Annotator,
    id=names,
    kind=st.sampled_from(["human", "model", "simulated", "verifier", "implicit"]),
    group=st.none() | names,
)


uses = st.builds(MemoryUse, entry=names, shown=st.booleans(), propensity=propensities)


@st.composite
def interactions(draw: st.DrawFn, *, min_responses: int = 0) -> Interaction:
    """Draw an interaction whose responses have distinct ids."""
    ids = draw(st.lists(names, min_size=min_responses, max_size=4, unique=True))
    responses = tuple(
        Response(
            id=id_,
            text=draw(texts),
            model=draw(st.none() | names),
            propensity=draw(st.none() | propensities),
            log_probability=draw(st.none() | st.floats(-1e6, 0)),
            prompt_version=draw(st.none() | names),
            memory=draw(st.lists(uses, max_size=2).map(tuple)),
            metadata=draw(metadata),
        )
        for id_ in ids
    )
    shown = draw(st.none() | st.permutations(ids).map(tuple))
    prompt = draw(
        st.lists(
            st.builds(
                Message, role=st.sampled_from(["system", "user", "assistant"]), content=texts
            ),
            min_size=1,
            max_size=3,
        ).map(tuple)
    )
    return Interaction(
        prompt=prompt,
        responses=responses,
        shown=shown,
        user=draw(st.none() | names),
        policy=draw(st.none() | names),
        propensity=draw(st.none() | propensities),
        session=draw(st.none() | names),
        time=draw(times),
        metadata=draw(metadata),
    )


@st.composite
def feedback_on(draw: st.DrawFn, interaction: Interaction) -> AnyFeedback:
    """Draw feedback of any kind that fits an interaction with at least two responses."""
    ids = [response.id for response in interaction.responses]
    common = {
        "interaction": interaction.id,
        "annotator": draw(annotators),
        "time": draw(times),
        "confidence": draw(st.none() | probabilities),
        "metadata": draw(metadata),
    }
    response_id = draw(st.sampled_from(ids))
    length = len(interaction.response(response_id).text)
    aspect = draw(names)

    def part() -> dict[str, int]:
        start = draw(st.integers(0, length - 1))
        return {"start": start, "end": draw(st.integers(start + 1, length))}

    def rating() -> Rating:
        scale = draw(st.sampled_from([Scale.STARS, Scale.UNIT, Scale.PERCENT]))
        value = draw(st.integers(int(scale.low), int(scale.high)))
        return Rating(response=response_id, value=value, scale=scale, aspect=aspect, **common)

    def preference() -> Preference:
        a, b = draw(st.permutations(ids))[:2]
        verdict = draw(st.sampled_from(["a", "b", "tie", "both_bad"]))
        probability, strength = None, None
        if verdict in {"a", "b"}:
            offset = draw(st.none() | st.floats(0, 0.5))
            probability = None if offset is None else 0.5 + (offset if verdict == "a" else -offset)
            strength = draw(st.none() | st.floats(0.01, 1))
        return Preference(
            a=a,
            b=b,
            verdict=verdict,
            probability=probability,
            strength=strength,
            aspect=aspect,
            **common,
        )

    def ranking() -> Ranking:
        order = draw(st.permutations(ids))
        cut = draw(st.integers(1, len(order) - 1))
        tiers = (tuple(order[:cut]), tuple(order[cut:]))
        within = draw(st.sampled_from(["tied", "unordered"]))
        return Ranking(tiers=tiers, within=within, aspect=aspect, **common)

    def steps() -> Steps:
        cuts = sorted(draw(st.sets(st.integers(1, length), max_size=4)) | {length})
        starts = [0, *cuts[:-1]]
        verdicts = st.sampled_from(["right", "wrong", "neutral"])
        return Steps(
            response=response_id,
            steps=tuple(
                Step(start=start, end=end, verdict=draw(verdicts))
                for start, end in zip(starts, cuts, strict=True)
            ),
            **common,
        )

    def outcome() -> Outcome:
        passed = draw(st.none() | st.booleans())
        score = draw(probabilities if passed is None else st.none() | probabilities)
        return Outcome(
            response=response_id,
            passed=passed,
            score=score,
            text=draw(texts | st.just("")),
            **common,
        )

    def choice() -> Choice:
        order = draw(st.permutations(ids))
        shown = tuple(
            Shown(response=id_, propensity=draw(st.none() | propensities)) for id_ in order
        )
        return Choice(chosen=draw(st.none() | st.sampled_from(order)), shown=shown, **common)

    factories = [
        rating,
        lambda: Label(response=response_id, good=draw(st.booleans()), aspect=aspect, **common),
        preference,
        ranking,
        lambda: Critique(response=response_id, text=draw(texts), **part(), **common),
        lambda: Critique(text=draw(texts), **common),
        lambda: Edit(
            response=response_id,
            text=interaction.response(response_id).text + draw(texts),
            **common,
        ),
        lambda: Demonstration(text=draw(texts), **common),
        lambda: Spans(
            response=response_id,
            spans=tuple(
                Span(**part(), label=draw(names), good=draw(st.booleans()))
                for _ in range(draw(st.integers(0, 3)))
            ),
            **common,
        ),
        steps,
        outcome,
        lambda: FollowUp(
            response=draw(st.none() | st.just(response_id)), text=draw(texts), **common
        ),
        choice,
        lambda: Instruction(text=draw(texts), scope=Scope(where=draw(st.none() | names)), **common),
    ]
    return draw(st.sampled_from(factories))()


@st.composite
def cases(draw: st.DrawFn, *, max_feedback: int = 6) -> Case:
    """Draw an interaction with feedback that fits it."""
    interaction = draw(interactions(min_responses=2))
    items = draw(st.lists(feedback_on(interaction), max_size=max_feedback))
    return Case(interaction, tuple(items))
