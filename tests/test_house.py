"""The house rules that a program can check: layers, types, safety, length, language, and the map of the tree.

docs/architecture.md describes the layers and lists every file.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from figment.nets.registry import NAMES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "figment"
ARCHITECTURE = ROOT / "docs" / "architecture.md"

LOWER = {"base", "nets", "models"}
MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "http": {"base"},
    "nets": {"base"},
    "demo": {"base"},
    "legacy": {"base", "nets"},
    "models": {"base", "nets", "legacy"},
    # These three meet in files only.
    "heads": LOWER,
    "curate": LOWER | {"http"},
    "pack": LOWER,
    "draw": LOWER | {"heads"},  # the detector finds heads to project and checks drawn ones
    "score": LOWER | {"heads", "pack", "draw"},  # detector features, data sets, paths in latent space
    "train": LOWER | {"heads", "pack", "draw", "score"},  # the detector's features for the projected discriminator
    "web": LOWER | {"http", "draw"},
}
"""What each package may import besides itself, lower layers first."""
STAGES = set(MAY_IMPORT)
MAY_IMPORT |= {
    "info": STAGES,
    "make": STAGES,
    "cli": STAGES | {"info", "make"},
    "__main__": {"cli"},
    "__init__": STAGES | {"info", "make"},  # the public API, imported lazily
}

MAX_LINES = 500
MAX_TYPE_IGNORES = 5
NETWORK_NAMES = {"g", "d", "g_ema", "generator", "discriminator", "network"}
"""Parameters, attributes and variables of these names are typed as networks."""
PLAIN_ENGLISH = ("nets", "train", "base", "legacy", "http", "cli", "heads", "draw", "score", "web")
PLAIN_ENGLISH += ("pack", "demo")
PLAIN_ENGLISH += ("models.py", "info.py", "make.py")
BANNED = re.compile(
    r"\b(so many|manieth|anew|thereby|(?<!there )(is|are|was|were) none|as it were|has no say|a core"
    r"|told|tells(?! (it |them )?apart)|goes? by itself|of one's own|heed|whereof|wherein|held against)\b"
)
"""Phrases of an earlier, dated tone that have no use in plain technical English."""


def modules(folder: Path = PACKAGE) -> list[Path]:
    """Return every Python file below a folder."""
    return sorted(folder.rglob("*.py"))


def name_of(path: Path) -> str:
    """Return the path of a file of the repository, for messages."""
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(), str(path))


def expect_none(wrong: list[str]) -> None:
    """Fail with one line per finding; pytest would cut a long list."""
    assert not wrong, "\n" + "\n".join(wrong)


# --- Layers


def package_of(path: Path) -> str:
    """Return the layer of a file: its package, or its own name at the top level."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_module(name: str) -> bool:
    """Return whether a dotted name is a module or package of figment."""
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def imported_names(tree: ast.Module, module: str) -> Iterator[str]:
    """Yield the full dotted name of everything that the module `module` ("figment.nets.base") imports, in any form.

    Calls of `__import__`, and of `import_module` unless it names a module outside figment, come as "dynamic: CALL".
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0] if node.args else None
            outside = isinstance(first, ast.Constant) and not re.match(r"figment\b|\.", str(first.value))
            if function == "__import__" or (function == "import_module" and not outside):
                yield f"dynamic: {ast.unparse(node)}"


def forbidden_imports(path: Path) -> list[str]:
    """Return a line for every import of a file that its layer does not allow."""
    layer, tree = package_of(path), tree_of(path)
    parts = path.relative_to(ROOT).with_suffix("").parts
    wrong = []
    for name in imported_names(tree, ".".join(parts)):
        if name.startswith("dynamic: "):
            wrong.append(f"{name_of(path)}: {name}")
        if name.split(".")[0] != "figment" or name in ("figment", "figment.__version__"):
            continue
        other = name.split(".")[1]
        if not is_module(f"figment.{other}"):
            wrong.append(f"{name_of(path)}: imports the public API ({name})")
        elif other != layer and other not in MAY_IMPORT[layer]:
            wrong.append(f"{name_of(path)}: {layer} must not import {other}")
    wrong += [
        f"{name_of(path)}: uses the public API (figment.{node.attr})"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "figment"
        and node.attr not in ("__version__", "__file__")
        and not is_module(f"figment.{node.attr}")
    ]
    return wrong


def test_imports_go_down():
    expect_none([line for path in modules() for line in forbidden_imports(path)])


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import figment.web.jobs", "figment.web.jobs"),
        ("import figment.web as w", "figment.web"),
        ("from figment import web", "figment.web"),
        ("from figment import load", "figment.load"),
        ("from figment.web import jobs", "figment.web.jobs"),
        ("from ..web import jobs", "figment.web.jobs"),
        ("from .. import web", "figment.web"),
        ("def f():\n    from figment.web.jobs import Job", "figment.web.jobs.Job"),
        ('importlib.import_module("figment.web")', "dynamic: importlib.import_module('figment.web')"),
        ('import_module("..web", __package__)', "dynamic: import_module('..web', __package__)"),
        ("importlib.import_module(name)", "dynamic: importlib.import_module(name)"),
        ('__import__("figment.web")', "dynamic: __import__('figment.web')"),
    ],
)
def test_every_form_of_import_is_seen(source, found):
    assert list(imported_names(ast.parse(source), "figment.nets.base")) == [found]


def test_imports_of_other_packages_may_be_dynamic():
    assert list(imported_names(ast.parse('importlib.import_module("torch.nn")'), "figment.nets.base")) == []


def test_every_package_has_a_place_in_the_order():
    found = {package_of(path) for path in modules()}
    assert found - MAY_IMPORT.keys() == set()
    assert not {path.stem for path in modules()} & {"utils", "helpers", "misc"}


def test_the_command_line_imports_nothing_heavy():
    heavy = ("torch", "numpy", "PIL", "scipy", "safetensors", "starlette", "av")
    code = f"import sys, figment, figment.cli; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == "[]"


# --- Families and types


def without_presets(path: Path) -> str:
    """Return the text of a file without the PRESETS table and the comments right above it."""
    lines = path.read_text().splitlines()
    if path == PACKAGE / "train" / "presets.py":
        for node in tree_of(path).body:
            if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "PRESETS":
                start = node.lineno - 1
                while lines[start - 1].startswith("#"):
                    start -= 1
                lines[start : node.end_lineno] = [""] * ((node.end_lineno or 0) - start)
    return "\n".join(lines)


def test_only_nets_and_legacy_know_families_by_name():
    pattern = re.compile(rf"(?<![\w-])({'|'.join(NAMES)})(?![\w-])")
    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".js", ".html")]
    wrong = [
        f"{name_of(path)}:{number}: {line.strip()[:80]}"
        for path in sorted(files)
        if package_of(path) not in ("nets", "legacy")
        for number, line in enumerate(without_presets(path).splitlines(), 1)
        if pattern.search(line)
    ]
    expect_none(wrong)


def annotations(tree: ast.Module) -> Iterator[tuple[str, ast.expr | None, int]]:
    """Yield name, annotation and line of every parameter, and of every annotated variable or attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found = node.args
            for parameter in (*found.posonlyargs, *found.args, *found.kwonlyargs):
                yield parameter.arg, parameter.annotation, parameter.lineno
        elif isinstance(node, ast.AnnAssign):
            name = node.target.attr if isinstance(node.target, ast.Attribute) else getattr(node.target, "id", "")
            yield name, node.annotation, node.lineno


