"""Any records that the format allows come out of an import as they went in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from backend.catalogue.database import open_catalogue
from tests.catalogue.viewer_files import Record, exported, imported, settings, strictly, write

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)
TEXTS = st.sampled_from(["One text.", "Another.", "", "nul\0", "One text. "])
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "fact_id": st.none() | TEXT,
    "relation": JSON,
    "task": JSON | st.sampled_from(["arithmetic", "controls", "COPA"]),
    "groundtruth": st.none() | TEXT,
    "8b_generations": st.none() | TEXT | st.lists(TEXT, max_size=3),
    "8b_confidence": st.none() | st.floats(0, 1) | st.sampled_from([0, 1]),
    "is_8b_correct": st.sampled_from([None, True, False, 0, 1]),
    "c4_frequency": st.sampled_from([None, 0, 3, 2**31 - 1, 12.0]),
    "c4_frequency_bucket": JSON,
    "has_trex_sentence": st.sampled_from([None, True, False]),
    "unknown": JSON,
    "proponent_unknown": JSON,
    "extra": JSON,
}


@st.composite
def listed(draw: st.DrawFn, side: str) -> Record:
    """A side's lists, with or without ids; a text's id follows from it, so that none contradicts another."""
    texts = draw(st.lists(TEXTS, max_size=4))
    found: Record = {
        f"{side}s": texts,
        f"{side}_scores": draw(st.lists(NUMBER, min_size=len(texts), max_size=len(texts))),
    }
    kind = draw(st.sampled_from(["given", "null", "missing", "some"]))
    if kind == "null":
        found[f"{side}_ids"] = None
    elif kind != "missing":
        ids: list[Any] = [f"id {len(text)}" if len(text) % 2 else len(text) for text in texts]
        found[f"{side}_ids"] = [None if kind == "some" and draw(st.booleans()) else one for one in ids]
    if side == "proponent":
        lengths = {"min_size": len(texts), "max_size": len(texts)}
        for name, values in (("correct", st.booleans()), ("ais_scores", st.none() | st.floats(0, 1))):
            if draw(st.booleans()):
                found[f"proponent_{name}"] = draw(st.lists(values, **lengths))
    return found


@st.composite
def viewer_records(draw: st.DrawFn, numbers: list[int]) -> list[Record]:
    records = []
    for number in numbers:
        one: Record = {"inputs_plaintext": f"prompt {number}\0", "targets_plaintext": f" target {number}"}
        one |= draw(st.sampled_from([{"example_id": f"e\0{number}"}, {"example_id": number, "query_set": "s"}, {}]))
        one |= draw(listed("proponent"))
        one |= draw(st.just({}) | listed("opponent"))
        one |= draw(st.fixed_dictionaries({}, optional=OPTIONAL))
        records.append(one)
    return records


@st.composite
def two_files(draw: st.DrawFn) -> list[list[Record]]:
    orders = [draw(st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=True)) for _ in range(2)]
    return [draw(viewer_records(order)) for order in orders]


@examples(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would take minutes: every try is an import
)
@given(files=two_files())
def test_any_records_survive(tmp_path_factory: pytest.TempPathFactory, files: list[list[Record]]) -> None:
    folder = tmp_path_factory.mktemp("any")
    paths = [write(folder / f"m{number}.jsonl", records) for number, records in enumerate(files)]
    result = imported(folder / "home", paths)
    engine = open_catalogue(settings(folder / "home"))
    for run, records in zip(result["runs"], files, strict=True):
        assert [strictly(one) for one in exported(engine, run["run"])] == [strictly(one) for one in records]
    engine.dispose()
