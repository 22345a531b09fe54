"""Address of the inbox of a store: a running gateway leaves it in a file beside the store."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from backtalk.store import Store
from backtalk.store.engine import state_folder

DEFAULT_ADDRESS = "http://127.0.0.1:8080"
"""Address of a gateway that is started without options."""
_FILE = "address"
_TIMEOUT_SECONDS = 0.5


def write_address(folder: Path, address: str) -> None:
    """Leave the address of a running gateway in its state folder.

    Parameters
    ----------
    folder : Path
        State folder of the gateway.
    address : str
        Address of its pages, such as ``http://127.0.0.1:8080``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).write_text(address, encoding="utf-8")


def remove_address(folder: Path, address: str) -> None:
    """Remove the address of a gateway that stops, unless another one has replaced it.

    Parameters
    ----------
    folder : Path
        State folder of the gateway.
    address : str
        Address of its pages.
    """
    file = folder / _FILE
    with suppress(OSError):
        if file.read_text(encoding="utf-8") == address:
            file.unlink()


def running_gateway(store: Store) -> str | None:
    """Return the address of a gateway of a store that runs on this machine, ``None`` if none does.

    A gateway whose settings name another state folder is not seen.
    """
    try:
        address = (state_folder(store.url) / _FILE).read_text(encoding="utf-8").strip()
        parts = urlsplit(address)
        target = (parts.hostname or "", parts.port or 80)
        socket.create_connection(target, _TIMEOUT_SECONDS).close()
    except (OSError, ValueError):
        return None
    return address


def task_address(store: Store, task: str, address: str = DEFAULT_ADDRESS) -> str:
    """Return the address of a task's page.

    Parameters
    ----------
    store : Store
        Store of the task's project.
    task : str
        Id of the task.
    address : str, default "http://127.0.0.1:8080"
        Address of the gateway.
    """
    query = urlencode({"project": store.project})
    return f"{address}/inbox/{quote(task, safe='')}?{query}"
