"""``backtalk watch``: learn in the background as feedback arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.commands.learn import MethodArgument
from backtalk.cli.options import (
    PROJECT,
    STORE,
    ActorOption,
    AspectOption,
    CallsOption,
    GuardOption,
    KindsOption,
    LimitOption,
    MethodOptionsOption,
    MoneyOption,
    PricesOption,
    ProjectOption,
    SecondsOption,
    SeedOption,
    SendToOption,
    StoreOption,
    TokensOption,
    TrainSplitOption,
)

if TYPE_CHECKING:
    from backtalk.policy import Policy
    from backtalk.store import Store


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("watch", rich_help_panel=panel)(watch)


def watch(
    context: typer.Context,
    method: MethodArgument,
    *,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Policy to improve, by name or id. Default: the active policy at the start of "
            "each round."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name for the new policies.")] = None,
    option: MethodOptionsOption = None,
    kind: KindsOption = None,
    aspect: AspectOption = "overall",
    split: TrainSplitOption = "train",
    every: Annotated[
        int, typer.Option(min=1, help="Start a round after this many new feedback items.")
    ] = 100,
    interval: Annotated[
        float | None,
        typer.Option(min=0, help="Start a round once new feedback is this many seconds old."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Run the rounds that are due, then exit.")
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option(
            help="Judge that compares each new policy with the active one on held-out prompts."
        ),
    ] = None,
    guard: GuardOption = None,
    limit: LimitOption = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Promote each policy that passes the gate.")
    ] = False,
    experiment: Annotated[
        str | None,
        typer.Option(
            help="Start an A/B experiment for each new policy, decided by this feedback signal: "
            "thumb, rating, outcome or preference.",
            metavar="SIGNAL",
        ),
    ] = None,
    actor: ActorOption = "",
    seed: SeedOption = 0,
    max_calls: CallsOption = None,
    max_tokens: TokensOption = None,
    max_money: MoneyOption = None,
    max_seconds: SecondsOption = None,
    prices: PricesOption = None,
    send_to: SendToOption = None,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
) -> None:
    """Learn a new policy whenever enough feedback has arrived, in the background.

    Of several processes that watch the same method, one works and the others take over if it
    stops. `backtalk job list` shows the rounds. SIGTERM or Ctrl-C ends it after the current step.

    Examples
    --------
    - `backtalk watch best-of-n --every 200 --judge true-utility --promote`
    - `backtalk watch dpo --interval 3600 --experiment thumb`
    """
    from backtalk.cli.background import run_worker
    from backtalk.cli.context import (
        make_budget,
        opened,
        read_assignments,
        refuse_options,
        user_name,
    )
    from backtalk.cli.sending import sending
    from backtalk.learn import get_method
    from backtalk.promotion import Gate

    if judge is None:
        mend = "Name a judge with --judge"
        refuse_options(context, "guard", because="without --judge nothing is evaluated", mend=mend)
        refuse_options(context, "limit", because="without --judge nothing is evaluated", mend=mend)
    if not (promote or experiment):
        refuse_options(
            context,
            "actor",
            because="nothing is promoted and no experiment is started",
            mend="Add --promote or --experiment",
        )
    options: dict[str, Any] = dict(read_assignments(option))
    get_method(method).read_options(options)
    budget = make_budget(
        calls=max_calls, tokens=max_tokens, money=max_money, seconds=max_seconds, prices=prices
    )
    with (
        opened(store, project) as db,
        sending(
            _answering(db, policy, judge), send_to=send_to, judges=[] if judge is None else [judge]
        ),
    ):
        run_worker(
            db,
            {
                "method": method,
                "policy": policy,
                "options": options,
                "kinds": None if kind is None else tuple(kind),
                "aspect": aspect,
                "split": split,
                "seed": seed,
                "name": name,
                "judge": judge,
                "guards": tuple(guard or ()),
                "limit": limit,
                "gate": Gate() if promote else None,
                "experiment": experiment,
                "actor": actor or user_name(),
            },
            every=every,
            interval=interval,
            once=once,
            budget=budget,
            prices=prices,
        )


def _answering(store: Store, policy: str | None, judge: str | None) -> list[Policy]:
    """Return the policies whose answers a judge compares."""
    from backtalk.policy import read_policy
    from backtalk.promotion import active_policy

    if judge is None:
        return []
    named = None if policy is None else read_policy(store, policy)
    return [one for one in (named, active_policy(store)) if one is not None]
