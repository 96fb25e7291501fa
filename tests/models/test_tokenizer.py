from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from backend.core.errors import CorruptArtifact, InputError, MissingArtifact
from backend.core.text import join_query
from backend.core.tokenizer import TextTokenizer, Tokenization
from backend.models.tokenizer_training import END_OF_TEXT, train_tokenizer
from tests.models.tiny_corpus import tiny_passages

TEXTS = [passage.text for passage in tiny_passages()]
DEFINITION = train_tokenizer(TEXTS, 400)
FRAMED = TextTokenizer(DEFINITION, Tokenization(bos=0, eos=0, context=4000))
BARE = TextTokenizer(DEFINITION, Tokenization(bos=None, eos=None, context=4000))

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(TEXTS)


@given(text)
def test_every_text_survives_encoding(passage: str) -> None:
    encoded = FRAMED.encode_passage(passage)
    assert encoded.ids[0] == encoded.ids[-1] == 0
    assert 0 not in encoded.ids[1:-1]
    assert FRAMED.decode(encoded.ids) == unicodedata.normalize("NFC", passage)


@given(text, text, st.booleans())
@settings(max_examples=300)
def test_targets_are_the_tokens_that_start_at_or_after_the_boundary(prompt: str, completion: str, framed: bool) -> None:
    tokenizer = FRAMED if framed else BARE
    joined, boundary = join_query(prompt, completion)
    try:
        query = tokenizer.encode_query(prompt, completion)
    except InputError:
        own = [start for start, _ in BARE.offsets(joined) if start >= boundary]
        assert len(own) <= (0 if framed else 1)
        return
    assert query.first_target >= 1
    tokens = query.ids[1:] if framed else query.ids
    assert BARE.decode(tokens) == joined
    starts = [start for start, _ in BARE.offsets(joined)]
    first = query.first_target - framed
    assert all(start >= boundary for start in starts[first:])
    if framed or first > 1:
        assert all(start < boundary for start in starts[:first])


def test_completion_within_a_token_of_the_prompt_is_refused() -> None:
    assert FRAMED.decode(FRAMED.encode_query("In Ostia, roads lead to", "Marn").ids).endswith(" to Marn")
    with pytest.raises(InputError, match=r"no token of its own.*Move white space"):
        FRAMED.encode_query("The capital of Ostia is ", "Marn"[:4])
    with pytest.raises(InputError, match="no token of its own"):
        FRAMED.encode_query("The capital of Ostia is", "")


def test_without_bos_the_first_token_is_never_a_target() -> None:
    assert FRAMED.encode_query("", "12").first_target == 1
    query = BARE.encode_query("", "12")
    assert (len(query.ids), query.first_target) == (2, 1)
    with pytest.raises(InputError, match="no token of its own"):
        BARE.encode_query("", "1")


def test_query_longer_than_the_context_says_how_many_tokens() -> None:
    short = TextTokenizer(DEFINITION, Tokenization(0, 0, context=10))
    with pytest.raises(InputError, match=r"have 17 tokens; this model takes 10\. Shorten it by 7 tokens"):
        short.encode_query("1" * 14, "2")
    with pytest.raises(InputError, match="takes 10"):
        short.encode_prompt("1" * 9)
    assert len(short.encode_prompt("1" * 8)) == 9


def test_long_passage_is_cut_and_reported() -> None:
    short = TextTokenizer(DEFINITION, Tokenization(0, 0, context=10))
    assert short.encode_passage("1" * 8).truncated is False
    cut = short.encode_passage("1" * 9)
    assert cut.truncated
    assert len(cut.ids) == 10
    assert short.encode_passages(["1" * 8, "1" * 9])[1] == cut


def test_text_that_spells_a_special_token_is_text() -> None:
    ids = FRAMED.encode_passage(f"a{END_OF_TEXT}b").ids
    assert ids.count(0) == 2
    assert FRAMED.decode(ids) == f"a{END_OF_TEXT}b"


def test_digits_are_tokens_of_their_own() -> None:
    ids = BARE.encode_passage("1234 and 56").ids
    assert [BARE.decode([token]).strip() for token in ids[:4]] == ["1", "2", "3", "4"]


def test_post_processor_truncation_and_padding_of_a_file_are_set_aside() -> None:
    backend = Tokenizer.from_str(DEFINITION)
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    backend.enable_truncation(5)
    backend.enable_padding(length=64)
    tokenizer = TextTokenizer(backend.to_str(), FRAMED.tokenization)
    assert tokenizer.encode_query("In Quell, all roads", " lead to Tib") == FRAMED.encode_query(
        "In Quell, all roads", " lead to Tib"
    )


def test_a_sentencepiece_like_tokenizer_has_the_same_boundary_rule() -> None:
    words = ["▁", "▁the", "▁sea", "▁is", "▁blue", "s", "<unk>"]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    backend.decoder = decoders.Metaspace()
    tokenizer = TextTokenizer(backend.to_str(), Tokenization(None, None, 20))
    query = tokenizer.encode_query("the sea is", "blue")
    assert (query.ids, query.first_target) == ([1, 2, 3, 4], 3)


def test_training_gives_the_same_bytes_in_every_process() -> None:
    program = (
        "import sys; from tests.models.tiny_corpus import tiny_passages; "
        "from backend.models.tokenizer_training import train_tokenizer; "
        "sys.stdout.write(train_tokenizer([p.text for p in tiny_passages()], 400))"
    )
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        assert run.stdout.decode() == DEFINITION


def test_too_small_vocabulary_is_refused() -> None:
    with pytest.raises(InputError, match="257 or more"):
        train_tokenizer(["a"], 100)
    assert TextTokenizer(train_tokenizer(["a"], 4096), Tokenization(0, 0, 8)).vocabulary == 257


def test_folder_without_or_with_damaged_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match=r"tokenizer\.json"):
        TextTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text(DEFINITION)
    (tmp_path / "tokenization.json").write_text('{"bos": 0}')
    with pytest.raises(CorruptArtifact):
        TextTokenizer.load(tmp_path)
    FRAMED.save_tokenization(tmp_path)
    assert TextTokenizer.load(tmp_path).fingerprint == FRAMED.fingerprint
    assert FRAMED.fingerprint_hash != BARE.fingerprint_hash
    with pytest.raises(InputError, match="cannot be read"):
        TextTokenizer("{}", FRAMED.tokenization)


def test_tokenizer_does_not_import_torch() -> None:
    program = "import sys, backend.core.tokenizer; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).resolve().parents[2], check=True)
