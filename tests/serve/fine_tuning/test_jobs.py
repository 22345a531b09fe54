"""Fine-tuning jobs by the unmodified openai client: create, watch, control, and use the result."""

import csv
import io
import itertools
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import openai
import pytest

from backtalk.feedback import Annotator, Interaction, Label
from backtalk.learn.method import get_method
from backtalk.models.spec import EndpointSpec, NamedSpec
from backtalk.policy import Policy, read_policy, save_policy
from backtalk.policy.training_history import read_history
from backtalk.serve.fine_tuning.job import read_spec
from backtalk.serve.fine_tuning.training_data import TrainingData
from backtalk.serve.settings import SETTINGS_VARIABLE
from backtalk.store import Store
from tests.serve.fine_tuning.jobs import (
    REQUEST,
    Client,
    conversation,
    gateway_without_worker,
    preference,
    supervised,
    work,
    worker,
)
from tests.serve.upstream import ScriptedReply

ROWS = [conversation(number) for number in range(12)]
QUICK = supervised(n_epochs=1, batch_size=6)
QUESTION = [{"role": "user", "content": REQUEST.format(4)}]


@pytest.fixture
def served(tmp_path):
    with gateway_without_worker(tmp_path) as (running, client):
        yield running, client


def test_the_openai_client_drives_a_job_from_upload_to_chat(tmp_path):
    settings = {"keys": "never", "store": str(tmp_path / "feedback.db")}
    with gateway_without_worker(tmp_path, **settings, fine_tuning={"train": True}) as (_, client):
        job = client.fine_tune(
            ROWS,
            suffix="My brief mails",
            seed=3,
            validation_file=client.upload(ROWS[:2]),
            method=supervised(n_epochs=2, batch_size=6),
            metadata={"team": "mail"},
        )
        job = client.wait(job.id, "queued", "running")
        assert job.status == "succeeded", job.error
        assert job.fine_tuned_model.startswith("ft:small:default:My-brief-mails:")
        assert job.hyperparameters.n_epochs == 2
        assert job.trained_tokens > 0
        assert job.created_at <= job.finished_at
        assert job.error is job.estimated_finish is None
        assert client.steps(job.id) == [1, 2, 3, 4]
        events = list(client.fine_tuning.jobs.list_events(job.id, limit=3))
        last = next(event for event in events if event.type == "metrics")
        assert last.message.startswith("Step 4/4: training loss=")
        assert events[0].message == "The job has successfully completed"
        rows = list(csv.DictReader(io.StringIO(client.files.content(job.result_files[0]).text)))
        assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
        assert float(rows[-1]["train_loss"]) == last.data["train_loss"]
        assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
        assert last.data["full_valid_loss"] == float(rows[-1]["valid_loss"])
        names = [
            job.fine_tuned_model,
            *(
                one.fine_tuned_model_checkpoint
                for one in client.fine_tuning.jobs.checkpoints.list(job.id)
            ),
        ]
        assert names[1:] == [f"{names[0]}:ckpt-step-4", f"{names[0]}:ckpt-step-2"]
        assert set(names) <= {model.id for model in client.models.list()}
        for name in names:
            answer = client.chat.completions.create(model=name, messages=QUESTION, max_tokens=5)
            assert answer.choices[0].message.content
            assert client.models.retrieve(name).id == name


def test_the_result_is_a_policy_with_the_options_that_were_set(served):
    running, client = served
    job = client.fine_tune(
        [preference(number) for number in range(12)],
        seed=5,
        method={
            "type": "dpo",
            "dpo": {
                "hyperparameters": {
                    "beta": 0.3,
                    "n_epochs": 1,
                    "batch_size": 4,
                    "learning_rate_multiplier": 2,
                }
            },
        },
    )
    work(running)
    job = client.wait(job.id)
    assert job.status == "succeeded", job.error
    assert job.method.dpo.hyperparameters.beta == 0.3
    with running.store as store:
        policy = read_policy(store, job.fine_tuned_model)
        history = read_history(policy, store.artifacts)
    lineage = policy.lineage
    assert (lineage.method, lineage.seed) == ("dpo", 5)
    assert {"beta": 0.3, "batch_size": 4, "learning_rate_multiplier": 2.0}.items() <= (
        lineage.options.items()
    )
    assert lineage.snapshot.counts == {"interaction": 12, "preference": 12}
    assert len(history) == 3
    assert history[0]["loss"] == pytest.approx(0.6931, abs=1e-3)  # ln 2, where nothing is learned
    (step,) = [e for e in client.fine_tuning.jobs.list_events(job.id) if e.message[:7] == "Step 3/"]
    assert step.data["train_reward_accuracy"] == round(history[2]["rewards/accuracies"], 6)


