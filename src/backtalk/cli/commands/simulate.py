"""``backtalk simulate``: feedback of simulated people, in a world whose truth is known."""

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
    StoreOption,
)

if TYPE_CHECKING:
    from backtalk.policy import Policy
    from backtalk.store import Store


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    world: Annotated[str, typer.Argument(help="mail, sums, programs or lists.")],
    *,
    policy: Annotated[
        str | None,
        typer.Option(help="Whose model drafts; what is served, or else the world's small model."),
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="How many requests are made.")] = 200,
    drafts: Annotated[int, typer.Option(min=1, help="How many drafts each gets.")] = 4,
    people: Annotated[int, typer.Option(min=1, help="How many people there are.")] = 4,
    each: Annotated[int, typer.Option(min=1, help="How many of them look at each request.")] = 1,
    kind: KindsOption = None,
    option: OptionsOption = None,
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Let a model answer requests of a world, and simulated people react to the answers.

    What the people are like is set by `-o`: noise, temperature, length_bias, position_bias,
    sycophancy, taste, delay, abstention, critic, editing. The policy that drafts is kept in the
    store; judge what was learned by `--judge true-utility:WORLD`. A fifth of the requests is of
    the prompts that are held out from learning.

    Examples
    --------
    - `backtalk simulate mail --requests 500 --kind preference --kind edit -o noise=0.1`
    - `backtalk simulate sums --drafts 2 --people 8 --each 2 -o taste=0.05 -o delay=3600`
    """
    import asyncio
    from collections import Counter

    from backtalk.cli.context import assignments, opened, run_of
    from backtalk.cli.output import note, say, say_json, say_table
    from backtalk.models import load_model
    from backtalk.worlds import find_world
    from backtalk.worlds.annotators import KINDS, crowd, read_manner
    from backtalk.worlds.simulate import drafted

    home = find_world(world)
    pool = crowd(world, people, seed=seed, **read_manner(dict(assignments(option))))
    with (
        opened(store, project, make=True) as db,
        run_of(db, "simulate", world, seed=seed) as run,
    ):
        drafting = _drafting(db, policy, world)
        interactions = asyncio.run(
            drafted(
                run.wrap(load_model(drafting.model, db.artifacts)),
                [
                    *home.prompts("train", requests - requests // 5, seed=seed),
                    *home.prompts("held-out", requests // 5, seed=seed),
                ],
                drafts=drafts,
                sampling=drafting.decoder.sampling,
                run=run,
                system=drafting.system,
                policy=drafting.id,
                name=f"{world} {drafting.id}",
            )
        )
        counts: Counter[str] = Counter()
        cases = list(pool.react(interactions, kind or KINDS, each=each))
        db.add_cases(cases)
        for case in cases:
            counts.update(item.kind for item in case.feedback)
    results = dict(sorted(counts.items()))
    if json:
        say_json({"policy": drafting.id, "feedback": results, "seconds": pool.seconds})
        return
    say(f"{home.name}: {home.about}")
    say(f"{len(interactions):,} requests, {drafts} drafts each by {drafting.label}.")
    say_table(("feedback", ""), [(name, f"{n:,}") for name, n in results.items()], numbers=(1,))
    say(f"It would have taken people {pool.seconds / 3600:.1f} hours.")
    note(f"Next: backtalk methods; evaluate with --judge true-utility:{world}")


def _drafting(kept: Store, name: str | None, world: str) -> Policy:
    """Return the policy that drafts: the one named, the one served, or a new plain one."""
    from backtalk.decode import Sample
    from backtalk.models import Sampling
    from backtalk.models.spec import NamedSpec
    from backtalk.policy import Policy, read_policy, save_policy
    from backtalk.promotion import active_policy
    from backtalk.worlds import find_world

    if name is not None:
        return read_policy(kept, name)
    served = active_policy(kept)
    if served is not None:
        return served
    plain = Policy(
        model=NamedSpec(name="small", options={"world": world}),
        decoder=Sample(sampling=Sampling(max_tokens=find_world(world).max_tokens)),
        name="plain",
    )
    save_policy(kept, plain)
    return plain
