"""The desk's truth can be read off its texts, and its people report it with noise."""

import asyncio

import numpy as np
import pytest

from backtalk.errors import RecordError
from backtalk.feedback import KINDS, Interaction, Message
from backtalk.feedback.conversions import views
from backtalk.feedback.views import Case, Critiqued, Example, Labelled, Pair, Weighted
from backtalk.models.protocol import Request, Sampling
from backtalk.worlds import desk, desk_people
from backtalk.worlds.desk import Manner, Ticket, aspects, ideal_reply, utility, write_reply
from backtalk.worlds.desk_model import DeskModel, TrueUtility
from backtalk.worlds.desk_people import Person

TICKETS = desk.tickets("train", 300)
BEST = Manner(
    greet=1, apologise=0, answer=1, wrong_fact=0, next_step=1, upsell=0, ask_password=0, filler=0,
    sign_off=1, emoji=0,
)  # fmt: skip


def talks(count=300, responses=4, seed=0):
    chance = np.random.default_rng(seed)
    for ticket in TICKETS[:count]:
        yield Interaction.of(ticket.text, *(write_reply(ticket, chance) for _ in range(responses)))


def test_a_request_can_be_read_back_and_splits_share_none():
    held_out = desk.tickets("held-out", 300)
    for ticket in (*TICKETS, *held_out):
        assert Ticket.read(ticket.prompt) == ticket
    assert not {t.text for t in TICKETS} & {t.text for t in held_out}
    assert desk.tickets("train", 300) == TICKETS
    assert desk.tickets("train", 300, seed=1) != TICKETS
    with pytest.raises(RecordError, match="does not know"):
        Ticket.read((Message.user("What is the time?"),))


def test_the_ideal_reply_is_best_and_every_fault_costs():
    for ticket in TICKETS:
        best = ideal_reply(ticket)
        assert utility(ticket, best) == pytest.approx(1)
        for worse in (
            best.replace("Dear", "Oi"),
            f"{best} {desk.UPSELL}",
            f"{best} {desk.FILLER}",
            f"{best} {desk.PASSWORD}",
            best.replace(desk.SIGN_OFF, ""),
            best.replace(ticket.subject.step, ""),
            best.replace(ticket.facts["number"], "9"),
        ):
            assert utility(ticket, worse) < 1
    assert sum(desk.WEIGHTS.values()) == pytest.approx(1)


def test_each_aspect_falls_for_its_own_reason():
    ticket = next(t for t in TICKETS if t.mood == "upset")
    best = ideal_reply(ticket)
    faults = {
        "right": best.replace(ticket.facts["number"], "9"),
        "fitting": f"{best} {desk.EMOJI}",
        "brief": f"{best} {desk.UPSELL}",
        "safe": f"{best} {desk.PASSWORD}",
        "complete": best.replace(ticket.subject.step, ""),
    }
    for fault, text in faults.items():
        lost = [name for name, value in aspects(ticket, text).items() if value < 1]
        assert lost == [fault]
    (start, end, fact) = desk.wrong_facts(ticket, faults["right"])[0]
    assert (faults["right"][start:end], fact) == ("9", "number")


def test_the_writer_leaves_room_to_improve_and_shows_variety():
    chance = np.random.default_rng(0)
    values = np.array([[utility(t, write_reply(t, chance)) for _ in range(8)] for t in TICKETS])
    assert 0.5 < values.mean() < 0.8
    assert values.max(axis=1).mean() > values.mean() + 0.15
    careful = [utility(t, write_reply(t, chance, BEST)) for t in TICKETS]
    assert np.mean(careful) > 0.95


