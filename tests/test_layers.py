"""The rules of the house that a machine can check: direction of imports, sizes, lazy names."""

import ast
import importlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "imaging": {"imaging"},
    "algorithms": {"imaging", "algorithms"},
    "priors": {"imaging", "algorithms", "priors"},
    "proxlab": {"imaging", "algorithms", "priors", "proxlab"},
}
DEEPINV = {"imaging/operator.py", "algorithms/interop.py"}
FRONT = {
    "deblur",
    "denoise",
    "robustness",
    "trust",
}  # the flat keyword calls, and nobody else, may take more parameters
FILES = sorted(p for name in ALLOWED for p in (ROOT / name).rglob("*.py"))
PACKAGES = sorted(p.parent for p in FILES if p.name == "__init__.py")


def label(path):
    return path.relative_to(ROOT).as_posix()


def imported(tree):
    """Top-level names of every module imported, relative ones left out."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        yield from (name.split(".")[0] for name in names)


def wrong_imports(path, source):
    package, names = path.split("/")[0], set(imported(ast.parse(source)))
    upward = {n for n in names & ALLOWED.keys() if n not in ALLOWED[package]}
    return sorted(upward | ({"deepinv"} & names if path not in DEEPINV else set()))


@pytest.mark.parametrize("path", FILES, ids=label)
def test_imports_point_one_way(path):
    assert wrong_imports(label(path), path.read_text()) == []


def test_an_upward_import_would_be_seen():
    assert wrong_imports("imaging/x.py", "import torch, priors.lpn") == ["priors"]
    assert wrong_imports("priors/x.py", "def f():\n    from deepinv.optim import L2") == ["deepinv"]
    assert wrong_imports("algorithms/interop.py", "from deepinv import models\nfrom imaging import fft") == []


def length(node):
    return node.end_lineno - node.lineno + 1


def parameters(node):
    a = node.args
    names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return len([n for n in names if n not in ("self", "cls")])


def prose(tree):
    """Lines of docstrings that say something; an example is code."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(n) or "" for n in ast.walk(tree) if isinstance(n, kinds)]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return sum(bool(line) and not line.startswith((">>>", "...")) for line in lines)


def over_budget(path, source):
    tree, lines = ast.parse(source), source.count("\n")
    if lines > 350:
        yield f"{path} has {lines} lines, at most 350"
    if lines > 60 and prose(tree) > 0.5 * lines:
        yield f"{path} is more than half prose"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and length(node) > 200:
            yield f"class {node.name} has {length(node)} lines, at most 200"
        if isinstance(node, ast.FunctionDef) and node.name not in FRONT:
            if length(node) > 60:
                yield f"{node.name} has {length(node)} lines, at most 60"
            if parameters(node) > 6:
                yield f"{node.name} has {parameters(node)} parameters, at most 6"
            if node.args.kwarg and not set(node.args.kwarg.arg) <= {"_"}:
                yield f"{node.name} takes **{node.args.kwarg.arg}"


@pytest.mark.parametrize("path", FILES, ids=label)
def test_sizes_are_within_budget(path):
    assert list(over_budget(label(path), path.read_text())) == []


def test_an_excess_would_be_seen():
    long = "def f(a, b, c, d, e, *, g, h, **k):\n" + "    x = 1\n" * 60
    assert len(list(over_budget("x.py", long))) == 3
    assert len(list(over_budget("x.py", "class C:\n" + "    x = 1\n" * 350))) == 2


def bases(tree):
    return {
        n.name: [b.id for b in n.bases if isinstance(b, ast.Name)]
        for n in tree.body
        if isinstance(n, ast.ClassDef)
    }


def test_inheritance_is_one_level_deep():
    parents = {name: up for path in FILES for name, up in bases(ast.parse(path.read_text())).items()}
    errors = {"Exception", "ValueError", "RuntimeError", "TypeError"}
    deep = {
        name
        for name, up in parents.items()
        for parent in up
        if any(grand in parents for grand in parents.get(parent, []))
        and not name.endswith(("Error", "NotFound"))
    }
    assert deep == set() and not errors & deep


def public_functions(package):
    for path in package.glob("*.py"):
        tree = ast.parse(path.read_text())
        yield from (n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef))


@pytest.mark.parametrize("package", PACKAGES, ids=label)
def test_no_file_is_named_like_something_public(package):
    files = Counter(p.stem for p in package.glob("*.py") if not p.stem.startswith("__"))
    folders = Counter(p.name for p in package.iterdir() if p.is_dir())
    # A lazy package hands out the module instead of the function from the second access on.
    names = getattr(importlib.import_module(label(package).replace("/", ".")), "__all__", [])
    assert not (files + folders).keys() & (set(public_functions(package)) | set(names)) - {"main"}


@pytest.mark.parametrize("package", PACKAGES, ids=label)
def test_every_lazy_name_resolves_twice(package):
    module = importlib.import_module(label(package).replace("/", "."))
    names = getattr(module, "__all__", [])
    first = {name: getattr(module, name) for name in names}
    assert {name: getattr(module, name) for name in names} == first
    assert not [name for name, value in first.items() if isinstance(value, type(sys))]
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", ["imaging", "algorithms", "priors", "proxlab"])
def test_importing_a_package_imports_nothing_heavy(package):
    heavy = "('torch', 'numpy', 'deepinv', 'matplotlib')"
    code = f"import sys, {package}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
