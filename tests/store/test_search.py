"""Search for interactions, and the details of one."""

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


def search_ids(store, **conditions):
    return [hit.interaction.id for hit in search(store, SearchQuery(**conditions)).hits]


def iterate_pages(store, query, size):
    before = None
    while True:
        page = search(store, query, before=before, size=size)
        yield page
        before = page.next_cursor
        if before is None:
            return


def test_pages_hold_each_interaction_once_newest_first(store):
    other = store.in_project("other")
    for number in range(10):
        store.add(interaction(number))
        other.add(interaction(100 + number))
    pages = list(iterate_pages(store, SearchQuery(), 4))
    ids = [hit.interaction.id for page in pages for hit in page.hits]
    assert ids == [f"t{number:03}" for number in reversed(range(10))]
    assert [len(page.hits) for page in pages] == [4, 4, 2]
    assert [page.full for page in pages] == [True, True, False]


def test_new_interactions_do_not_shift_the_next_page(store):
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
def test_text_is_found_in_prompts_and_responses_in_any_case(store, text):
    part = ({"type": "text", "text": "It stands in a part"},)
    store.add(
        interaction(1, "What are your Opening Hours?"),
        interaction(2, answer='Great Ärger, I say "no" to\ntwo\nlines and 100% of a_b! in 日本'),
        interaction(3).model_copy(update={"prompt": (Message(role="user", content=part),)}),
        interaction(4, "axb! 100 per cent, two lines, arger"),
    )
    (hit,) = search_ids(store, text=text)
    assert hit != "t004"


@pytest.mark.parametrize("text", ["role", "metadata", "t001", "a%b", "_"])
def test_ids_and_field_names_are_not_searched(store, text):
    store.add(interaction(1, user="x"))
    assert search_ids(store, text=text) == []


def test_conditions_are_combined_by_and(store):
    store.add(
        interaction(1, user="bo", session="s", policy="abc1"),
        interaction(2, user="bo", session="s", policy="abd2"),
        interaction(3, user="bo", session="z", policy="abc1"),
        interaction(4, user="cy", session="s", policy="abc1"),
        interaction(5),
    )
    assert search_ids(store, user="bo") == ["t003", "t002", "t001"]
    assert search_ids(store, session="s") == ["t004", "t002", "t001"]
    assert search_ids(store, policy="ab") == ["t004", "t003", "t002", "t001"]
    assert search_ids(store, policy="abc") == ["t004", "t003", "t001"]
    assert search_ids(store, policy="%") == []
    assert search_ids(store, user="bo", session="s", policy="abc1") == ["t001"]
    assert search_ids(store, user="' OR 1=1 --") == []


def test_a_time_range_includes_its_start_and_excludes_its_end(store):
    store.add(*(interaction(number) for number in range(5)))
    since, until = NOON + timedelta(minutes=1), NOON + timedelta(minutes=3)
    assert search_ids(store, since=since, until=until) == ["t002", "t001"]


def test_interactions_with_and_without_feedback_and_with_a_kind_of_it(store):
    store.add(*(interaction(number) for number in range(4)), thumb(1), thumb(2))
    store.add(Critique(interaction="t002", annotator=ADA, response="0", text="Curt"))
    assert search_ids(store, judged=True) == ["t002", "t001"]
    assert search_ids(store, judged=False) == ["t003", "t000"]
    assert search_ids(store, kind="critique") == ["t002"]
    (hit, *_) = search(store, SearchQuery(kind="critique")).hits
    assert hit.feedback == {"critique": 1, "label": 1}
    with pytest.raises(UnknownName, match="applause"):
        search(store, SearchQuery(kind="applause"))


def test_deleted_feedback_is_not_counted(store):
    mark = thumb(1)
    store.add(interaction(1), mark)
    store.delete(mark.id)
    assert search_ids(store, judged=True) == []
    assert search(store, SearchQuery()).hits[0].feedback == {}


def test_deleted_interactions_are_found_only_on_request(store):
    store.add(interaction(1), interaction(2))
    store.delete("t001")
    assert search_ids(store) == ["t002"]
    assert search_ids(store, deleted=True) == ["t001"]


def test_a_search_that_times_out_can_be_continued(store):
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


def test_false_matches_of_the_prefilter_do_not_end_a_search(store):
    store.add(
        interaction(0, "the needle's text"),
        *(interaction(number, "other") for number in range(1, 450)),
    )
    page = search(store, SearchQuery(text="text"), size=2)
    assert [hit.interaction.id for hit in page.hits] == ["t000"]
    assert page.searched == 450


def test_the_detail_of_an_interaction_includes_deleted_feedback(store):
    mark = thumb(1)
    store.add(interaction(1), mark, Critique(interaction="t001", annotator=ADA, text="Curt"))
    store.delete(mark.id)
    detail = get_detail(store, "t001")
    assert detail.deleted is None
    assert [(item.feedback.kind, item.deleted is None) for item in detail.feedback] == [
        ("label", False),
        ("critique", True),
    ]
    with pytest.raises(NotFound, match="t002"):
        get_detail(store, "t002")


def test_the_detail_of_a_deleted_interaction_can_be_read(store):
    store.add(interaction(1))
    store.delete("t001")
    assert get_detail(store, "t001").deleted is not None


def test_a_conversation_is_the_session_of_its_user_in_order(store):
    store.add(
        *(interaction(number, session="s", user="bo") for number in range(3)),
        interaction(3, session="z", user="bo"),
        interaction(4, session="s", user="cy"),
        interaction(5, session="s", user="bo"),
    )
    store.delete("t001")
    turns = conversation(store, store.interaction("t002"))
    assert [turn.id for turn in turns] == ["t000", "t002", "t005"]


def test_without_a_session_a_conversation_follows_the_parents(store):
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


def test_a_cycle_of_parents_ends(store):
    store.add(interaction(1, parent="t002"), interaction(2, parent="t001"))
    assert [turn.id for turn in conversation(store, store.interaction("t001"))] == ["t002", "t001"]
