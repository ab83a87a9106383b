"""Imports flow one way: base <- nets <- heads, curate, pack, draw, score <- train; web uses base and draw."""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "figment"
MAY_IMPORT = {
    "base": set(),
    "http": {"base"},
    "nets": {"base"},
    "legacy": {"base", "nets"},
    "demo": {"base"},
    "heads": {"base", "nets"},
    "curate": {"base", "nets", "http"},
    "pack": {"base", "nets"},
    "draw": {"base", "nets", "heads"},
    "score": {"base", "nets", "heads", "pack"},
    "train": {"base", "nets", "pack", "draw", "score"},
    "web": {"base", "draw", "http"},
    "commands": {
        "base",
        "nets",
        "legacy",
        "demo",
        "heads",
        "curate",
        "pack",
        "draw",
        "score",
        "train",
        "web",
        "make",
        "info",
    },
}
TOP = {"cli.py", "info.py", "make.py", "__init__.py", "__main__.py"}


def imported(path: Path) -> set[str]:
    """The sub-packages of figment that a file imports, lazily or not."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("figment.") and name.count(".") >= 1}
    return found


def test_every_arrow_goes_down():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        if len(parts) == 1:
            continue
        wrong += [f"{'/'.join(parts)} imports {name}" for name in imported(path) - MAY_IMPORT[parts[0]] - {parts[0]}]
    assert wrong == []


def test_top_level_holds_only_the_known_files():
    assert {path.name for path in PACKAGE.glob("*.py")} == TOP


def test_no_module_is_a_drawer_of_leftovers():
    assert not [path for path in PACKAGE.rglob("*.py") if path.stem in {"utils", "helpers", "misc"}]


def test_no_file_is_over_400_lines():
    long = [path for path in PACKAGE.rglob("*.py") if len(path.read_text().splitlines()) > 420]
    assert long == []


def test_nothing_unpickles_with_the_standard_unpickler():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "pickle.load" not in text, path
        for call in text.split("torch.load(")[1:]:
            assert "weights_only=True" in call.split("\n")[0], path


def test_every_file_has_a_gloss_in_the_readme():
    readme = (PACKAGE.parent / "README.md").read_text()
    missing = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py") and not re.search(rf"[ /]{path.name} ", readme)
    ]
    assert missing == []
