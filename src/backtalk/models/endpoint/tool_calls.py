"""Assembly of streamed tool calls from their pieces."""

from __future__ import annotations

import json
from typing import Any


class ToolCallAssembler:
    """Assembles the pieces of streamed tool calls.

    Servers number the calls from 0 or from 1, give all of them one index, or none. A piece belongs
    to the call with its index. It begins a new one if it has a new id, or if it names a function
    and the call before it is complete. A piece with neither an index nor an id belongs to the last
    call. An id, a name or a type that is repeated in every piece is taken once.

    >>> calls = ToolCallAssembler()
    >>> calls.add({"index": 1, "id": "a", "function": {"name": "time", "arguments": '{"zone"'}})
    (0, '{"zone"')
    >>> calls.add({"index": 1, "function": {"arguments": ': "CET"}'}})
    (0, ': "CET"}')
    >>> calls.calls()
    [{'type': 'function', 'function': {'name': 'time', 'arguments': '{"zone": "CET"}'}, 'id': 'a'}]
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def add(self, piece: dict[str, Any]) -> tuple[int, str]:
        """Add a piece of a call, an item of ``delta.tool_calls``.

        Returns
        -------
        tuple of int and str
            Position of the call, in the order in which calls began, and the text that the piece
            adds to its arguments.
        """
        index = piece.get("index")
        index = index if isinstance(index, int) else None
        id_ = piece.get("id")
        id_ = id_ if isinstance(id_, str) and id_ else None
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        call = self._find(index, id_)
        if call is None or call.is_followed_by(id_, function, has_index=index is not None):
            last = self._calls[-1].index if self._calls else 0
            call = _Call(last if index is None else index)
            self._calls.append(call)
        return self._calls.index(call), call.add(id_, piece, function)

    def call(self, position: int) -> dict[str, Any]:
        """Return the call that began at a position."""
        return self._calls[position].to_dict()

    def __len__(self) -> int:
        return len(self._calls)

    def calls(self) -> list[dict[str, Any]]:
        """Return the calls so far, by index, and those with the same index in order."""
        ordered = sorted(self._calls, key=lambda call: call.index)
        return [call.to_dict() for call in ordered]

    def _find(self, index: int | None, id_: str | None) -> _Call | None:
        """Return the call that a piece may belong to: by its id, else the last of its index."""
        calls = [call for call in self._calls if index is None or call.index == index]
        same = next((call for call in calls if id_ is not None and call.id == id_), None)
        return same or (calls[-1] if calls else None)


class _Call:
    """Call in progress."""

    __slots__ = ("_arguments", "_other", "id", "index", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id: str | None = None
        self.name = ""
        self._other: dict[str, Any] = {"type": "function"}
        self._arguments: list[str] = []

    def is_followed_by(self, id_: str | None, function: dict[str, Any], *, has_index: bool) -> bool:
        """Return true if a piece begins another call."""
        if id_ is not None and self.id is not None:
            return id_ != self.id
        name = function.get("name")
        if not name or not self.name:
            return False
        if not has_index and name != self.name:
            return True
        return bool(_as_text(function.get("arguments")).strip()) and self._is_complete()

    def add(self, id_: str | None, piece: dict[str, Any], function: dict[str, Any]) -> str:
        """Add a piece that belongs to this call and return what it adds to the arguments."""
        self.id = id_ or self.id
        for field, value in piece.items():
            if field not in {"index", "id", "function"} and value is not None:
                self._other[field] = value
        name = function.get("name")
        if isinstance(name, str) and name != self.name:
            self.name += name
        arguments = _as_text(function.get("arguments"))
        self._arguments.append(arguments)
        return arguments

    def to_dict(self) -> dict[str, Any]:
        """Return the call as an answer that is not streamed has it."""
        function = {"name": self.name, "arguments": "".join(self._arguments)}
        call = {**self._other, "function": function}
        return call if self.id is None else {**call, "id": self.id}

    def _is_complete(self) -> bool:
        arguments = "".join(self._arguments).strip()
        if not arguments.endswith("}"):
            return False
        try:
            json.loads(arguments)
        except (ValueError, RecursionError):
            return False
        return True


def _as_text(arguments: Any) -> str:
    """Return arguments as text, which some servers send as an object."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return json.dumps(arguments, ensure_ascii=False)
