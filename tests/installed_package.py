"""Temporary installation of a package with entry points, for tests of plug-ins."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import invalidate_caches
from pathlib import Path


@contextmanager
def installed_package(
    folder: Path, name: str, source: str, entry_points: Mapping[str, Mapping[str, str]]
) -> Iterator[None]:
    """Install a package of one module while the block runs.

    Parameters
    ----------
    folder
        Folder to install into.
    name
        Name of the package and of its module.
    source
        Source of the module.
    entry_points
        Targets of entry points, by group and name.
    """
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / f"{name}.py").write_text(source)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, targets in entry_points.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in targets.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    sys.path.insert(0, str(folder))
    invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)
        invalidate_caches()
