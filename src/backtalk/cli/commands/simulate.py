"""``backtalk simulate``: feedback from simulated annotators, in a world with known utility."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    JsonOption,
    KindsOption,
    OptionsOption,
    ProjectOption,
    SeedOption,
    SendToOption,
    StoreOption,
)

if TYPE_CHECKING:
    from backtalk.policy import Policy
    from backtalk.store import Store


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("simulate", rich_help_panel=panel)(simulate)


def simulate(
    world: Annotated[
        str, typer.Argument(help="World: mail, sums, programs, lists, or one of a plug-in.")
    ],
    *,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Policy that answers, by name or id. Default: the active policy, or else the "
            "world's small model."
        ),
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="Number of requests.")] = 200,
    drafts: Annotated[int, typer.Option(min=1, help="Number of answers to each request.")] = 4,
    people: Annotated[int, typer.Option(min=1, help="Number of simulated annotators.")] = 4,
    each: Annotated[int, typer.Option(min=1, help="Number of annotators per request.")] = 1,
    kind: KindsOption = None,
    option: OptionsOption = None,
    seed: SeedOption = 0,
    send_to: SendToOption = None,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Answer the requests of a world with a policy, and add feedback of simulated annotators.

    `-o` sets the annotators' noise, temperature, length_bias, position_bias, sycophancy, taste,
    delay, abstention, critique_style and edit_style. The judge `true-utility:WORLD` evaluates by
    the known utility. One fifth of the requests is held out from learning.

    Examples
    --------
    - `backtalk simulate mail --requests 500 --kind preference --kind edit -o noise=0.1`
    - `backtalk simulate sums --drafts 2 --people 8 --each 2 -o taste=0.05 -o delay=3600`
    """
    import asyncio
    from collections import Counter

    from backtalk.cli.context import open_run, opened, read_assignments, store_options, with_options
    from backtalk.cli.output import note, say, say_json, say_table
    from backtalk.cli.sending import sending
    from backtalk.errors import BacktalkError
    from backtalk.models import load_model
    from backtalk.worlds import get_world
    from backtalk.worlds.annotators import FEEDBACK_KINDS, make_crowd, parse_person_options
    from backtalk.worlds.simulate import simulate_interactions

    if drafts < 2 and (compared := sorted({"preference", "ranking"} & set(kind or ()))):
        raise BacktalkError(
            f"Feedback of kind {compared[0]} compares answers, and each request has one",
            "Raise --drafts, or choose another --kind",
        )
    simulated_world = get_world(world)
    options = parse_person_options(dict(read_assignments(option)))
    crowd = make_crowd(world, people, seed=seed, **options)
    with (
        opened(store, project, create=True) as db,
        sending(
            [drafting := _answering_policy(db, policy, world)], send_to=send_to, prompts=requests
        ),
        open_run(db, "simulate", world, seed=seed) as run,
    ):
        interactions = asyncio.run(
            simulate_interactions(
                run.wrap(load_model(drafting.model, db.artifacts)),
                [
                    *simulated_world.prompts("train", requests - requests // 5, seed=seed),
                    *simulated_world.prompts("held-out", requests // 5, seed=seed),
                ],
                num_drafts=drafts,
                sampling=drafting.decoder.base_sampling,
                run=run,
                system=drafting.system,
                policy=drafting.id,
                name=f"{world} {drafting.id}",
            )
        )
        counts: Counter[str] = Counter()
        cases = list(
            crowd.annotate(interactions, kind or FEEDBACK_KINDS, people_per_interaction=each)
        )
        db.add_cases(cases)
        for case in cases:
            counts.update(item.kind for item in case.feedback)
    results = dict(sorted(counts.items()))
    if json:
        say_json({"policy": drafting.id, "feedback": results, "seconds": crowd.seconds})
        return
    say(f"{simulated_world.name}: {simulated_world.description}")
    answers = f"{drafts} answers" if drafts > 1 else "one answer"
    say(f"{len(interactions):,} requests with {answers} each by {drafting.label}.")
    say_table(("feedback", ""), [(name, f"{n:,}") for name, n in results.items()], numbers=(1,))
    say(f"Equivalent annotation time: {crowd.seconds / 3600:.1f} hours.")
    following = f"Next: `backtalk methods`; evaluate with --judge true-utility:{world}"
    note(with_options(following, store_options(store, project)))


def _answering_policy(store: Store, name: str | None, world: str) -> Policy:
    """Return the policy that answers: the one named, the active one, or a new plain one."""
    from backtalk.decode import Sample
    from backtalk.models import Sampling
    from backtalk.models.spec import NamedSpec
    from backtalk.policy import Policy, read_policy, save_policy
    from backtalk.promotion import active_policy
    from backtalk.worlds import get_world

    if name is not None:
        return read_policy(store, name)
    served = active_policy(store)
    if served is not None:
        return served
    plain = Policy(
        model=NamedSpec(name="small", options={"world": world}),
        decoder=Sample(sampling=Sampling(max_tokens=get_world(world).max_tokens)),
        name="plain",
    )
    save_policy(store, plain)
    return plain