def test_feedback_in_the_store_trains_by_any_method(served):
    running, client = served
    ada = Annotator.human("ada")
    with running.store as store:
        shop = store.in_project("shop")
        for number in range(8):
            interaction = Interaction.of(REQUEST.format(number), f"Answer {number}.")
            shop.add(
                interaction,
                Label(
                    interaction=interaction.id,
                    annotator=ada,
                    response="0",
                    good=number % 2 == 0,
                ),
            )
    job = client.fine_tune(
        "store:shop",
        method={"type": "backtalk", "name": "kto", "split": "all", "beta": 0.2, "n_epochs": 2},
    )
    work(running)
    job = client.wait(job.id)
    assert job.status == "succeeded", job.error
    assert job.training_file == "store:shop"
    with running.store as store:
        lineage = read_policy(store, job.fine_tuned_model).lineage
    assert (lineage.method, lineage.options["beta"], lineage.options["epochs"]) == ("kto", 0.2, 2)
    assert (lineage.snapshot.project, lineage.snapshot.counts["label"]) == ("shop", 8)


def add_labels(store, count):
    for _ in range(count):
        number = len(list(store.cases()))
        interaction = Interaction.of(REQUEST.format(number), f"Answer {number}.")
        label = Label(
            interaction=interaction.id, annotator=Annotator.human("ada"), response="0", good=True
        )
        store.add(interaction, label)


@pytest.mark.parametrize("training", ["store:first", "store:second", "a file"])
@pytest.mark.parametrize("validation", ["store:first", "store:second", "a file", None])
def test_a_job_uses_what_the_stores_had_when_it_was_created(served, tmp_path, training, validation):
    running, client = served
    with running.store as store:
        projects = [store.in_project(name) for name in ("first", "second")]
        for project in projects:
            add_labels(project, 30)
        source, other = (
            client.upload(ROWS) if name == "a file" else name for name in (training, validation)
        )
        method = {"type": "backtalk", "name": "sft"} | (
            {} if training == "a file" else {"split": "all"}
        )
        fields = {} if other is None else {"validation_file": other}
        job = client.fine_tune(source, method=method, **fields)
        files = running.app.state.services.fine_tuning.jobs.files()
        spec = read_spec(store.jobs.get(job.id))
        sizes = []
        for _ in range(2):
            data = TrainingData(spec, store, files, tmp_path / "run").load()
            sets = [data, data.validation] if other is not None else [data]
            sizes.append([len(list(one.cases())) for one in sets])
            for project in projects:
                add_labels(project, 30)
    assert sizes[0] == sizes[1]
    assert sizes[0][0] == (12 if training == "a file" else 30)
    assert all(sizes[0])


def test_a_method_that_trains_no_weights_makes_a_policy_too(served):
    running, client = served
    rows = [
        {"prompt": REQUEST.format(n), "chosen": f"Good {n}.", "rejected": "Bad."} for n in range(10)
    ]
    job = client.fine_tune(
        rows, method={"type": "backtalk", "name": "best-of-n", "options": {"n": 3}}
    )
    work(running)
    job = client.wait(job.id)
    assert job.status == "succeeded", job.error
    assert job.result_files == []
    with running.store as store:
        assert read_policy(store, job.fine_tuned_model).decoder.n == 3


def test_an_invalid_line_fails_the_job_before_it_is_queued(served):
    running, client = served
    job = client.fine_tune([*ROWS, {"messages": [{"role": "user", "content": "Hello"}]}])
    assert (job.status, job.error.code, job.error.param) == (
        "failed",
        "invalid_training_file",
        "training_file",
    )
    assert "Line 13: " in job.error.message
    assert job.finished_at
    (first, *_) = client.fine_tuning.jobs.list_events(job.id)
    assert (first.level, first.message) == ("error", job.error.message)
    work(running)
    assert client.wait(job.id).status == "failed"


def test_the_worker_validates_what_a_gateway_left(served):
    running, client = served
    jobs = running.app.state.services.fine_tuning.jobs
    jobs.validate = lambda _: None  # as if the gateway had died
    job = client.fine_tune(["[]"], validated=False)
    assert job.status == "validating_files"
    with Store(running.settings.store) as store:
        store.jobs.prepare(job.id, '{"status": "validating_files"}')
    work(running)
    assert client.wait(job.id).error.code == "invalid_training_file"


