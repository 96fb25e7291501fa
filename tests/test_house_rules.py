"""House rules: imports, lengths of files, unsafe calls, templates, documentation that names everything."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from importlinter import cli as import_linter

ROOT = Path(__file__).resolve().parents[1]
CODE = ("app", "backend", "migrations", "benchmarks")
LONGEST = 600
LONG = 400
REASON = "Long because"
HEAD = 40
"""Lines at a file's top in which a long file gives its reason."""

ENGINE = {"analysis", "corpora", "curvature", "embeddings", "evaluation", "gradients"}
ENGINE |= {"methods", "models", "pipeline", "search"}


def files(*folders: str, suffixes: tuple[str, ...] = (".py",)) -> list[Path]:
    """Our own files of these kinds, below these folders."""
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes and "vendor" not in path.parts and "__pycache__" not in path.parts
    )


def name(path: Path) -> str:
    """A path as messages show it."""
    return path.relative_to(ROOT).as_posix()


# --- imports


def contracts() -> list[dict[str, Any]]:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found: list[dict[str, Any]] = configuration["tool"]["importlinter"]["contracts"]
    return found


def backend_modules() -> set[str]:
    """Packages and modules directly in backend."""
    packages = {path.parent.name for path in (ROOT / "backend").glob("*/__init__.py")}
    return packages | {path.stem for path in (ROOT / "backend").glob("*.py")} - {"__init__"}


def test_imports_keep_the_contracts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    status = import_linter.lint_imports(no_cache=True)
    assert status == import_linter.EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_the_contracts_name_every_part_of_the_backend() -> None:
    forbidden = {contract["name"]: set(contract["forbidden_modules"]) for contract in contracts()}
    sources = {contract["name"]: set(contract["source_modules"]) for contract in contracts()}
    everything = {f"backend.{module}" for module in backend_modules()}
    core = forbidden["core imports nothing else of ours"]
    assert core == (everything - {"backend.core"}) | {"app"}
    web = forbidden["the catalogue, what people write and the web application import neither torch nor the engine"]
    assert {f"backend.{module}" for module in ENGINE & backend_modules()} <= web
    assert sources["nothing imports the command line"] == (everything - {"backend.cli"}) | {"app"}


# --- length


def test_no_file_is_long_without_a_reason() -> None:
    too_long = []
    for path in files(*CODE, "templates", "static", "tests", suffixes=(".py", ".html", ".css", ".js")):
        lines = path.read_text().splitlines()
        if len(lines) > LONGEST or (len(lines) > LONG and REASON not in "\n".join(lines[:HEAD])):
            too_long.append(f"{name(path)}: {len(lines)} lines")
    assert too_long == [], f"over {LONG} lines the head says why ({REASON!r}), over {LONGEST} is too long"


# --- templates


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"\|\s*safe\b", "corpus text would run"),
        (r"\bautoescape\s+(?:false|off)", "corpus text would run"),
        (r"\bhx-on\b", "the content security policy forbids it"),
        (r"\son[a-z]+\s*=", "the content security policy forbids event attributes"),
        (r"\sstyle\s*=", "the content security policy forbids it"),
        (r"<style\b", "styles live in static/app.css"),
        (r"<script\b(?![^>]*\bsrc=)", "the content security policy forbids inline scripts"),
        (r"(?:src|href)\s*=\s*[\"'](?:https?:)?//[^\"']+\.(?:js|css)", "assets are our own"),
        (r"javascript:", "the content security policy forbids it"),
    ],
)
def test_templates_hold_nothing_that_the_policy_forbids(pattern: str, why: str) -> None:
    found = [
        f"{name(path)}:{number}"
        for path in files("templates", suffixes=(".html", ".svg", ".xml", ".jinja"))
        for number, line in enumerate(re.sub(r"{#.*?#}", "", path.read_text(), flags=re.S).splitlines(), start=1)
        if re.search(pattern, line)
    ]
    assert found == [], why


# --- unsafe calls

UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
UNSAFE_BUILTINS = {"eval", "exec", "__import__"}
UNSAFE_CALLS = {"torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen"}


def unsafe(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) of everything that can run code from data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in UNSAFE_MODULES:
                    yield node.lineno, f"import {alias.name}"
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.split(".")[0] in UNSAFE_MODULES:
                yield node.lineno, f"from {module} import"
            for alias in node.names:
                if f"{module}.{alias.name}" in UNSAFE_CALLS:
                    yield node.lineno, f"from {module} import {alias.name}"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in UNSAFE_BUILTINS | UNSAFE_CALLS:
                yield node.lineno, called
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if keyword.arg == "allow_pickle" and value is not False:
                    yield node.lineno, "allow_pickle"
                if keyword.arg in ("trust_remote_code", "shell") and value is not False:
                    yield node.lineno, keyword.arg


def test_nothing_runs_code_from_data() -> None:
    found = [
        f"{name(path)}:{line}: {what}" for path in files(*CODE) for line, what in unsafe(ast.parse(path.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load('x')",
        "from torch import load",
        "np.load('x', allow_pickle=True)",
        "np.load('x', allow_pickle=flag)",
        "yaml.load(text)",
        "eval('1')",
        "exec('1')",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
    ],
)
def test_the_check_finds_unsafe_calls(code: str) -> None:
    assert list(unsafe(ast.parse(code)))


def test_the_check_leaves_safe_calls_alone() -> None:
    assert not list(unsafe(ast.parse("model.eval(); np.load(path, allow_pickle=False); yaml.safe_load(text)")))


def test_no_module_is_named_after_nothing() -> None:
    vague = {"utils", "util", "helpers", "misc", "common"}
    assert [name(path) for path in files(*CODE, "tests") if path.stem in vague or path.parent.name in vague] == []


# --- documentation


def headings(document: str) -> set[str]:
    """The headings of a page of the documentation, without code marks."""
    path = ROOT / "docs" / document
    assert path.exists(), f"docs/{document} is missing"
    return {line.lstrip("#").strip().replace("`", "") for line in path.read_text().splitlines() if line.startswith("#")}


def test_every_setting_is_documented() -> None:
    from backend.settings import Settings

    expected = {f"PROPONENT_{field.upper()}" for field in Settings.model_fields}
    documented = {heading for heading in headings("reference/settings.md") if heading.startswith("PROPONENT_")}
    assert documented == expected


def commands() -> Iterator[str]:
    """Every command of the command line, as it is typed."""
    import typer

    from backend.cli import app

    waiting: list[tuple[str, Any]] = [("proponent", typer.main.get_command(app))]
    while waiting:
        typed, command = waiting.pop()
        children = getattr(command, "commands", {})
        waiting += [(f"{typed} {word}", child) for word, child in children.items() if not child.hidden]
        if not children:
            yield typed


def test_every_command_is_documented() -> None:
    documented = headings("reference/commands.md")
    missing = [typed for typed in sorted(commands()) if not any(heading.startswith(typed) for heading in documented)]
    assert missing == [], "docs/reference/commands.md has a heading for every command"


def routes() -> set[str]:
    """The paths of every route of the web application."""
    from app.main import create_app

    return set(create_app().paths)


def test_every_route_is_documented() -> None:
    path = ROOT / "docs" / "reference" / "urls.md"
    assert path.exists(), "docs/reference/urls.md is missing"
    documented = set(re.findall(r"`(?:[A-Z]+ )?(/[^`\s]*)`", path.read_text()))
    found = routes()
    assert "/prompts/{slug}" in found
    assert sorted(found - documented) == [], "docs/reference/urls.md names every route, in backquotes"


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    records = {path.name for path in folder.glob("*.md")} - {"README.md"}
    assert all(re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", record) for record in records)
    linked = set(re.findall(r"\]\((\d{4}-[^)]*)\)", (folder / "README.md").read_text()))
    assert linked == records


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{name(path)}: {target}"
        for path in [*sorted(ROOT.glob("*.md")), *files("docs", suffixes=(".md",))]
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []
