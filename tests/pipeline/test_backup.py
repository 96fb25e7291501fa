"""A backup is one moment of a home under writes; it restores to the same rows on either database, or to nothing."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from backend.accounts.access import begin_session
from backend.accounts.audit import COMMAND_LINE, Actor
from backend.accounts.roles import Role
from backend.accounts.users import add_user
from backend.annotations.writing import About, Judgement, save
from backend.catalogue.backups.dump import dump_catalogue, snapshot
from backend.catalogue.database import CatalogueError, migrate, open_catalogue, read_session, write_session
from backend.catalogue.job_models import Job, Worker
from backend.catalogue.models import Annotation, AnnotationChange, AuditEvent, Corpus, User, UserSession
from backend.core.artifacts import Home
from backend.core.errors import CorruptArtifact, InputError, UserError
from backend.core.labels import Label
from backend.pipeline.backing_up import back_up
from backend.pipeline.restoring import restore
from backend.settings import Settings
from tests.app.example_annotations import add_annotations
from tests.app.example_catalogue import fill
from tests.app.fake_worker import add_failed_question

ROOT = Path(__file__).resolve().parents[2]


def settings_of(home: Path, url: str | None = None) -> Settings:
    return Settings(_env_file=None, home=home, database_url=url)  # type: ignore[call-arg]


def row_hashes(engine: Engine) -> dict[str, tuple[int, str]]:
    """Table -> (rows, SHA-256 of them): equal for equal tables on every database."""
    with snapshot(engine) as connection:
        dump = dump_catalogue(connection, "", io.BytesIO())
    return {table.name: (table.rows, table.sha256) for table in dump.tables}


def hashes_in(file: Path) -> dict[str, tuple[int, str]]:
    """The same of a backup's file."""
    with tarfile.open(file) as tar:
        manifest = json.load(tar.extractfile("backup.json") or io.BytesIO())
    return {table["name"]: (table["rows"], table["sha256"]) for table in manifest["catalogues"][-1]["tables"]}


