"""Docstrings of the attributes of a class, read from its source when they are needed."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from textwrap import dedent

from pydantic import BaseModel


@cache
def attribute_docstrings(owner: type) -> dict[str, str]:
    """Return the docstring of each annotated attribute that has one, those of base classes too.

    An attribute that a subclass declares again has the docstring of the subclass only.

    Parameters
    ----------
    owner : type
        Class; without its source, as in an interactive session, it has no docstrings.
    """
    docstrings: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        if base is BaseModel or not inspect.get_annotations(base):
            continue
        for name in inspect.get_annotations(base):
            docstrings.pop(name, None)
        docstrings |= _own_docstrings(base)
    return docstrings


@cache
def _own_docstrings(cls: type) -> dict[str, str]:
    try:
        (definition,) = ast.parse(dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}
    if not isinstance(definition, ast.ClassDef):
        return {}
    return {
        statement.target.id: inspect.cleandoc(following.value.value)
        for statement, following in zip(definition.body, definition.body[1:], strict=False)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
        and isinstance(following.value.value, str)
    }
