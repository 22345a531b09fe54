"""A store and an archive of the previous schema (revision 0004) are read without loss.

``data/previous_version.tar.gz`` was written by the code of the day before the schema changed. It
holds a store in SQLite, the archive of its project ``default``, and what the old code read from
the store, as ``expected.json``. The store was made in these steps: 120 interactions with three
responses each and feedback of every kind; one deleted interaction; feedback whose interaction never
came; ``policy replay anyone``; ``learn best-of-n --policy anyone --name chooser``; ``evaluate
chooser --against anyone --judge reward:ID --split all``; the promotion of ``anyone``; a policy
``brief`` derived from it; an experiment with 40 judged answers, stopped by hand, and a second one
that runs; an open annotation task with assignments and a closed one; a rotated and a revoked API
key; a done, a failed and a waiting job; and an interaction in another project. The artifacts of the
store are those of the archive.
"""

import asyncio
import json
import shutil
import sqlite3
import tarfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backtalk.annotation.assignments import Assignments
from backtalk.annotation.tasks import add_task, list_tasks, read_task
from backtalk.errors import Conflict
from backtalk.evaluate.judges.info import JudgeInfo
from backtalk.evaluate.storage import list_evaluations
from backtalk.experiments import ExperimentReader, read_events, running_experiment, summarise
from backtalk.experiments.signals import get_assignment
from backtalk.feedback import Interaction, parse_feedback, parse_interaction
from backtalk.feedback.record import now
from backtalk.formats.archive import read_archive
from backtalk.policy import Policy, list_policies, load_policy, read_policy
from backtalk.promotion import GateRefused, active_policy, promote, promotion_history, rollback
from backtalk.store import Store
from backtalk.store.row_codec import count_distinct
from backtalk.store.stream_writer import StreamWriter

DATA = Path(__file__).parent / "data" / "previous_version.tar.gz"


@pytest.fixture
def folder(tmp_path):
    with tarfile.open(DATA) as archive:
        archive.extractall(tmp_path, filter="data")
    shutil.copytree(tmp_path / "archive" / "artifacts", tmp_path / "store.artifacts")
    return tmp_path