def without_content_version(hashes: dict[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    return {name: value for name, value in hashes.items() if name != "content_version"}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a catalogue that holds something of everything, and one artifact."""
    home: Path = tmp_path_factory.mktemp("kept")
    engine = open_catalogue(settings_of(home))
    migrate(engine)
    fill(engine, with_hostile=True)
    add_annotations(engine, home)
    add_failed_question(engine)
    with write_session(engine) as session:
        begin_session(session, session.get_one(User, 1), "a browser", 7)
        now = datetime.now(UTC)
        running = {"state": "running", "owner": "w1", "attempt": 1, "lease_until": now + timedelta(seconds=30)}
        session.execute(update(Job).values(**running))
        worker = {"host": "here", "process_id": 1, "device": "cpu", "state": "working", "message": ""}
        session.add(Worker(id="w1", started_at=now, heartbeat_at=now, **worker))
    engine.dispose()
    return home


@pytest.fixture
def home(example: Path, tmp_path: Path) -> Path:
    return shutil.copytree(example, tmp_path / "home")


def backed_up(home: Path, file: Path, url: str | None = None, **options: Any) -> dict[str, Any]:
    engine = open_catalogue(settings_of(home, url))
    try:
        done: dict[str, Any] = back_up(engine, Home(home), file, **options)
    finally:
        engine.dispose()
    return done


def test_a_restored_home_has_the_same_rows_without_sessions_and_workers(home: Path, tmp_path: Path) -> None:
    engine = open_catalogue(settings_of(home))
    before = row_hashes(engine)
    backed_up(home, tmp_path / "b.tar")
    done = restore(settings_of(tmp_path / "new"), tmp_path / "b.tar")
    assert done["put_back"] == 1
    again = open_catalogue(settings_of(tmp_path / "new"))
    after = row_hashes(again)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {"jobs", "content_version"}
    with read_session(again) as session:
        assert session.scalars(select(UserSession)).all() == session.scalars(select(Worker)).all() == []
        job = session.scalars(select(Job)).one()
        assert (job.state, job.owner, job.attempt) == ("queued", None, 0)
    assert (tmp_path / "b.tar").stat().st_mode & 0o077 == 0  # it holds hashes of passwords
    engine.dispose()
    again.dispose()


@pytest.mark.postgres
def test_from_one_database_to_the_other_and_back(home: Path, tmp_path: Path, postgres_url: str) -> None:
    engine = open_catalogue(settings_of(home))
    before = row_hashes(engine)
    engine.dispose()
    backed_up(home, tmp_path / "1.tar")
    restore(settings_of(tmp_path / "server", postgres_url), tmp_path / "1.tar")
    server = open_catalogue(settings_of(tmp_path / "server", postgres_url))
    with write_session(server) as session:  # its sequences go on after the restored keys
        add_user(session, COMMAND_LINE, "newcomer", Role.READER, None)
    on_server = row_hashes(server)
    server.dispose()
    backed_up(tmp_path / "server", tmp_path / "2.tar", postgres_url)
    restore(settings_of(tmp_path / "back"), tmp_path / "2.tar")
    back = open_catalogue(settings_of(tmp_path / "back"))
    at_last = row_hashes(back)
    back.dispose()
    different = {name for name in before if before[name] != at_last[name]}
    assert different <= {"jobs", "content_version", "users", "audit_events"}
    assert without_content_version(on_server) == without_content_version(at_last)
    with pytest.raises(CatalogueError, match="has tables"):
        restore(settings_of(tmp_path / "third", postgres_url), tmp_path / "1.tar")
    assert not (tmp_path / "third").exists()


def write_on(url: str, stop: threading.Event, done: list[int]) -> None:
    """Judge passage after passage, at about 100 writes a second, each in three tables at once."""
    engine = open_catalogue(url)
    with write_session(engine) as session:
        user = add_user(session, COMMAND_LINE, "busy", Role.ANNOTATOR, None)
        actor = Actor(user.name, user.id)
    number = 0
    began = time.monotonic()
    while not stop.is_set():
        with write_session(engine, shown=False) as session:
            about = About(f"{number:064x}", "f" * 64, None, {"number": number})
            save(session, actor, about, Judgement(Label.TEMPLATE, None, f"number {number}"), 0)
        number += 1
        time.sleep(max(0.0, began + number / 100 - time.monotonic()))
    done.append(number)
    engine.dispose()


def test_a_backup_under_writes_is_one_moment(home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Rows of one transaction are all there or not at all, and the numbers have no gap."""
    url = settings_of(home).catalogue_url
    stop, done = threading.Event(), list[int]()
    writer = threading.Thread(target=write_on, args=(url, stop, done))
    writer.start()
    try:
        time.sleep(0.3)
        for turn in range(3):
            backed_up(home, tmp_path / f"{turn}.tar")
            time.sleep(0.2)
    finally:
        stop.set()
        writer.join()
    counts = []
    for turn in range(3):
        restored = tmp_path / f"restored {turn}"
        restore(settings_of(restored), tmp_path / f"{turn}.tar")
        engine = open_catalogue(settings_of(restored))
        with read_session(engine) as session:
            mine = select(Annotation).join(User, User.id == Annotation.user_id).where(User.name == "busy")
            found = session.scalars(mine.order_by(Annotation.query_hash)).all()
            assert [one.subject["number"] for one in found] == list(range(len(found)))
            ids = [one.id for one in found]
            changes = select(func.count()).select_from(AnnotationChange)
            assert session.scalar(changes.where(AnnotationChange.annotation_id.in_(ids))) == len(ids)
            events = select(func.count()).select_from(AuditEvent)
            assert session.scalar(events.where(AuditEvent.subject.in_(ids))) == len(ids)
            counts.append(len(ids))
        again = row_hashes(engine)
        assert {name for name, stated in hashes_in(tmp_path / f"{turn}.tar").items() if again[name] != stated} <= {
            "jobs",
            "content_version",
        }
        engine.dispose()
    assert 0 < counts[0] < counts[1] < counts[2] <= done[0]


def test_what_is_there_is_never_overwritten(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    backed_up(home, file)
    with pytest.raises(UserError, match="exists"):
        backed_up(home, file)
    backed_up(home, file, force=True)
    with pytest.raises(UserError, match="There is a catalogue already"):
        restore(settings_of(home), file)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        restore(settings_of(tmp_path / "full"), file)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["letter.txt"]
    (tmp_path / "new.restoring").mkdir()
    (tmp_path / "new.restoring" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="is in the way"):
        restore(settings_of(tmp_path / "new"), file)
    assert (tmp_path / "new.restoring" / "letter.txt").exists()
    with pytest.raises(InputError, match="There is no file"):
        restore(settings_of(tmp_path / "new"), tmp_path / "nothing.tar")


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    place = len(data) * 3 // 4
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def rewritten(change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> Callable[[bytes], bytes]:
    """The same archive with other members."""

    def rewrite(data: bytes) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members = []
            for member in tar.getmembers():
                content = tar.extractfile(member)
                members.append((member, content.read() if content else b""))
        change(members)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for member, content in members:
                tar.addfile(member, io.BytesIO(content))
        return out.getvalue()

    return rewrite


def in_manifest(**changes: Any) -> Callable[[bytes], bytes]:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        member, content = members[0]
        text = json.dumps({**json.loads(content), **changes}).encode()
        member.size = len(text)
        members[0] = member, text

    return rewritten(change)


def with_a_link(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    member, _ = members[1]
    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
    members[1] = member, b""


def with_one_more(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    extra = tarfile.TarInfo("home/../../evil")
    extra.size = 4
    members.append((extra, b"evil"))


def file_entry(name: str) -> dict[str, Any]:
    return {"name": name, "bytes": 0, "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "cut|missing|no whole backup"),
        (flipped, "damaged|no whole backup|is none|does not take"),
        (lambda data: b"not an archive" + data[:100], "no whole backup"),
        (lambda data: b"", "no whole backup"),
        (rewritten(with_a_link), "should be"),
        (rewritten(with_one_more), "does not name"),
        (rewritten(lambda members: members.pop(3)), "should be|cut"),
        (rewritten(lambda members: members.insert(1, members.pop(2))), "should be"),
        (in_manifest(files=[file_entry("../../evil")]), "not a path"),
        (in_manifest(files=[file_entry("/etc/passwd")]), "not a path"),
        (in_manifest(files=[file_entry("corpora/../../evil/x")]), "not a path"),
        (in_manifest(files=[file_entry(f"corpora/x/{'a' * 300}")]), "missing|should be|too long"),
        (in_manifest(catalogue_only=True, files=[file_entry("corpora/x/y")]), "not sound"),
        (in_manifest(format=2), "not sound"),
        (in_manifest(extra=1), "not sound"),
    ],
)
def test_a_file_that_is_no_whole_backup_is_refused_and_leaves_nothing(
    example: Path, tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    file = example / "sound.tar"
    if not file.exists():
        backed_up(example, file)
    bad = tmp_path / "bad.tar"
    bad.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=reason):
        restore(settings_of(tmp_path / "new"), bad)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar"]


def test_a_table_that_claims_too_much_is_refused(example: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    backed_up(example, file)

    def swell(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        member, content = members[0]
        manifest = json.loads(content)
        manifest["catalogues"][0]["tables"][0]["bytes"] = 10**15
        text = json.dumps(manifest).encode()
        member.size = len(text)
        members[0] = member, text

    file.write_bytes(rewritten(swell)(file.read_bytes()))
    with pytest.raises(InputError, match="larger than its bytes can hold"):
        restore(settings_of(tmp_path / "new"), file)


# --- with artifacts, killed half-way


def command(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "backend.cli", *arguments, "--home", str(home)]


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(home, *arguments), cwd=ROOT, capture_output=True, text=True, check=False)


def killed(home: Path, seconds: float, *arguments: str) -> None:
    process = subprocess.Popen(
        command(home, *arguments), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.full)])
def test_killed_half_way_there_is_a_whole_one_or_none(tiny_demo: Path, tmp_path: Path, times: int) -> None:
    file, new = tmp_path / "b.tar", tmp_path / "new"
    began = time.monotonic()
    assert run(tiny_demo, "backup", str(file)).returncode == 0
    backing = time.monotonic() - began
    began = time.monotonic()
    assert run(new, "restore", str(file)).returncode == 0
    restoring = time.monotonic() - began
    whole = file.read_bytes()
    for turn in range(times):
        part = 0.4 + 0.6 * (turn + 0.5) / times  # the first part of a command is its start
        other = tmp_path / f"{turn}.tar"
        killed(tiny_demo, backing * part, "backup", str(other))
        if other.exists():
            restore(settings_of(tmp_path / f"of {turn}"), other)
        shutil.rmtree(new)
        killed(new, restoring * part, "restore", str(file))
        if new.exists():
            assert run(new, "verify").returncode == 0
        else:
            assert run(new, "restore", str(file)).returncode == 0
    assert file.read_bytes() == whole
    verified = json.loads(run(new, "verify", "--json").stdout)
    assert verified["problems"] == []


def test_what_is_lost_is_found_and_a_damaged_home_is_not_backed_up(tiny_demo: Path, tmp_path: Path) -> None:
    home = shutil.copytree(tiny_demo, tmp_path / "home")
    engine = open_catalogue(settings_of(home))
    with read_session(engine) as session:
        corpus = session.scalars(select(Corpus.id)).first()
    engine.dispose()
    passages = next((home / "corpora" / str(corpus)).glob("*.jsonl"))
    data = passages.read_bytes()
    passages.write_bytes(data[:-2] + b"x\n")
    with pytest.raises(CorruptArtifact, match="damaged"):
        backed_up(home, tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()
    shutil.rmtree(home / "corpora")
    checked = run(home, "verify", "--json")
    assert checked.returncode == 1
    assert any("has no finished artifact" in problem for problem in json.loads(checked.stdout)["problems"])
