"""Running a gateway with uvicorn, in one process or several."""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from pydantic import ValidationError

from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback.record import record_error
from backtalk.serve.app import VARIABLE
from backtalk.serve.observability.exporter import check_traces
from backtalk.serve.observability.logs import log_config
from backtalk.serve.observability.metrics import SHARED
from backtalk.serve.redaction import Redactor
from backtalk.serve.settings import Settings
from backtalk.serve.store_connection import StoreConnection, StoreUnavailable
from backtalk.serve.workers import serve_with_workers

_GRACEFUL_SECONDS = 30


def read_settings(file: Path | None, **given: Any) -> Settings:
    """Return settings from a YAML file, and from what is given besides.

    Parameters
    ----------
    file : Path or None
        The fields of :class:`~backtalk.serve.settings.Settings`, if there is such a file.
    given
        Fields that go before those of the file, where they are not ``None``.

    Raises
    ------
    NotFound
        If there is no such file.
    RecordError
        If a field is not valid; the message names it.
    """
    fields: Any = {}
    if file is not None:
        if not file.is_file():
            raise NotFound(f"There is no file {file}", "docs/serve.md shows how to write one")
        try:
            fields = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise BacktalkError(f"{file} is not YAML: {error}") from None
    if not isinstance(fields, dict):
        raise BacktalkError(f"{file} is not a mapping of fields", "Write store: feedback.db")
    fields |= {name: value for name, value in given.items() if value is not None}
    try:
        return Settings.model_validate(fields)
    except ValidationError as error:
        raise record_error("the gateway", error) from None


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address.

    >>> is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check(settings: Settings, *, host: str, port: int) -> None:
    """Refuse to start where it could only fail.

    A store that was there before may be away.

    Raises
    ------
    BacktalkError
        If the store cannot be opened, a redaction is not there, or the port is taken.
    """
    Redactor(settings.redact)
    check_traces(settings)
    keeper = StoreConnection(settings.store, settings.state_folder)
    try:
        keeper.store()
    except StoreUnavailable:
        if not keeper.was_there:
            raise
    finally:
        keeper.let_go()
    try:
        with socket.create_server((host, port), reuse_port=False):
            pass
    except OSError as error:
        raise BacktalkError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}",
            "Give another port with --port, or end what is there",
        ) from None


def run(settings: Settings, *, host: str, port: int, workers: int = 1) -> None:
    """Serve until a signal says to end; requests that began are answered first.

    Parameters
    ----------
    settings : Settings
        Of the gateway.
    host, port
        Where it listens.
    workers : int, default 1
        How many processes share the work.
    """
    os.environ[VARIABLE] = settings.to_json()
    options: dict[str, Any] = {
        "app": "backtalk.serve.app:from_environment",
        "factory": True,
        "log_config": log_config(),
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": _GRACEFUL_SECONDS,
    }
    if workers == 1:
        uvicorn.run(**options, host=host, port=port)
        return
    patience = _GRACEFUL_SECONDS + 2 * settings.close_after
    with tempfile.TemporaryDirectory(prefix="backtalk-metrics-") as folder:
        os.environ[SHARED] = folder
        serve_with_workers(options, host=host, port=port, workers=workers, patience=patience)
