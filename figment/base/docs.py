"""The docstrings under the fields of a configuration, read from the source: they are the options' help."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def field_docs(module: str) -> dict[str, str]:
    """Field name -> docstring for every dataclass in `module` ("train/config.py"), without importing it."""
    docs = {}
    for node in ast.parse((PACKAGE / module).read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, after in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                docs[field.target.id] = str(after.value.value)
    return docs