@pytest.fixture
def expected(folder):
    return json.loads((folder / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(params=["store", "archive"])
def store(request, folder):
    """The migrated store, and a new store with the records of the archive."""
    if request.param == "store":
        with Store(folder / "store.db") as opened:
            yield opened
    else:
        with Store(folder / "new.db") as opened:
            read_archive(opened, folder / "archive")
            yield opened


@pytest.fixture
def migrated(folder):
    with Store(folder / "store.db") as opened:
        yield opened


def test_all_records_have_the_same_ids_and_contents(store, expected):
    assert store.counts() == expected["counts"]
    cases = list(store.cases())
    assert [case.interaction.id for case in cases] == [row[0]["id"] for row in expected["records"]]
    for case, (interaction, feedback) in zip(cases, expected["records"], strict=True):
        assert case.interaction == parse_interaction(json.dumps(interaction))
        assert list(case.feedback) == [parse_feedback(json.dumps(item)) for item in feedback]
    assert list(store.feedback(system_wide=True)) == [
        parse_feedback(json.dumps(item)) for item in expected["system_wide"]
    ]


def test_policies_keep_their_ids_and_recipes(store, expected):
    policies = {policy.name: policy for policy in list_policies(store)}
    assert {name: policy.id for name, policy in policies.items()} == {
        name: row["id"] for name, row in expected["policies"].items()
    }
    for name, row in expected["policies"].items():
        assert policies[name] == Policy.model_validate(row["body"])
        assert read_policy(store, row["id"]) == policies[name]
    assert policies["brief"].lineage.parent == policies["anyone"].id
    assert policies["chooser"].lineage.parent == policies["anyone"].id
    assert policies["chooser"].lineage.snapshot is not None


def test_a_learned_policy_still_answers(store, expected):
    loaded = load_policy(read_policy(store, "chooser"), store.artifacts)
    interaction = store.interaction("talk-5")
    (decoded,) = asyncio.run(loaded.decode([interaction.prompt], seed=0))
    assert decoded.answer.text in {response.text for response in interaction.responses}
    assert loaded.policy.decoder.reward == expected["reward"]


def test_evaluations_have_the_same_figures(store, expected):
    evaluations = list_evaluations(store)
    assert len(evaluations) == len(expected["evaluations"])
    for evaluation, row in zip(evaluations, expected["evaluations"], strict=True):
        assert evaluation.id == row["id"]
        assert (evaluation.candidate, evaluation.baseline) == (row["candidate"], row["baseline"])
        assert evaluation.judge == row["judge"]
        assert evaluation.win_rate.value == row["win_rate"]["value"]
        assert evaluation.win_rate.low == row["win_rate"]["low"]
        assert evaluation.value.difference.value == row["value"]["difference"]["value"]
        assert len(evaluation.choices) == len(row["choices"])


def test_promotions_go_on_from_the_old_history(store, expected):
    records = promotion_history(store)
    assert [
        [r.promotion.policy, r.promotion.evaluation, r.actor, r.time.isoformat()] for r in records
    ] == expected["served"]
    anyone, chooser = read_policy(store, "anyone"), read_policy(store, "chooser")
    assert active_policy(store) == anyone
    (evaluation,) = list_evaluations(store, candidate=chooser.id)
    circular = evaluation.model_copy(update={"split": "held-out"})
    with pytest.raises(GateRefused, match="optimises its judge"):
        promote(store, chooser, circular, actor="ada")
    by_people = circular.model_copy(update={"judge_info": JudgeInfo(name="people", kind="people")})
    promote(store, chooser, by_people, actor="ada")
    assert active_policy(store) == chooser
    rollback(store, actor="ada")
    assert active_policy(store) == anyone
    assert len(promotion_history(store)) == len(records) + 2


def test_experiments_have_the_same_events_and_state(store, expected):
    events = read_events(store)
    assert [[e.number, e.what.kind, e.actor] for e in events] == expected["events"]
    assert running_experiment(store).name == "second"
    assert get_assignment(store.interaction("live-0"), "trial").probabilities == {
        expected["policies"]["anyone"]["id"]: 0.5,
        expected["policies"]["brief"]["id"]: 0.5,
    }
    assert events[0].what.experiment.rule.horizon == 1000
    assert events[0].what.experiment.guards == ("rating:tone",)


def test_an_experiment_counts_the_same_judgements(migrated, expected):
    state = ExperimentReader(migrated, "trial").refresh()
    assert state.judged == expected["experiment"]["judged"] == 40
    assert state.impressions == expected["experiment"]["shown"]
    assert summarise(state).candidates[0].stopped == "stopped by hand"


def test_annotation_tasks_are_the_same(store, expected):
    assert [
        [s.task.name, s.open, s.actor, s.task.people, s.task.filter.max_items]
        for s in list_tasks(store)
    ] == expected["tasks"]
    with pytest.raises(Conflict):
        add_task(store, read_task(store, "Which is better?").task, actor="ada")


def test_assignments_are_held_and_counted_as_before(migrated, expected):
    status = read_task(migrated, "Which is better?")
    minute_later = status.time + timedelta(minutes=1)
    assignments = Assignments(migrated, status.task, clock=lambda: minute_later)
    rows = expected["assignments"]
    assert assignments.next("ada").interaction == rows["ada"]
    assert assignments.next("bo").interaction == rows["bo"]
    assert assignments.is_done(rows["done"], "ada")
    assert assignments.last("ada").interaction == rows["last"]
    progress = assignments.progress("ada")
    assert [progress.done, progress.total, progress.left] == rows["progress"]


def test_keys_and_the_audit_log_are_the_same(migrated, expected):
    keys = migrated.api_keys.keys()
    assert [[k.name, k.role, k.project, k.digests(now())] for k in keys] == expected["keys"]
    assert [[e.actor, e.action, e.detail] for e in migrated.audit_log.entries()] == expected[
        "audit"
    ]


def test_jobs_are_the_same_and_can_be_claimed(migrated, expected):
    jobs = migrated.jobs
    assert [[j.id, j.state, j.attempts, j.result, j.error] for j in jobs.list()] == expected["jobs"]
    later = datetime.fromisoformat("2100-01-01T00:00:00+00:00")
    assert migrated.leases.find("learn") is None or migrated.leases.find("learn").expires < later
    assert jobs.retry("job-2").attempts == 0


def test_deleted_records_can_be_restored_and_pending_feedback_resolved(migrated, expected):
    migrated.restore("deleted")
    assert [item.id for item in migrated.case("deleted").feedback] == ["deleted-label"]
    writer = StreamWriter(migrated.engine)
    interaction = Interaction.of("Later?", "Yes.").model_copy(update={"id": "later"})
    assert writer.resolve_pending() == 1
    assert [result.status for result in writer.write([("default", interaction)])] == ["stored"]
    assert [item.id for item in migrated.case("later").feedback] == ["early"]
    assert writer.resolve_pending() == 0


def test_other_projects_are_there(migrated):
    assert migrated.projects() == ["default", "other"]
    assert migrated.in_project("other").interaction("elsewhere").responses[0].text == "Yes."


def test_a_migration_counts_the_different_responses(folder):
    path = folder / "store.db"
    same = Interaction.of("Is it open?", "Yes.", "Yes.", "Yes.")
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE interactions SET responses = 3, body = ? WHERE seq = 2", (same.to_json(),)
        )
    connection.close()
    with Store(path):
        pass
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT distinct_responses, body FROM interactions").fetchall()
    connection.close()
    assert rows[1][0] == 1
    assert [row[0] for row in rows] == [
        count_distinct(parse_interaction(row[1]).responses) for row in rows
    ]
