"""Where prepared data and finished folds are kept between runs: never inside the repository."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Find the folder for one kind of cached thing: below ``TALARIA_CACHE``, else ``~/.cache/talaria``."""
    root = os.environ.get("TALARIA_CACHE")
    folder = (Path(root) if root else Path.home() / ".cache" / "talaria") / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def source_digest(*modules: str) -> str:
    """Digest our own modules' code, so that a change of code never meets an old result.

    Parameters
    ----------
    *modules : str
        Names below ``talaria_training``, or full names with a dot.
    """
    digest = hashlib.sha256()
    for name in modules:
        full = name if "." in name else f"talaria_training.{name}"
        spec = importlib.util.find_spec(full)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(full)
        tree = ast.parse(Path(spec.origin).read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value = ast.Constant("")  # a docstring changes no result, nor does a comment
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()