def is_any(annotation: ast.expr) -> bool:
    """Return whether an annotation is Any or a union with it; mappings of settings may hold anything."""
    return bool(re.search(r"\bAny\b", re.sub(r"\b(dict|Mapping)\[[^]]*]", "", ast.unparse(annotation))))


def test_networks_are_typed():
    wrong = [
        f"{name_of(path)}:{line}: {name}: {ast.unparse(annotation)}"
        for path in modules()
        for name, annotation, line in annotations(tree_of(path))
        if name in NETWORK_NAMES and annotation is not None and is_any(annotation)
    ]
    expect_none(wrong)


def test_few_lines_are_exempt_from_type_checks():
    found = [
        f"{name_of(path)}:{number}"
        for path in modules()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "type: ignore" in line
    ]
    assert len(found) <= MAX_TYPE_IGNORES, f"{len(found)}: {', '.join(found)}"


def test_no_function_changes_a_global():
    wrong = [
        f"{name_of(path)}:{node.lineno}: global {', '.join(node.names)}"
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Global)
    ]
    expect_none(wrong)


# --- Safety and length


def unsafe_loads(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of every call that may execute code from a file."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        text = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if re.fullmatch(r"(c?[pP]ickle|marshal|dill|joblib)\.(load|loads|Unpickler)|exec|eval", text):
            yield node.lineno, text
        if text == "torch.load" and given.get("weights_only") != "True":
            yield node.lineno, f"{text} without weights_only=True"
        if given.get("allow_pickle", "False") != "False":
            yield node.lineno, f"{text} with allow_pickle"


def test_no_file_is_loaded_in_a_way_that_executes_code():
    wrong = [f"{name_of(path)}:{line}: {what}" for path in modules() for line, what in unsafe_loads(tree_of(path))]
    expect_none(wrong)


def test_unsafe_loads_are_seen():
    source = "pickle.load(f)\ntorch.load(f)\ntorch.load(f, weights_only=False)\nnp.load(f, allow_pickle=True)\neval(x)"
    assert [line for line, _ in unsafe_loads(ast.parse(source))] == [1, 2, 3, 4, 5]
    assert not list(unsafe_loads(ast.parse("torch.load(f, weights_only=True)\nnp.load(f)\nnet.eval()")))


def test_one_module_reads_image_files():
    wrong = [
        f"{name_of(path)}:{node.lineno}: use figment.base.pixels"
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Image.open", "PIL.Image.open")
        if path != PACKAGE / "base" / "pixels.py"
    ]
    expect_none(wrong)


def test_no_file_is_too_long():
    files = [path for folder in ("figment", "tests", "runs", "benchmarks") for path in (ROOT / folder).rglob("*")]
    long = {
        name_of(path): count
        for path in files
        if path.suffix in (".py", ".js", ".css", ".html", ".sh")
        and (count := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert long == {}


# --- Language


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of every comment and string of a Python file."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING) or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


@pytest.mark.parametrize("place", PLAIN_ENGLISH)
def test_texts_are_plain_english(place):
    files = [PACKAGE / place] if place.endswith(".py") else modules(PACKAGE / place)
    wrong = [
        f"{name_of(path)}:{line}: {found[0]!r} in {text.strip()[:80]!r}"
        for path in files
        for line, text in prose(path)
        if (found := BANNED.search(text))
    ]
    expect_none(wrong)


# --- The map of the tree


def mapped_files(text: str) -> dict[str, str]:
    """Return path -> description of the files in the code blocks of docs/architecture.md."""
    return dict(re.findall(r"^    ((?:figment|benchmarks|runs)/\S+) {2,}(\S.*)$", text, re.MULTILINE))


def existing_files() -> set[str]:
    """Return every file of the package, benchmarks/ and runs/, besides empty or one-line __init__.py files."""
    files = (path for folder in ("figment", "benchmarks", "runs") for path in (ROOT / folder).rglob("*"))
    hidden = re.compile(r"/(__pycache__|\.[^/]*|[^/]*\.egg-info)(/|$)")
    return {
        name_of(path)
        for path in files
        if path.is_file()
        and not hidden.search("/" + name_of(path))
        and not (path.name == "__init__.py" and len(path.read_text().splitlines()) < 5)
    }


def test_every_file_is_on_the_map():
    mapped, existing = mapped_files(ARCHITECTURE.read_text()).keys(), existing_files()
    missing, stale = sorted(existing - mapped), sorted(mapped - existing)
    wrong = [f"missing in docs/architecture.md: {name}" for name in missing]
    wrong += [f"listed in docs/architecture.md but not there: {name}" for name in stale]
    expect_none(wrong)


def test_descriptions_stand_alone():
    mapped = mapped_files(ARCHITECTURE.read_text())
    assert len(set(mapped.values())) == len(mapped)
    wrong = {
        name: text for name, text in mapped.items() if len(text) < 8 or re.search(r"\b(its|their|the same)\b", text)
    }
    assert wrong == {}
