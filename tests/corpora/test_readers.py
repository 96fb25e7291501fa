"""Reading a user's files: what is accepted comes back as given, what is not is named with its line."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.errors import InputError
from backend.core.records import Aliases, Passage, Query
from backend.corpora.fields import MAX_PROBLEMS, remove_controls
from backend.corpora.readers import read_passages, read_queries

PASSAGE = {"id": "a", "text": "Paris is in France."}
QUERY = {"id": "q", "task": "facts", "prompt": "The capital of France is", "completion": "Paris"}


def jsonl(folder: Path, *rows: object, name: str = "data.jsonl") -> Path:
    path = folder / name
    lines = (row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def test_passages_with_all_fields(tmp_path: Path) -> None:
    full = {**PASSAGE, "source": "atlas", "title": "France", "url": "https://x.example", "license": "CC0"}
    path = jsonl(tmp_path, full, {"id": "b", "text": "Zwei\tWörter\n", "title": None})
    assert read_passages(path).passages == [
        Passage("a", "Paris is in France.", "atlas", "France", "https://x.example", "CC0"),
        Passage("b", "Zwei\tWörter\n"),
    ]


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path: Path) -> None:
    path = jsonl(tmp_path, b"\xef\xbb\xbf" + json.dumps(PASSAGE).encode(), b"", b"  ")
    assert [passage.id for passage in read_passages(path).passages] == ["a"]


def test_texts_are_not_normalised(tmp_path: Path) -> None:
    text = " e\u0301 \u00e9 \u2028 "
    assert read_passages(jsonl(tmp_path, {"id": "a", "text": text})).passages[0].text == text


def test_controls_are_removed_and_counted(tmp_path: Path) -> None:
    read = read_passages(jsonl(tmp_path, {"id": "a", "text": "x\x00y\x02z\x03\r\n\t.", "title": "\x1bt"}))
    assert read.passages[0].text == "xyz\n\t."
    assert read.passages[0].title == "t"
    assert read.removed_characters == 5
    assert remove_controls("plain") == ("plain", 0)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not a JSON object but a list"),
        (b"null", "not a JSON object but null"),
        (b'{"id": "b", "text": "\xff"}', "not UTF-8"),
        ({"text": "x"}, "field 'id' is missing"),
        ({"id": 3, "text": "x"}, "field 'id' must be a string, not a number"),
        ({"id": "", "text": "x"}, "field 'id' is empty"),
        ({"id": "b"}, "field 'text' is missing"),
        ({"id": "b", "text": ["x"]}, "field 'text' must be a string, not a list"),
        ({"id": "b", "text": " \n"}, "field 'text' is empty or only white space"),
        ({"id": "b", "text": "\x00"}, "field 'text' is empty or only white space"),
        ({"id": "b", "text": "\ud800"}, "half of a surrogate pair"),
        ({"id": "b", "text": "x", "title": 1}, "field 'title' must be a string, not a number"),
        ({"id": "b", "text": "x", "sauce": "y"}, "unknown field 'sauce'; did you mean 'source'?"),
        ({"id": "b", "text": "x", "zzz": "y"}, "unknown field 'zzz' (known: id, text"),
        ({"id": "a", "text": "x"}, "id 'a' is already that of line 1"),
        ({"id": "a b", "text": "x"}, "holds white space"),
        ({"id": "a\u00a0b", "text": "x"}, "holds white space"),
        ({"id": "a\x07", "text": "x"}, "holds a character that cannot be printed"),
        ({"id": "..", "text": "x"}, "means a folder"),
        ({"id": ".", "text": "x"}, "means a folder"),
        ({"id": "x" * 201, "text": "x"}, "has 201 characters"),
        ({"id": "x.json", "text": "x"}, "ends in one of"),
        ({"id": "x.csv", "text": "x"}, "ends in one of"),
        ({"id": "x.JSONL", "text": "x"}, "ends in one of"),
    ],
)
def test_a_malformed_passage_is_named_with_its_line(tmp_path: Path, row: object, expected: str) -> None:
    path = jsonl(tmp_path, PASSAGE, row)
    with pytest.raises(InputError) as caught:
        read_passages(path)
    assert f"{path}, line 2: " in caught.value.message
    assert expected in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"task": "trivia"}, "unknown task 'trivia'"),
        ({"task": None}, "field 'task' is missing"),
        ({"prompt": ""}, "field 'prompt' is empty"),
        ({"completion": " "}, "field 'completion' is empty"),
        ({"subject": ""}, "field 'subject' is empty"),
        ({"aliases": "Lutetia"}, "field 'aliases' must be a list of strings or an object, not a string"),
        ({"aliases": {"verb": ["x"]}}, "field 'aliases' has an unknown key 'verb'"),
        ({"aliases": [3]}, "field 'aliases' must be a string, not a number"),
        ({"entails": "a"}, "field 'entails' must be a list of strings"),
        ({"entails": ["a", "a"]}, "names passage 'a' twice"),
        ({"entails": ["nowhere"]}, "names passage 'nowhere', which the corpus does not have"),
        ({"promt": "x"}, "did you mean 'prompt'?"),
    ],
)
def test_a_malformed_query_is_named_with_its_line(tmp_path: Path, changes: dict, expected: str) -> None:
    path = jsonl(tmp_path, QUERY, {**QUERY, "id": "r", **changes})
    with pytest.raises(InputError) as caught:
        read_queries(path, {"a"})
    assert f"{path}, line 2: " in caught.value.message
    assert expected in caught.value.message


def test_queries(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {**QUERY, "subject": "France", "object": "Paris", "aliases": ["Lutetia"], "entails": ["a"]},
        {**QUERY, "id": "r", "aliases": {"subject": ["Gaul"]}, "entails": []},
    )
    first, second = read_queries(path, {"a"}).queries
    assert first == Query(
        "q",
        "facts",
        "The capital of France is",
        "Paris",
        None,
        "France",
        "Paris",
        Aliases((), ("Lutetia",)),
        ("a",),
    )
    assert second.aliases == Aliases(("Gaul",), ())
    assert second.entails == ()


def test_all_problems_are_reported_up_to_a_limit(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"id": 1, "text": 2, "sauce": 3}, PASSAGE, {"id": "b"})
    with pytest.raises(InputError) as caught:
        read_passages(path)
    assert len(caught.value.message.splitlines()) == 4
    assert f"{path}, line 1:" in caught.value.message
    assert f"{path}, line 3:" in caught.value.message
    many = jsonl(tmp_path, *({"id": str(number)} for number in range(100)))
    with pytest.raises(InputError) as caught:
        read_passages(many)
    assert len(caught.value.message.splitlines()) == MAX_PROBLEMS + 1
    assert "only the first 20" in caught.value.message


@pytest.mark.parametrize("read", [read_passages, read_queries])
def test_a_file_must_be_there_and_hold_something(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(InputError, match="in it"):
        read(jsonl(tmp_path, b""))


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither JSONL nor Parquet"):
        read_passages(jsonl(tmp_path, PASSAGE, name="data.txt"))


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "data.parquet"
    parquet.write_table(pyarrow.table({"id": ["a", "b"], "text": ["x", "y\x00"], "title": [None, "t"]}), path)
    read = read_passages(path)
    assert read.passages == [Passage("a", "x"), Passage("b", "y", title="t")]
    assert read.removed_characters == 1
    parquet.write_table(pyarrow.table({"id": ["a", "a"], "text": ["x", None]}), path)
    with pytest.raises(InputError) as caught:
        read_passages(path)
    assert f"{path}, row 2: field 'text' is missing" in caught.value.message
    assert "id 'a' is already that of row 1" in caught.value.message
    path.write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="not readable as Parquet"):
        read_passages(path)


@pytest.mark.parametrize(("location", "package"), [("x.parquet", "pyarrow"), ("hf://x", "datasets")])
def test_a_missing_package_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(tmp_path)
    Path("x.parquet").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        read_passages(location)
    assert package in caught.value.message
    assert "pip install 'proponent[parquet]' -c constraints.txt" in caught.value.remedy


def test_a_datasets_name(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": "x", "label": 1}, {"text": ""}, {"id": 7, "text": "y"}]
    fake = types.ModuleType("datasets")
    fake.load_dataset = lambda name, split, streaming: iter(rows) if name == "org/set" else _unknown()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    read = read_passages("hf://org/set:test")
    assert read.passages == [Passage("test-1", "x"), Passage("7", "y")]
    assert read.skipped_rows == 1
    with pytest.raises(InputError, match="could not be loaded"):
        read_passages("hf://nothing")
    with pytest.raises(InputError, match="names no set"):
        read_passages("hf://")


def _unknown() -> None:
    raise FileNotFoundError("no such set")


IDS = st.text(st.characters(categories=["L", "N"], include_characters="-_/:"), min_size=1, max_size=20)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), min_size=1).filter(
    lambda text: text.strip()
)


@given(st.lists(st.tuples(IDS, TEXTS, TEXTS), unique_by=lambda row: row[0], min_size=1))
def test_passages_survive_a_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    path = jsonl(tmp_path_factory.mktemp("trip"), *({"id": i, "text": text, "title": title} for i, text, title in rows))
    assert read_passages(path).passages == [Passage(i, text, title=title) for i, text, title in rows]
