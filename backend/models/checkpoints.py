"""Checkpoints of a training: weights, optimizer state and where the training stands, each as safetensors or
JSON.

A checkpoint is there once its ``state.json`` is, which is written last.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from backend.core.errors import CorruptArtifact, MissingArtifact
from backend.core.files import atomic_file, read_json, write_json

WEIGHTS = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk."""

    folder: Path
    step: int

    def weights(self) -> dict[str, Tensor]:
        """Parameter name -> weights."""
        return load_tensors(self.folder / WEIGHTS)

    def optimizer_state(self) -> dict[str, Tensor]:
        """``<parameter>.<name of the state>`` -> tensor."""
        return load_tensors(self.folder / OPTIMIZER)

    def state(self) -> dict[str, Any]:
        """Where the training stood."""
        return read_json(self.folder / STATE)


def checkpoint_folder(base: Path, step: int) -> Path:
    """Folder of a step's checkpoint."""
    return base / f"step-{step:06d}"


def find_checkpoints(base: Path) -> list[Checkpoint]:
    """Whole checkpoints under a folder, in order of their steps."""
    found = [Checkpoint(path.parent, int(path.parent.name[5:])) for path in base.glob(f"step-*/{STATE}")]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def find_checkpoint(model_folder: Path, step: int) -> Checkpoint:
    """A model's kept checkpoint at a step; raises MissingArtifact naming the steps that there are."""
    found = find_checkpoints(model_folder / "checkpoints")
    for checkpoint in found:
        if checkpoint.step == step:
            return checkpoint
    steps = ", ".join(str(checkpoint.step) for checkpoint in found) or "none"
    raise MissingArtifact(
        f"Model {model_folder.name} has no checkpoint at step {step}.", f"It has checkpoints at: {steps}."
    )


def save_checkpoint(
    base: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
) -> None:
    """Write a checkpoint; whole or not there."""
    folder = checkpoint_folder(base, step)
    (folder / STATE).unlink(missing_ok=True)
    save_tensors(folder / WEIGHTS, model_tensors(model))
    save_tensors(folder / OPTIMIZER, optimizer_tensors(model, optimizer))
    write_json(folder / STATE, dict(state))


def restore_checkpoint(checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put a checkpoint's weights and optimizer state in place; returns its state."""
    weights, moments = checkpoint.weights(), checkpoint.optimizer_state()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])
            prefix = f"{name}."
            of_parameter = {
                key.removeprefix(prefix): tensor for key, tensor in moments.items() if key.startswith(prefix)
            }
            if of_parameter:
                optimizer.state[parameter] = {
                    key: tensor if key == "step" else tensor.to(parameter.device)
                    for key, tensor in of_parameter.items()
                }
    return checkpoint.state()


def prune_checkpoints(base: Path, keep: int) -> None:
    """Delete all checkpoints but the one of step ``keep``."""
    for checkpoint in find_checkpoints(base):
        if checkpoint.step != keep:
            (checkpoint.folder / STATE).unlink()
            shutil.rmtree(checkpoint.folder)


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's parameters by name; tied ones once."""
    return {name: parameter.detach().cpu().contiguous() for name, parameter in model.named_parameters()}


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state by parameter name, such as ``model.norm.weight.variance``."""
    return {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
        if isinstance(value, Tensor)
    }


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically."""
    with atomic_file(path) as stream:
        stream.write(safetensors.torch.save(dict(tensors), metadata={"format": "pt"}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; raises MissingArtifact or CorruptArtifact."""
    if not path.exists():
        raise MissingArtifact(f"{path} is not there.", "Make the model artifact again.")
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise CorruptArtifact(
            f"{path} is not a readable safetensors file ({error}).", "Delete its folder and make it again."
        ) from error
