"""Keys: the same question is one job, another question is another."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from backend.jobs.records import asked_slug, complete_request, rank_request, tail_patch_request

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=40)


@given(TEXT, TEXT)
def test_normalisation_is_nfc_and_nothing_else(prompt: str, completion: str) -> None:
    composed = rank_request("run", "model", prompt, completion, None, 10)
    decomposed = rank_request(
        "run", "model", unicodedata.normalize("NFD", prompt), unicodedata.normalize("NFD", completion), None, 10
    )
    assert composed.key == decomposed.key
    assert rank_request("run", "model", prompt + "x", completion, None, 10).key != composed.key


def test_the_joining_space_makes_no_difference() -> None:
    one, other = (rank_request("run", None, "The capital of Peru is", c, "facts", 10) for c in ("Lima", " Lima"))
    assert one.key == other.key
    assert asked_slug("set", "A", "b", None) == asked_slug("set", "A", " b", None)


def test_everything_that_changes_the_answer_changes_the_key() -> None:
    keys = {
        rank_request(run, model, prompt, completion, task, k).key
        for run, model, prompt, completion, task, k in (
            ("run", "model", "A", "b", None, 10),
            ("other", "model", "A", "b", None, 10),
            ("run", "model", "A", None, None, 10),
            ("run", "model", "A", "b", "facts", 10),
            ("run", "model", "A", "b", None, 11),
            ("run", "model", "A ", "b", None, 10),
            ("run", "model", "A b", "c", None, 10),
            ("run", "model", "A", "b c", None, 10),
        )
    }
    keys |= {complete_request("model", "A", samples).key for samples in (1, 2)}
    keys |= {tail_patch_request(run, "model", "q-1").key for run in ("run", "other")}
    assert len(keys) == 12


def test_slugs_hold_no_dot_and_tell_tasks_apart() -> None:
    slugs = {asked_slug("set", "A", "b", task) for task in (None, "facts", "arithmetic")}
    assert len(slugs) == 3
    assert all(slug.startswith("q-") and "." not in slug for slug in slugs)
