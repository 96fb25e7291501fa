"""Tail-patch against its oracle; what it leaves behind; that a result depends on nothing else."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from backend.core.artifacts import Home, verify
from backend.core.errors import CorruptArtifact, InputError, UserError
from backend.core.files import read_json, write_json
from backend.core.tokenizer import EncodedQuery
from backend.evaluation.tail_patch import STEP_LENGTH, TailPatch, TailPatchSettings, read_settings
from backend.models.loading import LoadedModel, load_model, register_model
from backend.models.tokenizer_training import save_tokenizer, train_tokenizer
from backend.models.training import train
from tests.models.tiny import CONFIG
from tests.models.tiny_corpus import CAPITALS, tiny_passages
from tests.oracles.tail_patch import completion_probability, stepped_copy, tail_patch

PASSAGES = tiny_passages()


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(Path(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def model_id(home: Home) -> str:
    return train(home, "corpus", PASSAGES, CONFIG, lambda done, total, message: None)


@pytest.fixture
def loaded(home: Home, model_id: str) -> LoadedModel:
    return load_model(home, model_id, "cpu")


@pytest.fixture(scope="module")
def foreign_id(home: Home, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model from elsewhere, with dropout."""
    folder = Path(tmp_path_factory.mktemp("tiny-gpt2"))
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=300, n_positions=24, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    save_tokenizer(folder, train_tokenizer([passage.text for passage in PASSAGES], 300), 24)
    return register_model(home, folder)


def queries(loaded: LoadedModel) -> list[EncodedQuery]:
    """What the capital of each country is."""
    return [loaded.tokenizer.encode_query(f"The capital of {s} is", f" {o}") for s, o in CAPITALS.items()]


def passage(loaded: LoadedModel, index: int) -> list[int]:
    return loaded.tokenizer.encode_passage(PASSAGES[index].text).ids


def in_double(loaded: LoadedModel) -> LoadedModel:
    assert loaded.optimizer_state is not None
    state = {
        key: tensor if key.endswith(".step") else tensor.double() for key, tensor in loaded.optimizer_state.items()
    }
    return replace(loaded, model=copy.deepcopy(loaded.model).double(), optimizer_state=state)


def bytes_of(patch: TailPatch) -> list[bytes]:
    """Weights and optimizer state."""
    state: list[Tensor] = [tensor for of in patch._optimizer.state.values() for tensor in of.values()]
    return [tensor.detach().numpy().tobytes() for tensor in (*patch.loaded.model.parameters(), *state)]


@pytest.mark.parametrize("index", [0, 7, 150, 299])
def test_changes_are_the_oracles(home: Home, loaded: LoadedModel, index: int) -> None:
    double = in_double(loaded)
    assert double.optimizer_state is not None
    patch = TailPatch.open(home, double)
    ids = passage(double, index)
    found = patch.changes(ids, queries(double))
    for query, change in zip(queries(double), found, strict=True):
        expected = tail_patch(
            double.model, double.optimizer_state, patch.settings.learning_rate, ids, (query.ids, query.first_target)
        )
        assert expected != 0
        assert change == pytest.approx(expected, rel=1e-7)


def test_single_precision_gives_the_oracles_weights_and_probabilities(home: Home, loaded: LoadedModel) -> None:
    assert loaded.optimizer_state is not None
    patch = TailPatch.open(home, loaded)
    ids = passage(loaded, 7)
    expected = stepped_copy(loaded.model, loaded.optimizer_state, patch.settings.learning_rate, ids)
    before = copy.deepcopy(dict(loaded.model.named_parameters()))
    with patch.stepped(ids):
        for name, parameter in loaded.model.named_parameters():
            wanted = expected.get_parameter(name)
            assert not torch.equal(parameter, before[name])
            torch.testing.assert_close(parameter, wanted, rtol=0, atol=1e-6 * wanted.abs().max().item())
    for query, change in zip(queries(loaded), patch.changes(ids, queries(loaded)), strict=True):
        target = query.ids, query.first_target
        wanted = completion_probability(expected, *target) - completion_probability(loaded.model, *target)
        assert change == pytest.approx(100 * wanted, abs=1e-4)


def test_weights_and_optimizer_state_are_restored_byte_for_byte(home: Home, loaded: LoadedModel) -> None:
    patch = TailPatch.open(home, loaded)
    loaded.model.requires_grad_(False)
    before = bytes_of(patch)
    for index in (0, 7):
        with patch.stepped(passage(loaded, index)):
            assert all(now != then for now, then in zip(bytes_of(patch), before, strict=True))
        assert bytes_of(patch) == before
        patch.changes(passage(loaded, index), queries(loaded))
        assert bytes_of(patch) == before
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert all(parameter.grad is None for parameter in loaded.model.parameters())
    assert verify(home.find("model", loaded.id)) == []


def test_an_error_in_the_with_block_restores_too(home: Home, loaded: LoadedModel) -> None:
    patch = TailPatch.open(home, loaded)
    before = bytes_of(patch)
    with pytest.raises(KeyError), patch.stepped(passage(loaded, 7)):
        raise KeyError
    assert bytes_of(patch) == before


def test_a_result_is_bitwise_the_same_whatever_was_measured_before(
    home: Home, loaded: LoadedModel, model_id: str
) -> None:
    patch = TailPatch.open(home, loaded)
    a, b, *others = queries(loaded)
    first = patch.changes(passage(loaded, 7), [a])
    patch.changes(passage(loaded, 50), [b])
    assert patch.changes(passage(loaded, 7), [a]) == first
    assert patch.changes(passage(loaded, 7), [b, *others, a])[-1] == first[0]
    assert TailPatch.open(home, loaded).changes(passage(loaded, 7), [a]) == first
    anew = TailPatch.open(home, load_model(home, model_id, "cpu"))
    anew.changes(passage(loaded, 50), others)
    assert anew.changes(passage(loaded, 7), [a]) == first


