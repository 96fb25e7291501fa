"""A kept checkpoint of a training as a model artifact of its own, so that every stage can be run on it as it stands.

Its id is the hash of the model's id and the step, so stores, runs and outputs of a checkpoint have other ids than the
finished model's, and theirs stay what they are.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from backend.core.artifacts import MANIFEST, Home, artifact_id, is_finished, read_manifest, seal
from backend.core.errors import UserError
from backend.core.files import read_json, write_json
from backend.models.checkpoints import OPTIMIZER, WEIGHTS, find_checkpoint, find_checkpoints

TRAINING = "training.json"
TIMINGS = "timings.json"


def kept_steps(model_folder: Path) -> list[int]:
    """Steps of a model's kept checkpoints, in order; raises UserError where it has none."""
    steps = [checkpoint.step for checkpoint in find_checkpoints(model_folder / "checkpoints")]
    if not steps:
        raise UserError(
            f"Model {model_folder.name} has no kept checkpoints.", "Only models that were trained here have them."
        )
    return steps


def checkpoint_model(model_folder: Path, step: int, home: Home) -> str:
    """Make a model artifact of a checkpoint, in any home; returns its id. A no-op where it is there.

    Its weights and optimizer state are the checkpoint's, its ``training.json`` ends at the checkpoint: with the
    learning rate of that step, which tail-patch takes. Raises MissingArtifact where there is no such checkpoint.
    """
    model = read_manifest(model_folder)
    inputs: dict[str, str | None] = {"corpus": model.inputs["corpus"], "model": model.id}
    settings = {**model.config, "checkpoint": step}
    folder = home.folder("model", artifact_id("model", inputs, settings))
    if is_finished(folder):
        return folder.name
    started = time.monotonic()
    checkpoint = find_checkpoint(model_folder, step)
    state = checkpoint.state()
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(model_folder.iterdir()):
        if path.is_file() and path.name not in (MANIFEST, WEIGHTS, OPTIMIZER, TRAINING, TIMINGS):
            shutil.copyfile(path, folder / path.name)
    for name in (WEIGHTS, OPTIMIZER):
        shutil.copyfile(checkpoint.folder / name, folder / name)
    steps = read_json(model_folder / TRAINING)["steps"]
    write_json(
        folder / TRAINING,
        {"curve": _curve(state), "validation": [], "checkpoints": [], "steps": steps, "tokens": state["tokens"]},
    )
    seal(
        folder,
        kind="model",
        inputs=inputs,
        config=settings,
        facts={**model.facts, "accuracy": None, "step": step},
        seconds=time.monotonic() - started,
        command="proponent evaluate checkpoints",
    )
    return folder.name


def _curve(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The learning curve up to the checkpoint, whose own step has the last row."""
    since = state["since_row"]
    if not since["targets"]:
        return list(state["curve"])
    names = ("step", "epoch", "tokens", "learning_rate")
    return [*state["curve"], {**{name: state[name] for name in names}, "loss": since["loss"] / since["targets"]}]