def test_jobs_are_listed_by_page_and_by_metadata(served):
    _, client = served
    ids = [
        client.fine_tune(ROWS, validated=False, metadata={"n": str(n % 2)} if n else None).id
        for n in range(4)
    ]
    assert [job.id for job in client.fine_tuning.jobs.list(limit=2)] == ids[::-1]
    page = client.fine_tuning.jobs.list(limit=2)
    assert ([job.id for job in page.data], page.has_more) == (ids[:1:-1], True)
    odd = client.fine_tuning.jobs.list(metadata={"n": "1"})
    assert [job.id for job in odd] == [ids[3], ids[1]]
    none = client.fine_tuning.jobs.list(extra_query={"metadata": "null"})
    assert [job.id for job in none] == [ids[0]]
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.retrieve("ftjob-btUnknown")


def test_a_queued_job_is_paused_resumed_and_cancelled(served):
    running, client = served
    job = client.fine_tune(ROWS)
    assert job.status == "queued"
    assert client.fine_tuning.jobs.pause(job.id).status == "paused"
    work(running)
    assert client.steps(job.id) == []
    with pytest.raises(openai.BadRequestError, match="paused"):
        client.fine_tuning.jobs.pause(job.id)
    assert client.fine_tuning.jobs.resume(job.id).status == "queued"
    cancelled = client.fine_tuning.jobs.cancel(job.id)
    assert cancelled.status == "cancelled"
    assert cancelled.finished_at
    work(running)
    for change in (client.fine_tuning.jobs.cancel, client.fine_tuning.jobs.resume):
        with pytest.raises(openai.BadRequestError, match="cancelled"):
            change(job.id)
    assert client.messages(job.id)[-1] == "Fine-tuning job cancelled"


def test_a_file_that_a_job_needs_is_not_deleted(served):
    running, client = served
    training, validation = client.upload(ROWS), client.upload(ROWS)
    jobs = client.fine_tuning.jobs
    job = jobs.create(model="small", training_file=training, validation_file=validation)
    other = jobs.create(model="small", training_file=validation)
    for item in (job, other):
        client.wait(item.id, "validating_files")
    jobs.cancel(other.id)
    for change, status in ((jobs.retrieve, "queued"), (jobs.pause, "paused")):
        assert change(job.id).status == status
        for file in (training, validation):
            with pytest.raises(
                openai.ConflictError, match=f"{job.id}, which is {status}"
            ) as raised:
                client.files.delete(file)
            assert (raised.value.code, raised.value.param) == ("file_in_use", "id")
            assert client.files.content(file).content
    jobs.cancel(job.id)
    for file in (training, validation):
        assert client.files.delete(file).deleted
    assert running.http.get("/v1/files").json()["data"] == []


@contextmanager
def working(running, **changes):
    """Run jobs on another thread."""
    own = worker(running, **changes)
    thread = threading.Thread(target=own.run)
    thread.start()
    try:
        yield own
    finally:
        own.stop()
        thread.join(60)
        assert not thread.is_alive()


def wait_for_step(client, id_, step):
    for _ in itertools.count():
        if client.steps(id_)[-1:] >= [step]:
            return
        assert client.fine_tuning.jobs.retrieve(id_).status in {"queued", "running"}
        time.sleep(0.02)


LONG = supervised(n_epochs=10, batch_size=4, learning_rate_multiplier=0.1)


def policy_id(running, job):
    with running.store as store:
        return read_policy(store, job.fine_tuned_model).id


@pytest.fixture
def uninterrupted(served):
    """Policy of a job that ran through."""
    running, client = served
    job = client.fine_tune(ROWS, method=LONG, seed=1)
    work(running)
    return policy_id(running, client.wait(job.id, "running"))


def test_a_paused_job_continues_to_the_same_weights(served, uninterrupted):
    running, client = served
    job = client.fine_tune(ROWS, method=LONG, seed=1)
    with working(running):
        wait_for_step(client, job.id, 4)
        assert client.fine_tuning.jobs.pause(job.id).status == "paused"
    paused_at = client.steps(job.id)[-1]
    assert paused_at < 30
    resumed = client.fine_tuning.jobs.resume(job.id)
    assert (resumed.status, resumed.estimated_finish) == ("queued", None)
    work(running)
    job = client.wait(job.id, "queued", "running")
    assert job.status == "succeeded", job.error
    assert client.steps(job.id) == list(range(1, 31))
    assert policy_id(running, job) == uninterrupted
    answer = client.chat.completions.create(
        model=job.fine_tuned_model, messages=QUESTION, max_tokens=4
    )
    assert answer.choices[0].message.content


