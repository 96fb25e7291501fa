from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from backend.core.artifacts import Home, read_manifest, verify
from backend.core.errors import InputError, UserError
from backend.core.files import read_json
from backend.core.records import Passage
from backend.models.architecture import ArchitectureConfig
from backend.models.checkpoints import load_tensors
from backend.models.head_loss import head_loss
from backend.models.training import Training, TrainingConfig, train
from backend.models.training_estimate import estimate_training
from tests.models.tiny import CONFIG
from tests.models.tiny_corpus import tiny_passages

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_COMPARED = {"MANIFEST.json", "timings.json"}


def quiet(done: int, total: int, message: str) -> None:
    pass


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in NOT_COMPARED
    }


def test_head_loss_equals_cross_entropy_of_the_logits() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(50, 16, requires_grad=True), torch.randn(70_000, 16, requires_grad=True)
    targets = torch.randint(70_000, (50,))
    expected = functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    wanted = torch.autograd.grad(expected, (hidden, weight))
    loss = head_loss(hidden, weight, targets)
    torch.testing.assert_close(loss, expected)
    for found, gradient in zip(torch.autograd.grad(3 * loss, (hidden, weight)), wanted, strict=True):
        torch.testing.assert_close(found, 3 * gradient, rtol=1e-4, atol=1e-5)


def test_loss_stays_right_where_a_probability_underflows() -> None:
    loss = head_loss(torch.tensor([[1.0]]), torch.tensor([[0.0], [300.0]]), torch.tensor([0]))
    assert loss.item() == 300.0


def test_artifact_is_a_transformers_folder_with_checkpoints_and_optimizer_state(
    home: Home, model_id: str, passages: list[Passage]
) -> None:
    folder = home.find("model", model_id)
    assert verify(folder) == []
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(passages[1].text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == passages[1].text

    training = read_json(folder / "training.json")
    steps = training["steps"]
    assert training["checkpoints"] == [round(steps / 3), round(2 * steps / 3), steps]
    assert training["curve"][-1]["loss"] < training["curve"][0]["loss"] / 3
    assert {"step", "epoch", "tokens", "loss", "learning_rate"} == set(training["curve"][0])
    manifest = read_manifest(folder)
    assert manifest.facts["parameters"] == sum(p.numel() for p in model.parameters())
    assert manifest.facts["truncated"] == 6
    assert training["tokens"] == CONFIG.epochs * manifest.facts["tokens"]

    last = folder / "checkpoints" / f"step-{steps:06d}"
    assert (last / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert (last / "optimizer.safetensors").read_bytes() == (folder / "optimizer.safetensors").read_bytes()
    state = load_tensors(folder / "optimizer.safetensors")
    for name, parameter in model.named_parameters():
        assert state[f"{name}.step"].item() == steps
        if parameter.dim() == 2:
            assert state[f"{name}.row_var"].shape == (len(parameter), 1)
            assert state[f"{name}.col_var"].shape == (1, parameter.shape[1])
        else:
            assert state[f"{name}.variance"].shape == parameter.shape


def test_finished_training_is_a_no_op(home: Home, model_id: str, passages: list[Passage]) -> None:
    written = (home.find("model", model_id) / "MANIFEST.json").stat().st_mtime_ns
    assert train(home, "corpus", passages, CONFIG, quiet) == model_id
    assert (home.find("model", model_id) / "MANIFEST.json").stat().st_mtime_ns == written


@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=pytest.mark.full)])
def test_killed_training_ends_with_the_bytes_of_an_undisturbed_one(
    home: Home, model_id: str, tmp_path: Path, kills: int
) -> None:
    folder = Home(tmp_path).folder("model", model_id)
    draw = random.Random()
    for _ in range(kills):
        known = set(folder.glob("resume/step-*/state.json"))
        process = subprocess.Popen([sys.executable, "-m", "tests.models.tiny", str(tmp_path)], cwd=REPOSITORY)
        deadline = time.monotonic() + 120
        while set(folder.glob("resume/step-*/state.json")) <= known:
            assert process.poll() is None, "the training ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (folder / "MANIFEST.json").exists()
    assert train(Home(tmp_path), "corpus", tiny_passages(), CONFIG, quiet) == model_id
    assert files_of(folder) == files_of(home.find("model", model_id))


def test_damaged_half_written_checkpoint_is_passed_over(home: Home, model_id: str, tmp_path: Path) -> None:
    training = Training(tmp_path, [p.text for p in tiny_passages()], CONFIG)
    half = tmp_path / "resume" / "step-000007"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    training.resume()
    assert training.step == 0


def test_divergence_names_the_step(tmp_path: Path) -> None:
    training = Training(tmp_path, [p.text for p in tiny_passages()], CONFIG)
    training.take_step()
    with torch.no_grad():
        training.model.lm_head.weight[5, 5] = float("nan")
    with pytest.raises(UserError, match="step 2 is not a number"):
        training.take_step()


def test_learning_rate_warms_up_and_decays_to_its_share() -> None:
    for decay in ("linear", "cosine"):
        config = TrainingConfig(peak_learning_rate=0.02, warmup=0.1, final_learning_rate=0.1, decay=decay)
        rates = [config.learning_rate(step, 200) for step in range(1, 201)]
        assert rates[0] == pytest.approx(0.001)
        assert max(rates) == rates[19] == pytest.approx(0.02)
        assert rates[-1] == pytest.approx(0.002)
        assert rates[19:] == sorted(rates[19:], reverse=True)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"decay": "step"}, {"final_learning_rate": 0.0}, {"peak_learning_rate": -1.0}],
)
def test_wrong_config_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        replace(CONFIG, **wrong)
    with pytest.raises(InputError, match="multiple of 64"):
        ArchitectureConfig(hidden=100, heads=32)


def test_no_passages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without passages"):
        train(Home(tmp_path), "empty", [], CONFIG, quiet)


def test_estimate_is_of_the_training_it_precedes(home: Home, model_id: str, passages: list[Passage]) -> None:
    estimate = estimate_training(passages, CONFIG)
    folder = home.find("model", model_id)
    manifest = read_manifest(folder)
    assert estimate.steps == manifest.facts["steps"]
    assert estimate.tokens == manifest.facts["tokens"]
    assert estimate.parameters == manifest.facts["parameters"]
    written = sum(entry["bytes"] for entry in manifest.files.values())
    assert written * 0.8 < estimate.disk_bytes < written * 2
    assert json.dumps(estimate.seconds) != "NaN"
