"""Write the tables of a policy's fields into docs/policies.md, between two marks."""

from __future__ import annotations

from pathlib import Path

from backtalk.policy.schema import field_tables

PAGE = Path(__file__).parents[1] / "docs" / "policies.md"
BEGIN, END = "<!-- fields -->\n", "<!-- end of fields -->\n"


def tables() -> str:
    """Return the tables in Markdown."""
    parts = []
    for title, rows in field_tables():
        lines = [f"| `{name}` | {kind} | {text} |" for name, kind, text in rows]
        parts += [f"**{title}**", "", "| field | value | meaning |", "|---|---|---|", *lines, ""]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{tables()}{END}{rest.partition(END)[2]}", encoding="utf-8")