def test_a_running_job_is_cancelled(served):
    running, client = served
    job = client.fine_tune(ROWS, method=LONG)
    with working(running):
        wait_for_step(client, job.id, 2)
        client.fine_tuning.jobs.cancel(job.id)
    job = client.wait(job.id)
    assert (job.status, job.fine_tuned_model) == ("cancelled", None)
    assert client.steps(job.id)[-1] < 30
    with running.store as store:
        assert not (store.artifacts.root.with_suffix(".runs") / job.id).exists()


def test_the_job_of_a_killed_process_continues_to_the_same_weights(served, uninterrupted):
    running, client = served
    job = client.fine_tune(ROWS, method=LONG, seed=1)
    own = type(running.settings.fine_tuning)(options={"checkpoint_every_seconds": 0.01})
    settings = running.settings.model_copy(update={"fine_tuning": own})
    process = subprocess.Popen(
        [sys.executable, "-m", "backtalk.serve.fine_tuning"],
        stdin=subprocess.PIPE,
        env={**os.environ, SETTINGS_VARIABLE: settings.to_json()},
    )
    wait_for_step(client, job.id, 3)
    process.kill()
    process.communicate()
    killed_at = client.steps(job.id)[-1]
    assert killed_at < 30
    work(running)
    job = client.wait(job.id)
    assert job.status == "succeeded", job.error
    assert client.steps(job.id) == list(range(1, 31))
    assert "Fine-tuning job resumed" in client.messages(job.id)
    assert policy_id(running, job) == uninterrupted


@pytest.mark.parametrize("budget", [{"tokens": 100}, {"seconds": 0.000001}])
@pytest.mark.parametrize("of_gateway", [True, False])
def test_a_budget_limits_a_job(tmp_path, budget, of_gateway):
    own = {"budget": budget} if of_gateway else {}
    asked = {} if of_gateway else {"extra_body": {"budget": budget}}
    with gateway_without_worker(tmp_path, fine_tuning=own) as (running, client):
        job = client.fine_tune(ROWS, method=QUICK, **asked)
        work(running)
        job = client.wait(job.id)
        assert (job.status, job.error.code) == ("failed", "budget_exceeded")
        assert "budget" in job.error.message
        assert len(client.steps(job.id)) <= 1


@pytest.mark.parametrize("options", [{}, {"epochs": 2}, {"batch": 6, "beta": 0.2}])
@pytest.mark.parametrize("machine", [{}, {"epochs": 2.5, "batch_size": 300}])
def test_the_hyperparameters_that_are_shown_are_those_of_the_training(tmp_path, options, machine):
    own = {"options": {"adapter": "lora", **machine}}
    with gateway_without_worker(tmp_path, fine_tuning=own) as (running, client):
        method = {"type": "backtalk", "name": "dpo", "options": options}
        rows = [preference(number) for number in range(12)]
        job = client.fine_tune(rows, method=method)
        work(running)
        job = client.wait(job.id)
        assert job.status == "succeeded", job.error
        with running.store as store:
            changed = read_policy(store, job.fine_tuned_model).lineage.options
        shown, trained = job.hyperparameters, {**get_method("dpo").options, **changed}
        assert shown.n_epochs == trained["epochs"] == options.get("epochs", 2 if machine else 1)
        assert shown.batch_size == trained["batch_size"]
        assert shown.batch_size == options.get("batch", 256 if machine else 32)
        assert trained["beta"] == options.get("beta", 0.1)
        assert trained["adapter"] == "lora"


def test_equal_jobs_have_a_name_each(served):
    running, client = served
    jobs = [client.fine_tune(ROWS, method=QUICK, seed=1, suffix=name) for name in ("a", "b")]
    work(running)
    names = [client.wait(job.id).fine_tuned_model for job in jobs]
    with running.store as store:
        first, second = (read_policy(store, name) for name in names)
    assert first.id == second.id
    assert [first.name, second.name] == names


