"""What every test shares: private PostgreSQL databases, both kinds of catalogue, and no skipping under CI."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event

from tests.command import proponent
from tests.postgres_server import Server, find_binaries, running_server

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or two busy processes on two cores slow each other
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def on_ci() -> bool:
    """True where nothing may be skipped."""
    return os.environ.get("CI") == "true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI a skipped test is a failed one; only a missing CUDA device excuses."""
    report = yield
    excused = hasattr(report, "wasxfail") or item.get_closest_marker("cuda") is not None
    if on_ci() and report.skipped and not excused:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not be skipped under CI: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Under CI no whole module is skipped either."""
    report = yield
    if on_ci() and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} may not be skipped under CI: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _no_connection_stays_open() -> Iterator[None]:
    """Dispose of every engine that a test connected with; an engine that lives longer connects anew."""
    used: set[Engine] = set()

    def note(connection: Connection) -> None:
        used.add(connection.engine)

    event.listen(Engine, "engine_connect", note)
    yield
    event.remove(Engine, "engine_connect", note)
    for engine in used:
        engine.dispose()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A private PostgreSQL server, started once a run."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server programs are not installed (Debian: postgresql)")
    with running_server(binaries) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def catalogue_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty catalogue, on each database in turn."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return f"sqlite:///{tmp_path / 'catalogue' / 'proponent.db'}"


@pytest.fixture(scope="session")
def tiny_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of an undisturbed tiny demonstration, made once a run by the command itself."""
    home = tmp_path_factory.mktemp("tiny-demo")
    done = proponent(home, "demo", "--tiny", "--no-serve")
    assert done.returncode == 0, done.stderr
    return home