def test_stating_passages_raise_a_completion_more_than_others(home: Home, model_id: str) -> None:
    early = load_model(
        home, model_id, "cpu", checkpoint=read_json(home.find("model", model_id) / "training.json")["checkpoints"][0]
    )
    patch = TailPatch.open(home, early)
    stating, others = [], []
    for index in range(1, 31):
        changes = patch.changes(passage(early, index), queries(early))
        own = list(CAPITALS).index(next(s for s in CAPITALS if s in PASSAGES[index].text))
        stating.append(changes.pop(own))
        others += changes
    assert mean(stating) > 0
    assert mean(stating) > mean(others) + 1


def test_settings_come_from_the_training(home: Home, loaded: LoadedModel, model_id: str) -> None:
    patch = TailPatch.open(home, loaded)
    steps = read_json(home.find("model", model_id) / "training.json")["steps"]
    assert patch.settings == TailPatchSettings("adafactor", CONFIG.learning_rate(steps, steps))
    assert patch.facts == {
        "model": model_id,
        "optimizer": "adafactor",
        "learning_rate": pytest.approx(0.005),
        "state": "saved",
        "step": steps + 1,
    }
    assert read_settings(home, loaded, 0.02).learning_rate == 0.02


@pytest.mark.parametrize(("final", "expected"), [(0.0, 0.005), (0.03, 0.03)])
def test_learning_rate_is_at_least_a_tenth_of_the_peak(
    home: Home, loaded: LoadedModel, tmp_path: Path, final: float, expected: float
) -> None:
    other = Home(tmp_path)
    folder = other.folder("model", loaded.id)
    shutil.copytree(home.find("model", loaded.id), folder)
    record = read_json(folder / "training.json")
    record["curve"][-1]["learning_rate"] = final
    write_json(folder / "training.json", record)
    assert read_settings(other, loaded).learning_rate == pytest.approx(expected)
    write_json(folder / "training.json", {"curve": []})
    with pytest.raises(CorruptArtifact, match="learning rate"):
        read_settings(other, loaded)


def test_model_from_elsewhere_takes_a_step_of_fixed_length_down_the_gradient(home: Home, foreign_id: str) -> None:
    foreign = load_model(home, foreign_id, "cpu")
    patch = TailPatch.open(home, foreign)
    assert patch.facts == {
        "model": foreign_id,
        "optimizer": "normalised-sgd",
        "learning_rate": STEP_LENGTH,
        "state": "none",
        "step": None,
    }
    ids = foreign.tokenizer.encode_passage(PASSAGES[1].text).ids
    tokens = torch.tensor([ids])
    model = copy.deepcopy(foreign.model)
    before = model(input_ids=tokens, labels=tokens, use_cache=False).loss
    gradients = torch.autograd.grad(before, list(model.parameters()))
    length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    weights = bytes_of(patch)
    with patch.stepped(ids):
        for parameter, old, gradient in zip(foreign.model.parameters(), model.parameters(), gradients, strict=True):
            torch.testing.assert_close(parameter, old - STEP_LENGTH * gradient / length, rtol=1e-5, atol=1e-7)
        assert foreign.model(input_ids=tokens, labels=tokens, use_cache=False).loss < before
    asked = queries(foreign)
    first = patch.changes(ids, asked)
    assert patch.changes(ids, asked) == first
    assert bytes_of(patch) == weights
    assert patch.facts["step"] is None


def test_passage_without_a_token_to_predict_changes_nothing(home: Home, loaded: LoadedModel) -> None:
    patch = TailPatch.open(home, loaded)
    assert patch.changes([5], queries(loaded)) == [0.0] * len(CAPITALS)
    assert patch.changes([], queries(loaded)) == [0.0] * len(CAPITALS)
    assert patch.changes(passage(loaded, 1), []) == []


def test_what_cannot_be_measured_is_refused(home: Home, loaded: LoadedModel) -> None:
    patch = TailPatch.open(home, loaded)
    before = bytes_of(patch)
    with pytest.raises(InputError, match="longer than the model's context of 32"):
        patch.changes([5] * 33, queries(loaded))
    adafactor = TailPatchSettings("adafactor", 0.01)
    assert loaded.optimizer_state is not None
    broken = {key: tensor * float("nan") for key, tensor in loaded.optimizer_state.items() if "variance" in key}
    with pytest.raises(UserError, match="smaller learning rate"):
        TailPatch(replace(loaded, optimizer_state=loaded.optimizer_state | broken), adafactor).changes(
            passage(loaded, 1), queries(loaded)
        )
    assert bytes_of(patch) == before
    with pytest.raises(UserError, match="no saved optimizer state"):
        TailPatch(replace(loaded, optimizer_state=None), adafactor)
    lacking = {key: tensor for key, tensor in loaded.optimizer_state.items() if key != "model.norm.weight.variance"}
    with pytest.raises(CorruptArtifact, match=r"lacks model\.norm\.weight"):
        TailPatch(replace(loaded, optimizer_state=lacking), adafactor)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="not a positive number"):
            read_settings(home, loaded, rate)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_graphics_card_gives_the_same_changes(home: Home, loaded: LoadedModel, model_id: str) -> None:
    on_card = TailPatch.open(home, load_model(home, model_id, "cuda"))
    found = on_card.changes(passage(loaded, 7), queries(loaded))
    expected = TailPatch.open(home, loaded).changes(passage(loaded, 7), queries(loaded))
    assert found == pytest.approx(expected, abs=1e-2)
