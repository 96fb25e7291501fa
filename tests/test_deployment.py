"""What the container files and the Makefile promise, checked without a container engine."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [(word, rest) for line in text.splitlines() if line.strip() for word, _, rest in [line.partition(" ")]]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    start = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


def test_the_image_does_not_run_as_root() -> None:
    users = [rest.strip() for word, rest in last_stage() if word == "USER"]
    assert users
    assert users[-1] not in ("root", "0")


def test_the_image_serves_on_its_volume_and_is_checked() -> None:
    stage = dict(last_stage())
    assert stage["CMD"] == '["proponent", "serve"]'
    assert "/healthz" in stage["HEALTHCHECK"]
    assert stage["VOLUME"] == "/data"
    assert "PROPONENT_HOME=/data" in stage["ENV"]
    assert "PROPONENT_HOST=0.0.0.0" in stage["ENV"]


def test_base_images_are_pinned_to_a_version() -> None:
    images = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert set(images) == {"python:3.11-slim"}


@pytest.mark.parametrize(
    "file", ["Dockerfile", "Makefile", "README.md", "CONTRIBUTING.md", "docs/reference/settings.md"]
)
def test_every_install_is_under_the_constraints(file: str) -> None:
    path = ROOT / file
    assert path.exists(), f"{file} is missing"
    installs = re.findall(r".*pip install.*", path.read_text())
    assert [line for line in installs if "-c constraints.txt" not in line] == []


def test_what_the_image_needs_is_sent_to_the_builder() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert {pattern.rstrip("*") for pattern in packages["include"]} <= kept
    assert {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= kept


def test_compose_serves_this_machine_only_with_a_volume_and_a_health_check() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    web, database = compose["services"]["web"], compose["services"]["database"]
    assert web["ports"] == ["127.0.0.1:8000:8000"]
    assert any("/healthz" in part for part in web["healthcheck"]["test"])
    assert web["volumes"] == ["home:/data"]
    assert set(compose["volumes"]) == {"home", "database"}
    assert database["profiles"] == ["postgres"]
    assert "ports" not in database
    assert database["environment"]["POSTGRES_PASSWORD"] == "${POSTGRES_PASSWORD:-}"


def test_constraints_pin_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {canonicalize_name(Requirement(line).name) for line in wanted} - {"proponent"}
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines if line}
    assert sorted(names - set(pins)) == []
    assert [str(pin) for pin in pins.values() if len(pin.specifier) != 1 or "==" not in str(pin.specifier)] == []
    for line in wanted:
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) in pins:
            version = str(pins[canonicalize_name(requirement.name)].specifier).removeprefix("==")
            assert requirement.specifier.contains(version), f"{line} does not admit the pinned {version}"


def test_the_makefile_s_targets_are_known_to_make() -> None:
    for target in ("demo", "serve", "test", "test-full", "check", "clean"):
        planned = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert planned.returncode == 0, planned.stderr


def test_a_failed_install_leaves_no_stamp(tmp_path: Path) -> None:
    for file in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / file).write_text((ROOT / file).read_text())
    fake = tmp_path / "python"
    fake.write_text(
        "#!/bin/sh\n"
        'if [ "$2" = venv ]; then mkdir -p .venv/bin; cp "$0" .venv/bin/python; exit 0; fi\n'
        'case "$*" in *"-e ."*) exit 7;; esac\n'
    )
    fake.chmod(0o755)
    made = subprocess.run(
        ["make", f"PYTHON={fake}", "serve"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode != 0
    assert (tmp_path / ".venv" / "created").exists()
    assert not (tmp_path / ".venv" / "installed").exists()


def test_ci_runs_the_tests_and_the_large_counts() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test" in script
    assert "pytest -m full" in script
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
