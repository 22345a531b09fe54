"""Training files, clients and workers of the tests of fine-tuning jobs."""

import json
import time
from contextlib import contextmanager

import openai

from backtalk.serve import Settings
from backtalk.serve.fine_tuning.settings import FineTuningSettings
from backtalk.serve.fine_tuning.worker import FineTuningWorker
from backtalk.store import Store
from tests.serve.conftest import running_gateway

REQUEST = "Write to my boss, Ms Klein.\nReport ready: Friday, {} pages."
ANSWER = "Dear Ms Klein, the report of {} pages is ready."


def conversation(number, **answer):
    return {
        "messages": [
            {"role": "user", "content": REQUEST.format(number)},
            {"role": "assistant", "content": ANSWER.format(number), **answer},
        ]
    }


def preference(number):
    return {
        "input": {"messages": [{"role": "user", "content": REQUEST.format(number)}]},
        "preferred_output": [{"role": "assistant", "content": ANSWER.format(number)}],
        "non_preferred_output": [{"role": "assistant", "content": "Ready."}],
    }


def jsonl(rows):
    """Return rows as JSON lines; rows that are texts stay as they are."""
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def supervised(**hyperparameters):
    return {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}


class Client(openai.OpenAI):
    """The openai client, with shortcuts."""

    def upload(self, rows, name="train.jsonl"):
        """Upload rows and return the id of the file."""
        content = jsonl(rows).encode()
        return self.files.create(file=(name, content), purpose="fine-tune").id

    def fine_tune(self, rows, *, model="small", validated=True, **fields):
        """Create a job for rows, or for feedback that a text names."""
        source = rows if isinstance(rows, str) else self.upload(rows)
        job = self.fine_tuning.jobs.create(model=model, training_file=source, **fields)
        return self.wait(job.id, "validating_files") if validated else job

    def wait(self, id_, *statuses, seconds=600):
        """Return a job once it has another status."""
        end = time.monotonic() + seconds
        while (job := self.fine_tuning.jobs.retrieve(id_)).status in statuses:
            assert time.monotonic() < end, job
            time.sleep(0.02)
        return job

    def messages(self, id_):
        """Return the messages of a job's events, the oldest first."""
        return [event.message for event in self.fine_tuning.jobs.list_events(id_, limit=100)][::-1]

    def steps(self, id_):
        """Return the steps that have an event of metrics, the oldest first."""
        events = self.fine_tuning.jobs.list_events(id_, limit=100)
        return [event.data["step"] for event in events if event.type == "metrics"][::-1]


@contextmanager
def gateway_without_worker(folder, **fields):
    """Run a gateway whose jobs are run by :func:`work`; yield it with a client."""
    own = {"train": False, **fields.pop("fine_tuning", {})}
    settings = Settings(
        **{"store": str(folder / "feedback.db"), "keys": "never", "fine_tuning": own, **fields}
    )
    with running_gateway(settings) as running:
        yield running, Client(base_url=f"{running.url}/v1", api_key="none", max_retries=0)


def worker(running, **changes):
    """Return a worker for the jobs of a gateway."""
    settings = running.settings.fine_tuning.model_dump() | changes
    store = Store(running.settings.store, project=running.settings.project)
    return FineTuningWorker(store, FineTuningSettings(**settings))


def work(running, **changes):
    """Run the jobs that are queued, in this process."""
    assert worker(running, **changes).run(idle_seconds=0)
