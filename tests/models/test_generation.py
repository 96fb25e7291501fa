from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from backend.core.artifacts import Home, read_manifest, verify
from backend.core.errors import InputError
from backend.core.files import read_jsonl
from backend.core.records import Query
from backend.models import generation
from backend.models.decoding import Limits, _end, decode, greedy, sampler
from backend.models.generation import (
    GenerationConfig,
    completion_probabilities,
    generate_outputs,
    greedy_answers,
    is_correct,
)
from backend.models.loading import LoadedModel
from tests.models.tiny_corpus import CAPITALS

FACTS = [
    Query(f"fact-{s}", "facts", f"The capital of {s} is", o, entails=tuple(f"p{i}" for i in range(60)))
    for s, o in CAPITALS.items()
]
QUERIES = [
    *FACTS,
    Query("unknown", "facts", "The capital of Zembla is", "Onhava", entails=()),
    Query("control", "controls", "The capital of Xanadu is", "Alph"),
    Query("open", "open-generation", "In Senn, all", " roads lead to Rakka"),
    Query("long", "commonsense", "Marn is the capital of Ostia. It has", "3 streets"),
]
CONFIG = GenerationConfig(max_new_tokens=12, batch_rows=3)


def quiet(done: int, total: int, message: str) -> None:
    pass


def naive(loaded: LoadedModel, prompt: list[int], number: int) -> tuple[list[int], float]:
    """Greedy decoding without cache or batch."""
    ids, probability = list(prompt), 1.0
    with torch.no_grad():
        for _ in range(number):
            scores = loaded.model(input_ids=torch.tensor([ids])).logits[0, -1].double().softmax(-1)
            ids.append(int(scores.argmax()))
            probability *= float(scores.max())
    return ids[len(prompt) :], probability


def test_greedy_answers_equal_a_naive_loop_token_by_token(loaded: LoadedModel) -> None:
    for query, answer in zip(QUERIES, greedy_answers(loaded, QUERIES, CONFIG), strict=True):
        prompt = loaded.tokenizer.encode_prompt(query.prompt)
        ids, probability = naive(loaded, prompt, len(answer.ids))
        assert answer.ids == ids
        assert answer.probability == pytest.approx(probability, rel=1e-4)
        shown = loaded.tokenizer.decode(ids).strip()
        assert shown.startswith(answer.text)
        assert len(prompt) + len(ids) <= loaded.context


def test_completion_probability_equals_a_plain_forward_pass(loaded: LoadedModel) -> None:
    for query, found in zip(QUERIES, completion_probabilities(loaded, QUERIES), strict=True):
        encoded = loaded.tokenizer.encode_query(query.prompt, query.completion)
        with torch.no_grad():
            scores = loaded.model(input_ids=torch.tensor([encoded.ids])).logits[0].double().log_softmax(-1)
        targets = range(encoded.first_target, len(encoded.ids))
        total = sum(float(scores[i - 1, encoded.ids[i]]) for i in targets)
        assert found == pytest.approx(math.exp(total), rel=1e-4)
    assert completion_probabilities(loaded, [Query("q", "open-generation", "In", "")]) == [1.0]


def test_answers_do_not_depend_on_batch_mates(loaded: LoadedModel) -> None:
    together = greedy_answers(loaded, QUERIES, GenerationConfig(batch_rows=64))
    alone = [greedy_answers(loaded, [query])[0] for query in QUERIES]
    assert [answer.ids for answer in together] == [answer.ids for answer in alone]
    limits = Limits(8, one_sentence=False)
    prompts = [loaded.tokenizer.encode_prompt(query.prompt) for query in FACTS[:2]]
    if len(prompts[0]) == len(prompts[1]):
        pair = decode(loaded, prompts, [limits] * 2, sampler(5, ["a", "b"], 8))
        single = decode(loaded, prompts[1:], [limits], sampler(5, ["b"], 8))
        assert pair[1].ids == single[0].ids


def test_samples_follow_the_distribution() -> None:
    log_probabilities = torch.tensor([[0.5, 0.0, 0.3, 0.2]], dtype=torch.float64).log().expand(4000, -1)
    drawn = sampler(1, [str(i) for i in range(4000)], 1)(log_probabilities, 0)
    shares = torch.bincount(drawn, minlength=4) / 4000
    assert shares[1] == 0
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.0, 0.3, 0.2]), atol=0.03, rtol=0)