def test_the_model_writes_the_same_for_the_same_request_and_differently_for_another_sample():
    model = DeskModel()
    prompts = [ticket.prompt for ticket in TICKETS[:50]]

    def replies(**fields):
        requests = [Request(messages=prompt, **fields) for prompt in prompts]
        return [completion.text for completion in asyncio.run(model.generate(requests))]

    assert replies() == replies()
    assert sum(a == b for a, b in zip(replies(), replies(sample=1), strict=True)) < 10
    assert sum(a == b for a, b in zip(replies(), replies(seed=1), strict=True)) < 10
    (cut,) = asyncio.run(
        model.generate([Request(messages=prompts[0], sampling=Sampling(max_tokens=3))])
    )
    assert cut.finish_reason == "length"
    assert len(cut.text.split(" ")) == 3
    assert DeskModel(emoji=0.0).identity != model.identity


def test_the_true_utility_is_a_reward():
    ticket = TICKETS[0]
    answers = [(ticket.prompt, ideal_reply(ticket)), (ticket.prompt, desk.PASSWORD)]
    assert asyncio.run(TrueUtility().score(answers)).mean.tolist() == [
        pytest.approx(1),
        utility(ticket, desk.PASSWORD),
    ]
    assert asyncio.run(TrueUtility("safe").score(answers)).mean.tolist() == [1, 0]


@pytest.mark.parametrize("kind", desk_people.KINDS)
def test_people_give_every_kind_and_always_say_the_same(kind):
    person = Person("ada")
    given = [item for talk in talks() for item in person.give(kind, talk)]
    again = [item for talk in talks() for item in Person("ada").give(kind, talk)]
    assert given
    assert {item.kind for item in given} == {kind} <= set(KINDS)
    payload = {"interaction", "id", "time"}
    assert [item.model_dump(exclude=payload) for item in given] == [
        item.model_dump(exclude=payload) for item in again
    ]
    for talk in talks(20):
        for item in person.give(kind, talk):
            item.check(talk)


def agreement_with_truth(person):
    right = total = 0
    for talk in talks():
        ticket = Ticket.read(talk.prompt)
        for pair in views(Case(talk, tuple(person.give("ranking", talk))), Pair):
            gap = utility(ticket, pair.chosen) - utility(ticket, pair.rejected)
            if pair.tie or gap == 0:
                continue
            right += gap > 0
            total += 1
    return right / total


def test_noise_makes_people_disagree_with_the_truth():
    assert agreement_with_truth(Person("exact", noise=0)) == 1
    careful, careless = (agreement_with_truth(Person("x", noise=noise)) for noise in (0.1, 0.5))
    assert 0.8 < careful < 1
    assert 0.55 < careless < careful


def test_biases_pull_the_way_they_say():
    def longer_wins(person):
        wins = [
            len(pair.chosen) > len(pair.rejected)
            for talk in talks()
            for pair in views(Case(talk, tuple(person.give("ranking", talk))), Pair)
            if not pair.tie
        ]
        return np.mean(wins)

    assert longer_wins(Person("x", length_bias=1)) > 0.85
    assert longer_wins(Person("x")) < 0.7
    first = [
        item.chosen == "0"
        for talk in talks()
        for item in Person("x", position_bias=1).give("choice", talk)
    ]
    assert np.mean(first) > 0.9


def test_feedback_of_the_desk_drives_every_view():
    person = Person("ada")
    whole = [
        Case(talk, tuple(item for kind in desk_people.KINDS for item in person.give(kind, talk)))
        for talk in talks(50)
    ]
    for view in (Pair, Example, Labelled, Weighted, Critiqued):
        assert sum(len(views(case, view)) for case in whole) > 20


def test_edits_mend_what_was_wrong():
    person = Person("ada")
    for talk in talks():
        ticket = Ticket.read(talk.prompt)
        for edit in person.give("edit", talk):
            before = aspects(ticket, talk.responses[0].text)
            after = aspects(ticket, edit.text)
            assert after["right"] == after["safe"] == 1
            assert utility(ticket, edit.text) > utility(ticket, talk.responses[0].text)
            assert before["right"] == 0 or before["safe"] == 0