def test_a_fine_tuned_model_is_fine_tuned_again(served):
    running, client = served
    job = client.fine_tune(ROWS, method=QUICK)
    work(running)
    first = client.wait(job.id).fine_tuned_model
    job = client.fine_tune(ROWS, model=first, method=QUICK, suffix="again")
    work(running)
    second = client.wait(job.id).fine_tuned_model
    assert second.startswith("ft:small:default:again:bt")
    with running.store as store:
        policy = read_policy(store, second)
        assert policy.lineage.parent == read_policy(store, first).id


BASES = {
    "a promoted policy": "backtalk:mail",
    "a policy by name": "backtalk:mail/plain",
    "a name of the settings": "gpt-4o-mini",
    "a model of the settings": "llama",
    "a registered model": "small",
}


@pytest.mark.parametrize("name", BASES)
def test_the_base_is_a_policy_or_a_model(tmp_path, name):
    from backtalk.promotion import promote

    aliases = {"gpt-4o-mini": "backtalk:mail/plain", "llama": {"kind": "named", "name": "small"}}
    with gateway_without_worker(tmp_path, fine_tuning={"models": aliases}) as (running, client):
        with running.store as store:
            promote(
                store.in_project("mail"),
                Policy(model=NamedSpec(name="small"), name="plain"),
                actor="ada",
            )
        job = client.fine_tune(ROWS, model=BASES[name])
        assert job.status == "queued"
        in_project = name not in {"a model of the settings", "a registered model"}
        assert job.organization_id == ("mail" if in_project else "default")


def test_a_base_that_cannot_be_trained_is_refused(served):
    running, client = served
    with running.store as store:
        save_policy(store, Policy(model=EndpointSpec(model="gpt"), name="remote"))
    file = client.upload(ROWS)
    for model, reason in (
        ("remote", "not on this machine"),
        ("gpt-9", "fine_tuning.models"),
        ("backtalk:nowhere", "no project"),
        ("backtalk:default", "no promoted policy"),
        ("ft:small:default::bt00000000", "no policy"),
    ):
        with pytest.raises(openai.BadRequestError, match=reason) as raised:
            client.fine_tuning.jobs.create(model=model, training_file=file)
        assert (raised.value.code, raised.value.param) == ("model_not_available", "model")


INVALID_REQUESTS = {
    "no model": ({"model": None}, "model"),
    "an unknown file": ({"training_file": "file-none"}, "training_file"),
    "an unknown validation file": ({"validation_file": "file-none"}, "validation_file"),
    "an unknown project": ({"training_file": "store:nowhere"}, "training_file"),
    "a field that is not known": ({"epochs": 3}, "epochs"),
    "a long suffix": ({"suffix": "x" * 65}, "suffix"),
    "an empty suffix": ({"suffix": ""}, "suffix"),
    "a seed that is a text": ({"seed": "1"}, "seed"),
    "metadata that is no text": ({"metadata": {"a": 1}}, "metadata.a"),
    "integrations": ({"integrations": [{"type": "wandb"}]}, "integrations"),
    "reinforcement": ({"method": {"type": "reinforcement"}}, "method.type"),
    "no type": ({"method": {}}, "method"),
    "no epochs": (
        {"method": supervised(n_epochs=0)},
        "method.supervised.hyperparameters.n_epochs",
    ),
    "half an epoch": ({"hyperparameters": {"n_epochs": 1.5}}, "hyperparameters.n_epochs"),
    "a text as batch": ({"hyperparameters": {"batch_size": "8"}}, "hyperparameters.batch_size"),
    "beta of the supervised method": (
        {"method": supervised(beta=0.1)},
        "method.supervised.hyperparameters",
    ),
    "an unknown method": ({"method": {"type": "backtalk", "name": "kt0"}}, "method"),
    "no method": ({"method": {"type": "backtalk"}}, "method.name"),
    "an unknown option": (
        {"method": {"type": "backtalk", "name": "kto", "options": {"betta": 1}}},
        "method",
    ),
    "too many epochs as an option": (
        {"method": {"type": "backtalk", "name": "kto", "options": {"epochs": 100}}},
        "method.hyperparameters.n_epochs",
    ),
    "a text as epochs": (
        {"method": {"type": "backtalk", "name": "kto", "options": {"epochs": "3"}}},
        "method.hyperparameters.n_epochs",
    ),
    "a part of an epoch": (
        {"method": {"type": "backtalk", "name": "kto", "options": {"epochs": 0.5}}},
        "method.hyperparameters.n_epochs",
    ),
    "two numbers of epochs": (
        {"method": {"type": "backtalk", "name": "kto", "n_epochs": 2, "options": {"epochs": 3}}},
        "method.epochs",
    ),
    "a hyperparameter of another method": (
        {"method": {"type": "backtalk", "name": "best-of-n", "n_epochs": 2}},
        "method",
    ),
    "a split of a file": (
        {"method": {"type": "backtalk", "name": "kto", "split": "all"}},
        "method.split",
    ),
    "a format without a file": (
        {
            "training_file": "store:default",
            "method": {"type": "backtalk", "name": "kto", "format": "kto"},
        },
        "method.format",
    ),
    "a negative budget": ({"budget": {"tokens": -1}}, "budget"),
}


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"n_epochs": 200}, 'n_epochs must be a whole number from 1 to 50, or "auto", not 200'),
        (
            {"batch_size": "8"},
            'batch_size must be a whole number from 1 to 256, or "auto", not "8"',
        ),
        (
            {"learning_rate_multiplier": 0},
            'learning_rate_multiplier must be a number above 0, at most 1,000, or "auto", not 0',
        ),
        ({"beta": 101.0}, 'beta must be a number above 0, at most 100, or "auto", not 101.0'),
    ],
)
def test_a_hyperparameter_out_of_its_range_is_refused_in_one_sentence(
    served, hyperparameters, message
):
    running, client = served
    method = {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}
    body = {"model": "small", "training_file": client.upload(ROWS), "method": method}
    response = running.http.post("/v1/fine_tuning/jobs", json=body)
    assert response.json()["error"]["message"] == message


