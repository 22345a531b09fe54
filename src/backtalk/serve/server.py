"""Running a gateway with uvicorn, in one or several processes."""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from backtalk.annotation.inbox_address import remove_address, write_address
from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback.record import record_error
from backtalk.serve.observability.exporter import check_tracing
from backtalk.serve.observability.logs import log_config
from backtalk.serve.observability.metrics import MULTIPROCESS_DIRECTORY
from backtalk.serve.redaction import Redactor
from backtalk.serve.settings import SETTINGS_VARIABLE, Settings
from backtalk.serve.store_connection import StoreConnection, StoreUnavailable
from backtalk.serve.workers import serve_in_process, serve_with_workers

_GRACEFUL_SECONDS = 30


def read_settings(file: Path | None, **overrides: Any) -> Settings:
    """Return settings from a YAML file and overrides.

    Parameters
    ----------
    file : Path or None
        YAML file with fields of :class:`~backtalk.serve.settings.Settings`.
    **overrides : Any
        Fields that take precedence over the file, unless ``None``.

    Raises
    ------
    NotFound
        If the file does not exist.
    RecordError
        If a field is invalid; the message names it.
    """
    fields: Any = {}
    if file is not None:
        if not file.is_file():
            raise NotFound(f"There is no file {file}", "See docs/serve.md for an example")
        try:
            fields = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise BacktalkError(f"{file} is not YAML: {error}") from None
    if not isinstance(fields, dict):
        raise BacktalkError(
            f"{file} is not a mapping of settings", "Write one setting a line: store: feedback.db"
        )
    fields |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings.model_validate(fields)
    except ValidationError as error:
        raise record_error("the gateway", error) from None


def is_loopback(host: str) -> bool:
    """Return true if only this machine can reach a host.

    >>> is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_settings(settings: Settings, *, host: str, port: int) -> None:
    """Raise an error if a gateway could not start.

    A store that has been opened before may be unavailable.

    Parameters
    ----------
    settings : Settings
        Settings of the gateway.
    host : str
        Address to listen on.
    port : int
        Port to listen on.

    Raises
    ------
    BacktalkError
        If the store cannot be opened, a redaction does not exist, or the port is in use.
    """
    Redactor(settings.redact)
    check_tracing(settings)
    connection = StoreConnection(settings.store, settings.state_folder)
    try:
        connection.store()
    except StoreUnavailable:
        if not connection.existed:
            raise
    finally:
        connection.close()
    try:
        with socket.create_server((host, port), reuse_port=False):
            pass
    except OSError as error:
        raise BacktalkError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}",
            "Use another port with --port, or stop the program that uses it",
        ) from None


def has_keys(settings: Settings) -> bool:
    """Return true if the store has had a key; false if it is unavailable."""
    connection = StoreConnection(settings.store, settings.state_folder)
    try:
        return bool(connection.store().api_keys.keys())
    except StoreUnavailable:
        return False
    finally:
        connection.close()


def page_address(host: str, port: int) -> str:
    """Return the address at which a browser on this machine finds the pages.

    >>> page_address("0.0.0.0", 8080), page_address("::1", 80)
    ('http://127.0.0.1:8080', 'http://[::1]:80')

    Parameters
    ----------
    host : str
        Address that the gateway listens on.
    port : int
        Port that it listens on.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    settings: Settings,
    *,
    host: str,
    port: int,
    workers: int = 1,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until a signal to stop. Requests in progress are completed first.

    Parameters
    ----------
    settings : Settings
        Settings of the gateway.
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 for any free one.
    workers : int, default 1
        Number of processes.
    on_ready : Callable[[str], None], optional
        Function that receives the address of the pages once the gateway accepts requests.
    """
    address = ""

    def announce(port: int) -> None:
        nonlocal address
        address = page_address(host, port)
        write_address(settings.state_folder, address)
        if on_ready is not None:
            on_ready(address)

    def forget() -> None:
        remove_address(settings.state_folder, address)

    os.environ[SETTINGS_VARIABLE] = settings.to_json()
    options: dict[str, Any] = {
        "app": "backtalk.serve.app:from_environment",
        "factory": True,
        "log_config": log_config(),
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": _GRACEFUL_SECONDS,
    }
    if workers == 1:
        serve_in_process(options, host=host, port=port, announce=announce, on_stop=forget)
        return
    shutdown_timeout = _GRACEFUL_SECONDS + 2 * settings.shutdown_timeout
    with tempfile.TemporaryDirectory(prefix="backtalk-metrics-") as folder:
        os.environ[MULTIPROCESS_DIRECTORY] = folder
        try:
            serve_with_workers(
                options,
                host=host,
                port=port,
                workers=workers,
                shutdown_timeout=shutdown_timeout,
                announce=announce,
            )
        finally:
            forget()
