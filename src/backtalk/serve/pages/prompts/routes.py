"""Routes of the page Prompts: versions, their differences and their evidence."""

from __future__ import annotations

from starlette.responses import Response

from backtalk.errors import NotFound
from backtalk.evaluate.storage import list_evaluations
from backtalk.policy import Policy, list_policies, policy_origin
from backtalk.promotion import active_policy
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.policies import view
from backtalk.serve.pages.prompts.difference import prompt_difference
from backtalk.serve.pages.prompts.versions import PromptVersion, prompt_versions
from backtalk.serve.pages.section import Section

section = Section("/prompts", "Prompts", "view")


@section.get()
def listing(request: PageRequest) -> Response:
    """Show the versions of the project's prompt, latest first."""
    versions = _versions(request)
    return request.page(
        "prompts/list.html",
        title="Prompts",
        versions=versions,
        rows=[
            (version, prompt_difference(_before(version.parent, versions), version.first))
            for version in versions.values()
        ],
    )


@section.get("/{id}")
def show(request: PageRequest) -> Response:
    """Show a version: its text, its changes from another version, and its evidence."""
    versions = _versions(request)
    version = _find(versions, request.part("id"))
    chosen = request.query("against")
    against = _find(versions, chosen).id if chosen else version.parent
    served = next((item for item in versions.values() if item.serves), None)
    active = active_policy(request.store)
    labels = {policy.id: policy.label for policy in list_policies(request.store)}
    return request.page(
        "prompts/detail.html",
        title=f"Prompt {version.label}",
        version=version,
        versions=versions,
        served=served,
        against=None if against is None else versions.get(against),
        others=[
            (item.id, f"{item.label} ({item.id[:8]})")
            for item in versions.values()
            if item.id != version.id
        ],
        slots=prompt_difference(_before(against, versions), version.first),
        origin=view.origin(version.first),
        evaluations=[
            (
                item,
                labels.get(item.candidate, item.candidate[:8]),
                view.evaluation_view(
                    item,
                    labels,
                    served=None if active is None else active.id,
                    origin=policy_origin(version.first, request.store),
                ),
            )
            for item in version.evaluations
        ],
    )


def _versions(request: PageRequest) -> dict[str, PromptVersion]:
    active = active_policy(request.store)
    return prompt_versions(
        list_policies(request.store),
        list_evaluations(request.store),
        served=None if active is None else active.id,
    )


def _find(versions: dict[str, PromptVersion], id_: str) -> PromptVersion:
    matches = [version for version in versions.values() if version.id.startswith(id_)]
    if len(matches) != 1:
        raise NotFound(f"There is no prompt version {id_!r}", "The page Prompts lists them")
    return matches[0]


def _before(id_: str | None, versions: dict[str, PromptVersion]) -> Policy | None:
    return None if id_ is None or id_ not in versions else versions[id_].first
