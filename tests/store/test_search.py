"""Finding interactions among many."""

from datetime import UTC, datetime, timedelta

import pytest

from backtalk.errors import NotFound, UnknownName
from backtalk.feedback import Annotator, Critique, Interaction, Label, Message, Response
from backtalk.store.detail import conversation, get_detail
from backtalk.store.search import SearchQuery, search

ADA = Annotator.human("ada")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def interaction(number, text="Hello", answer="Hi.", **fields):
    return Interaction(
        id=f"t{number:03}",
        prompt=(Message.user(text),),
        responses=(Response(id="0", text=answer),),
        time=NOON + timedelta(minutes=number),
        **fields,
    )


def thumb(number):
    return Label(interaction=f"t{number:03}", annotator=ADA, response="0", good=True)


def found(store, **wanted):
    return [hit.interaction.id for hit in search(store, SearchQuery(**wanted)).hits]


def all_pages(store, wanted, size):
    before = None
    while True:
        page = search(store, wanted, before=before, size=size)
        yield page
        before = page.next_cursor
        if before is None:
            return


def test_pages_hold_each_interaction_once_newest_first(store):
    other = store.in_project("other")
    for number in range(10):
        store.add(interaction(number))
        other.add(interaction(100 + number))
    pages = list(all_pages(store, SearchQuery(), 4))
    ids = [hit.interaction.id for page in pages for hit in page.hits]
    assert ids == [f"t{number:03}" for number in reversed(range(10))]
    assert [len(page.hits) for page in pages] == [4, 4, 2]
    assert [page.full for page in pages] == [True, True, False]


def test_what_comes_in_between_does_not_move_the_next_page(store):
    store.add(*(interaction(number) for number in range(6)))
    first = search(store, SearchQuery(), size=3)
    store.add(interaction(50))
    second = search(store, SearchQuery(), before=first.next_cursor, size=3)
    assert [hit.interaction.id for hit in second.hits] == ["t002", "t001", "t000"]


def test_an_empty_project_has_an_empty_page(store):
    page = search(store, SearchQuery())
    assert page.hits == ()
    assert page.next_cursor is None
    assert page.searched == 0


@pytest.mark.parametrize(
    "text",
    [
        "opening HOURS",
        "ärger",
        "ÄRGER",
        'say "no"',
        "two\nlines",
        "100%",
        "a_b!",
        "日本",
        "in a part",
    ],
)
def test_text_is_found_in_prompts_and_responses_whatever_its_capitals(store, text):
    part = ({"type": "text", "text": "It stands in a part"},)
    store.add(
        interaction(1, "What are your Opening Hours?"),
        interaction(2, answer='Great Ärger, I say "no" to\ntwo\nlines and 100% of a_b! in 日本'),
        interaction(3).model_copy(update={"prompt": (Message(role="user", content=part),)}),
        interaction(4, "axb! 100 per cent, two lines, arger"),
    )
    (hit,) = found(store, text=text)
    assert hit != "t004"


@pytest.mark.parametrize("text", ["role", "metadata", "t001", "a%b", "_"])
def test_text_is_not_found_in_ids_nor_in_names_of_fields(store, text):
    store.add(interaction(1, user="x"))
    assert found(store, text=text) == []


def test_filters_narrow_together(store):
    store.add(
        interaction(1, user="bo", session="s", policy="abc1"),
        interaction(2, user="bo", session="s", policy="abd2"),
        interaction(3, user="bo", session="z", policy="abc1"),
        interaction(4, user="cy", session="s", policy="abc1"),
        interaction(5),
    )
    assert found(store, user="bo") == ["t003", "t002", "t001"]
    assert found(store, session="s") == ["t004", "t002", "t001"]
    assert found(store, policy="ab") == ["t004", "t003", "t002", "t001"]
    assert found(store, policy="abc") == ["t004", "t003", "t001"]
    assert found(store, policy="%") == []
    assert found(store, user="bo", session="s", policy="abc1") == ["t001"]
    assert found(store, user="' OR 1=1 --") == []


