from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from backend.core.artifacts import Home, read_manifest, verify
from backend.core.errors import CorruptArtifact, InputError, MissingArtifact, UserError
from backend.core.records import Query
from backend.core.tokenizer import TextTokenizer, Tokenization
from backend.models.generation import completion_probabilities, greedy_answers
from backend.models.loading import (
    LoadedModel,
    _content_hash,
    load_model,
    load_pretrained,
    model_name,
    register_model,
    resolve_device,
)
from backend.models.tokenizer_training import save_tokenizer, train_tokenizer
from tests.models.tiny_corpus import tiny_passages


@pytest.fixture(scope="module")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(tmp_path_factory.mktemp("tiny-gpt2"))
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=300, n_positions=24, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    save_tokenizer(folder, train_tokenizer([p.text for p in tiny_passages()], 300), 24)
    return folder


def test_trained_model_is_loaded_with_its_optimizer_state_in_eval_mode(loaded: LoadedModel) -> None:
    assert not loaded.model.training
    assert loaded.context == 32
    assert loaded.tokenization == Tokenization(0, 0, 32)
    assert loaded.optimizer_state is not None
    assert "model.layers.0.self_attn.q_proj.weight.row_var" in loaded.optimizer_state
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}


def test_kept_checkpoint_is_loaded_by_its_step(home: Home, loaded: LoadedModel) -> None:
    steps = sorted(int(p.name[5:]) for p in home.find("model", loaded.id).glob("checkpoints/*"))
    first, last = (load_model(home, loaded.id, "cpu", checkpoint=step) for step in (steps[0], steps[-1]))
    assert first.optimizer_state is not None
    assert first.optimizer_state["model.norm.weight.step"].item() == steps[0]
    name = "model.norm.weight"
    assert torch.equal(last.model.get_parameter(name), loaded.model.get_parameter(name))
    assert not torch.equal(first.model.get_parameter(name), loaded.model.get_parameter(name))
    with pytest.raises(MissingArtifact, match=f"has checkpoints at: {steps[0]}"):
        load_model(home, loaded.id, "cpu", checkpoint=1)


def test_gpt2_with_conv1d_layers_is_registered_and_used(home: Home, gpt2_folder: Path) -> None:
    model_id = register_model(home, gpt2_folder)
    assert register_model(home, gpt2_folder) == model_id
    folder = home.find("model", model_id)
    assert verify(folder) == []
    manifest = read_manifest(folder)
    assert manifest.inputs == {"corpus": None}
    assert manifest.config["context"] == 24
    assert model_name(home, model_id) == gpt2_folder.name
    loaded = load_model(home, model_id, "cpu")
    assert loaded.optimizer_state is None
    assert loaded.tokenization == Tokenization(0, 0, 24)
    original = load_pretrained(gpt2_folder)
    ids = torch.tensor([loaded.tokenizer.encode_prompt("The capital of Ostia is")])
    assert torch.equal(loaded.model(input_ids=ids).logits, original(input_ids=ids).logits)
    query = Query("q", "facts", "The capital of Ostia is", "Marn")
    assert len(greedy_answers(loaded, [query])[0].ids) >= 1
    assert 0 < completion_probabilities(loaded, [query])[0] < 1


def test_registered_framing_and_context_are_part_of_the_id(home: Home, gpt2_folder: Path) -> None:
    bare = register_model(home, gpt2_folder, context=16, begin_with_bos=False, end_with_eos=False)
    assert bare != register_model(home, gpt2_folder)
    assert load_model(home, bare, "cpu").tokenization == Tokenization(None, None, 16)
    with pytest.raises(InputError, match="Give 2 to 24"):
        register_model(home, gpt2_folder, context=25)


def test_other_weights_of_the_same_name_are_another_model(home: Home, gpt2_folder: Path) -> None:
    known = register_model(home, gpt2_folder)
    model = load_pretrained(gpt2_folder)
    before = (gpt2_folder / "model.safetensors").read_bytes()
    with torch.no_grad():
        model.get_input_embeddings().weight[0, 0] += 1
    model.save_pretrained(gpt2_folder)
    try:
        assert register_model(home, gpt2_folder) != known
    finally:
        (gpt2_folder / "model.safetensors").write_bytes(before)


def test_another_configuration_with_the_same_weights_is_another_model(home: Home, gpt2_folder: Path) -> None:
    model = load_pretrained(gpt2_folder)
    tokenizer = TextTokenizer((gpt2_folder / "tokenizer.json").read_text(), Tokenization(0, 0, 64))
    before = _content_hash(model, tokenizer)
    assert _content_hash(load_pretrained(gpt2_folder), tokenizer) == before
    model.config.layer_norm_epsilon = 0.1
    assert _content_hash(model, tokenizer) != before


def test_missing_folder_and_folder_without_model_are_told(home: Home, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no folder"):
        register_model(home, tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no config\.json"):
        register_model(home, tmp_path)


def test_unreachable_hub_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"is not a folder here.*Check the name and the network"):
        register_model(home, "nobody/no-such-model")


def test_folder_without_tokenizer_or_safetensors_is_told(home: Home, gpt2_folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((gpt2_folder / name).read_bytes())
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        register_model(home, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"weights as \.safetensors"):
        load_pretrained(tmp_path)


def test_missing_and_damaged_artifacts_are_told(home: Home, loaded: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact):
        load_model(home, "000000000000")
    copy = Home(tmp_path).folder("model", loaded.id)
    copy.mkdir(parents=True)
    for path in home.find("model", loaded.id).iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    (copy / "optimizer.safetensors").write_bytes(b"damaged")
    with pytest.raises(CorruptArtifact):
        load_model(Home(tmp_path), loaded.id)


def test_unknown_device_is_refused() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="Use auto, cpu or cuda"):
        resolve_device("tpu")