def test_no_room_gives_an_empty_answer(loaded: LoadedModel) -> None:
    (answer,) = decode(loaded, [[0] * 32], [Limits(4, one_sentence=True)], greedy)
    assert (answer.ids, answer.text, answer.probability) == ([], "", 1.0)


def test_trained_facts_are_right_and_reported_by_bucket(home: Home, loaded: LoadedModel) -> None:
    outputs_id = generate_outputs(home, loaded, "queries", QUERIES, CONFIG, quiet)
    folder = home.find("outputs", outputs_id)
    assert verify(folder) == []
    rows = list(read_jsonl(folder / "outputs.jsonl"))
    assert [row["id"] for row in rows] == [query.id for query in QUERIES]
    by_id = {row["id"]: row for row in rows}
    assert by_id["unknown"]["correct"] is False
    assert by_id["control"]["correct"] is None
    assert by_id["open"]["correct"] is None
    assert all(0 <= row["probability"] <= 1 and 0 <= row["completion_probability"] <= 1 for row in rows)
    manifest = read_manifest(folder)
    assert manifest.inputs == {"model": loaded.id, "queries": "queries"}
    assert manifest.facts["exact_match"] == {"0": 0.0, "50+": 1.0}
    assert manifest.config["kind"] == "greedy"
    assert generate_outputs(home, loaded.id, "queries", QUERIES, CONFIG, quiet) == outputs_id


def test_interrupted_samples_go_on_and_end_with_the_same_bytes(
    home: Home, loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = GenerationConfig(kind="samples", max_new_tokens=6, count=3, batch_rows=6, seed=4)
    whole = home.find("outputs", generate_outputs(home, loaded, "queries", QUERIES, config, quiet))

    def stop(done: int, total: int, message: str) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    other = Home(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        generate_outputs(other, loaded, "queries", QUERIES, config, stop)
    written = list((other.root / "outputs" / whole.name / "parts").iterdir())
    assert written
    calls = []
    monkeypatch.setattr(generation, "decode", lambda *args: calls.append(1) or decode(*args))
    resumed = other.find("outputs", generate_outputs(other, loaded, "queries", QUERIES, config, quiet))
    assert (resumed / "outputs.jsonl").read_bytes() == (whole / "outputs.jsonl").read_bytes()
    assert not (resumed / "parts").exists()
    rows = list(read_jsonl(resumed / "outputs.jsonl"))
    assert all(len(row["samples"]) == 3 for row in rows)
    assert len({sample["text"] for sample in rows[5]["samples"]}) > 1
    assert len(calls) < len(rows)


@pytest.mark.parametrize(
    ("text", "one_sentence", "kept"),
    [
        (" Paris. The next", True, " Paris."),
        (" Paris. The next", False, None),
        (" Paris", True, None),
        (" Paris.", True, None),
        (" St. George's\nmore", True, " St. George's"),
        (" 3.5 litres. Then", True, " 3.5 litres."),
        ("\n\nfirst line \nsecond", False, "\n\nfirst line"),
        (" J. Smith went. He", True, " J. Smith went."),
        ('He said "no." And', True, 'He said "no."'),
    ],
)
def test_text_ends_at_line_or_sentence(text: str, one_sentence: bool, kept: str | None) -> None:
    end = _end(text, Limits(9, one_sentence))
    assert (None if end is None else text[:end]) == kept


@pytest.mark.parametrize(
    ("completion", "answer", "right"),
    [
        ("Paris", "Paris.", True),
        ("Paris", "paris, on the Seine", True),
        ("Paris", "Parisian", False),
        ("Paris", "the city of Paris", False),
        (" São Tomé", "São  Tomé", True),
        ("12", "12. Then", True),
        ("12", "12.5", False),
        ("12", "123", False),
        ("the red one.", "The red one", True),
    ],
)
def test_right_answers_begin_with_the_completion_as_whole_words(completion: str, answer: str, right: bool) -> None:
    assert is_correct(Query("q", "facts", "p", completion), answer) is right
    assert is_correct(Query("q", "open-generation", "p", completion), answer) is None
    assert is_correct(Query("q", "wrong-predictions", "p", completion), answer) is (False if right else None)


def test_wrong_config_is_refused() -> None:
    with pytest.raises(InputError, match="greedy or samples"):
        GenerationConfig(kind="beam")
    with pytest.raises(InputError, match="one greedy answer"):
        GenerationConfig(count=2)
