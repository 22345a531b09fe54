"""Spellings of commands and options before 0.1, accepted for one version; and `learn --watch`."""

from __future__ import annotations

from collections.abc import Sequence

COMMANDS: dict[str, tuple[str, ...]] = {
    "estimate": ("policy", "estimate"),
    "inbox": ("task",),
    "keys": ("key",),
    "report": ("evaluation", "report"),
    "respond": ("ask",),
}
"""Current spelling of each old command."""

OPTIONS: dict[str, str] = {"--who": "--actor"}
"""Current spelling of the old options of every command."""

COMMAND_OPTIONS: dict[str, dict[str, str]] = {
    "learn-online": {
        "--ask": "--prompts-per-round",
        "--samples": "--num-samples",
        "--pairs": "--pair-selection",
        "--sampling": "--sampler",
        "--mixing": "--mixture-weight",
    },
    "task": {"--ask": "--kind", "--most": "--max-items"},
}
"""Current spelling of the old options of single commands."""


def current_spelling(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """Return a command line with old spellings replaced, and a note on what to write instead.

    ``learn METHOD --watch`` is ``watch METHOD``, without a note.

    Parameters
    ----------
    arguments : sequence of str
        Command line, without the name of the program.

    Returns
    -------
    tuple of (list of str, str or None)
        The command line in the current spelling; and the note, ``None`` if nothing was replaced.

    Examples
    --------
    >>> current_spelling(["respond", "Is it open?"])[0]
    ['ask', 'Is it open?']
    >>> current_spelling(["learn", "dpo", "--rounds", "3", "--ask", "50"])[0]
    ['learn-online', 'dpo', '--rounds', '3', '--prompts-per-round', '50']
    >>> current_spelling(["policy", "list"])
    (['policy', 'list'], None)
    """
    if not arguments:
        return [], None
    arguments = _watch(arguments)
    command, *rest = arguments
    head = _command(command, rest)
    renamed = {**OPTIONS, **COMMAND_OPTIONS.get(head[0], {})}
    tail = [_option(item, renamed) for item in rest]
    if head == ("job", "retry"):
        tail = [_value_of(item, "--retry") for item in tail if item != "--retry"]
    current = [*head, *tail]
    if current == list(arguments):
        return current, None
    return current, f"Use `backtalk {' '.join(head)}`: the spelling given is going away."


def _watch(arguments: Sequence[str]) -> Sequence[str]:
    if arguments[0] != "learn" or "--watch" not in arguments:
        return arguments
    return ["watch", *(item for item in arguments[1:] if item != "--watch")]


def _command(command: str, rest: Sequence[str]) -> tuple[str, ...]:
    names = {item.partition("=")[0] for item in rest}
    if command == "learn" and "--rounds" in names:
        return ("learn-online",)
    if command == "jobs":
        return ("job", "retry" if "--retry" in names else "list")
    return COMMANDS.get(command, (command,))


def _option(item: str, renamed: dict[str, str]) -> str:
    name, equals, value = item.partition("=")
    return f"{renamed[name]}{equals}{value}" if name in renamed else item


def _value_of(item: str, option: str) -> str:
    name, equals, value = item.partition("=")
    return value if equals and name == option else item