@pytest.mark.parametrize("name", INVALID_REQUESTS)
def test_an_invalid_request_is_refused_and_creates_no_job(served, name):
    running, client = served
    changes, param = INVALID_REQUESTS[name]
    body = {"model": "small", "training_file": client.upload(ROWS), **changes}
    response = running.http.post("/v1/fine_tuning/jobs", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert list(client.fine_tuning.jobs.list()) == []


def test_jobs_of_a_project_need_a_key_of_an_admin_of_that_project(tmp_path):
    with Store(tmp_path / "feedback.db") as store:
        keys = {
            project: store.api_keys.add(project, "admin", project=project, actor="ada")[1]
            for project in ("mail", "shop")
        }
        application = store.api_keys.add("app", "application", project="mail", actor="ada")[1]
    with gateway_without_worker(tmp_path, keys="always") as (running, _):
        mail, shop, app = (
            Client(base_url=f"{running.url}/v1", api_key=key, max_retries=0)
            for key in (keys["mail"], keys["shop"], application)
        )
        job = mail.fine_tune(ROWS)
        assert job.organization_id == "mail"
        assert list(shop.fine_tuning.jobs.list()) == []
        with pytest.raises(openai.NotFoundError):
            shop.fine_tuning.jobs.cancel(job.id)
        for refused in (
            lambda: app.fine_tuning.jobs.retrieve(job.id),
            lambda: shop.fine_tune("store:mail"),
            lambda: shop.fine_tune(ROWS, model="backtalk:mail"),
        ):
            with pytest.raises(openai.PermissionDeniedError):
                refused()
        with pytest.raises(openai.BadRequestError, match="File"):
            shop.fine_tune(job.training_file)


def test_models_and_jobs_of_the_upstream_stay_the_upstreams(gateway, upstream):
    client = Client(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)
    theirs = {"id": "ftjob-1", "object": "fine_tuning.job", "status": "succeeded"}
    for call in (
        lambda: client.fine_tuning.jobs.create(model="gpt", training_file="file-theirs"),
        lambda: client.fine_tuning.jobs.retrieve("ftjob-1"),
        lambda: client.fine_tuning.jobs.cancel("ftjob-1"),
    ):
        upstream.next.append(ScriptedReply(body=theirs))
        assert call().id == "ftjob-1"
    name = "ft:gpt-4o-mini:acme::7p4lURel"
    client.chat.completions.create(model=name, messages=QUESTION)
    assert upstream.bodies[-1]["model"] == name
    sent = len(upstream.bodies)
    for send in (
        lambda model: client.chat.completions.create(model=model, messages=QUESTION),
        client.models.retrieve,
    ):
        with pytest.raises(openai.NotFoundError):
            send("ft:small:default::bt7p4lURel")
    assert len(upstream.bodies) == sent