def test_a_range_of_time_has_its_first_moment_and_not_its_last(store):
    store.add(*(interaction(number) for number in range(5)))
    since, until = NOON + timedelta(minutes=1), NOON + timedelta(minutes=3)
    assert found(store, since=since, until=until) == ["t002", "t001"]


def test_feedback_there_feedback_not_there_and_feedback_of_a_kind(store):
    store.add(*(interaction(number) for number in range(4)), thumb(1), thumb(2))
    store.add(Critique(interaction="t002", annotator=ADA, response="0", text="Curt"))
    assert found(store, judged=True) == ["t002", "t001"]
    assert found(store, judged=False) == ["t003", "t000"]
    assert found(store, kind="critique") == ["t002"]
    (hit, *_) = search(store, SearchQuery(kind="critique")).hits
    assert hit.feedback == {"critique": 1, "label": 1}
    with pytest.raises(UnknownName, match="applause"):
        search(store, SearchQuery(kind="applause"))


def test_hidden_feedback_does_not_count(store):
    mark = thumb(1)
    store.add(interaction(1), mark)
    store.delete(mark.id)
    assert found(store, judged=True) == []
    assert search(store, SearchQuery()).hits[0].feedback == {}


def test_deleted_interactions_are_found_only_where_they_are_asked_for(store):
    store.add(interaction(1), interaction(2))
    store.delete("t001")
    assert found(store) == ["t002"]
    assert found(store, deleted=True) == ["t001"]


def test_a_search_without_time_says_how_far_it_came_and_goes_on_from_there(store):
    store.add(interaction(0, "needle"), *(interaction(number) for number in range(1, 1600)))
    pages, before = [], None
    while True:
        page = search(store, SearchQuery(text="needle"), before=before, seconds=0)
        pages.append(page)
        before = page.next_cursor
        if before is None:
            break
    assert [page.searched for page in pages] == [500, 500, 500, 100]
    assert [len(page.hits) for page in pages] == [0, 0, 0, 1]
    assert not any(page.full for page in pages)


def test_many_rows_that_only_look_like_it_do_not_end_a_search(store):
    store.add(
        interaction(0, "the needle's text"),
        *(interaction(number, "other") for number in range(1, 450)),
    )
    page = search(store, SearchQuery(text="text"), size=2)
    assert [hit.interaction.id for hit in page.hits] == ["t000"]
    assert page.searched == 450


def test_one_interaction_has_its_feedback_with_what_was_hidden(store):
    mark = thumb(1)
    store.add(interaction(1), mark, Critique(interaction="t001", annotator=ADA, text="Curt"))
    store.delete(mark.id)
    kept = get_detail(store, "t001")
    assert kept.deleted is None
    assert [(said.feedback.kind, said.deleted is None) for said in kept.feedback] == [
        ("label", False),
        ("critique", True),
    ]
    with pytest.raises(NotFound, match="t002"):
        get_detail(store, "t002")


def test_a_deleted_interaction_can_still_be_read(store):
    store.add(interaction(1))
    store.delete("t001")
    assert get_detail(store, "t001").deleted is not None


def test_a_session_is_read_in_its_order_and_of_its_user_only(store):
    store.add(
        *(interaction(number, session="s", user="bo") for number in range(3)),
        interaction(3, session="z", user="bo"),
        interaction(4, session="s", user="cy"),
        interaction(5, session="s", user="bo"),
    )
    store.delete("t001")
    turns = conversation(store, store.interaction("t002"))
    assert [turn.id for turn in turns] == ["t000", "t002", "t005"]


def test_without_a_session_the_turns_that_it_continues_go_before(store):
    store.add(
        interaction(1),
        interaction(2, parent="t001"),
        interaction(3, parent="t002"),
        interaction(4, parent="gone"),
    )
    assert [turn.id for turn in conversation(store, store.interaction("t003"))] == [
        "t001",
        "t002",
        "t003",
    ]
    assert [turn.id for turn in conversation(store, store.interaction("t004"))] == ["t004"]


def test_turns_that_continue_each_other_do_not_go_on_for_ever(store):
    store.add(interaction(1, parent="t002"), interaction(2, parent="t001"))
    assert [turn.id for turn in conversation(store, store.interaction("t001"))] == ["t002", "t001"]
