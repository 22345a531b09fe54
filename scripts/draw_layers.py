"""Draw the layers of the package, as the import contract in pyproject.toml states them."""

from __future__ import annotations

import ast
import sys
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "layers.svg"

WIDTH, ROW, GAP, LEFT = 1000, 34, 6, 20
FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


def layers() -> list[list[str]]:
    """Return the packages of each layer, from the top down."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (contract,) = [one for one in contracts if one["type"] == "layers"]
    return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]


def summary(package: str) -> str:
    """Return the first sentence of the docstring of a package or module."""
    folder = ROOT / "src" / "backtalk" / package
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return (
        " ".join(text.split("\n\n", maxsplit=1)[0].split())
        .partition(". ")[0]
        .rstrip(".")
        .replace("``", "")
    )


def draw() -> str:
    """Return the picture as SVG: a row for each layer, the top layer first."""
    rows = [(names, i) for i, names in enumerate(layers())]
    height = 44 + sum(len(names) for names, _ in rows) * ROW + len(rows) * GAP + 10
    parts = [
        (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' "
            f"width='{WIDTH}' height='{height}' role='img'>"
        ),
        "<title>Layers of the package backtalk</title>",
        f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
        (
            f"<text x='{LEFT}' y='26' {FONT} font-size='15' fill='#555555'>"
            "A package imports only packages of lower layers; packages of one layer do not import "
            "each other.</text>"
        ),
    ]
    y = 40
    for names, i in rows:
        tall = len(names) * ROW
        shade = "#eef3f8" if i % 2 else "#e3ebf4"
        parts.append(
            f"<rect x='{LEFT}' y='{y}' width='{WIDTH - 2 * LEFT}' height='{tall}' rx='6' "
            f"fill='{shade}'/>"
        )
        for k, name in enumerate(names):
            base = y + k * ROW + 22
            parts.append(
                f"<text x='{LEFT + 14}' y='{base}' {FONT} font-size='16' font-weight='600' "
                f"fill='#17324d'>{escape(name)}</text>"
                f"<text x='{LEFT + 190}' y='{base}' {FONT} font-size='14' fill='#333333'>"
                f"{escape(summary(name))}</text>"
            )
        y += tall + GAP
    return "\n".join([*parts, "</svg>", ""])


def main() -> int:
    """Write the picture to docs/layers.svg."""
    PICTURE.write_text(draw(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
