"""Load models: artifacts made here, and any causal LM of the Hugging Face kind, which becomes an artifact
first.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from backend.core.artifacts import Home, artifact_id, is_finished, read_manifest, seal
from backend.core.errors import InputError, UserError
from backend.core.files import atomic_file, canonical_json, sha256_of
from backend.core.tokenizer import TOKENIZER, TextTokenizer, Tokenization
from backend.models.checkpoints import (
    OPTIMIZER,
    WEIGHTS,
    find_checkpoint,
    load_tensors,
)

DEFAULT_CONTEXT = 1024
"""Context of a registered model whose configuration names none; longer ones are cut to
``RegisterConfig.context``.
"""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to encode, generate and be differentiated: eval mode, float32."""

    id: str
    model: PreTrainedModel
    tokenizer: TextTokenizer
    optimizer_state: dict[str, Tensor] | None
    """``<parameter>.<name>`` -> tensor (Adafactor: row_var, col_var, variance, step); None for a loaded
    model.
    """
    device: torch.device

    @property
    def tokenization(self) -> Tokenization:
        """Special tokens and context."""
        return self.tokenizer.tokenization

    @property
    def context(self) -> int:
        """Most tokens of a sequence."""
        return self.tokenizer.tokenization.context


@dataclass(frozen=True)
class RegisterConfig:
    """How a model from elsewhere is taken in."""

    name: str
    """What pages call the model: its hub name, or its folder's name."""
    context: int | None = None
    """Most tokens of a sequence; None: the model's own, at most 1,024."""
    begin_with_bos: bool = True
    """Put the tokenizer's BOS, where it has one, before every text."""
    end_with_eos: bool = True
    """Put the tokenizer's EOS, where it has one, after every passage."""
    weights_sha256: str = ""
    """Hash over the weight and tokenizer files: filled in, so that other weights under the same name are
    another model.
    """


def resolve_device(device: str = "auto") -> torch.device:
    """``auto`` (CUDA where there is one), ``cpu`` or ``cuda``; raises InputError for CUDA where there is
    none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise InputError(f"There is no device {device!r}.", "Use auto, cpu or cuda.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("No CUDA device was found.", "Use --device cpu, or auto.")
    return torch.device(device)


def load_model(home: Home, model_id: str, device: str = "auto", checkpoint: int | None = None) -> LoadedModel:
    """Load a model artifact, or one of its kept checkpoints (by step).

    Raises MissingArtifact where there is no such model or checkpoint, CorruptArtifact where its files are
    damaged.
    """
    folder = home.find("model", model_id)
    at = resolve_device(device)
    model = load_pretrained(folder)
    tokenizer = TextTokenizer.load(folder)
    state = load_tensors(folder / OPTIMIZER) if (folder / OPTIMIZER).exists() else None
    if checkpoint is not None:
        found = find_checkpoint(folder, checkpoint)
        weights, state = found.weights(), found.optimizer_state()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(weights[name])
    return LoadedModel(model_id, model.to(at), tokenizer, state, at)


def load_pretrained(path_or_name: str | Path) -> PreTrainedModel:
    """Any causal LM from a folder or the hub: safetensors only, no code from it, float32 on the CPU, eval
    mode.

    Raises InputError for a folder that is not a model's, and UserError where the hub cannot be reached.
    """
    source = _source(path_or_name)
    with quiet(), _readable_errors(source):
        model: Any = AutoModelForCausalLM.from_pretrained(
            source, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
    return model.eval()


def register_model(
    home: Home,
    path_or_name: str | Path,
    *,
    name: str | None = None,
    context: int | None = None,
    begin_with_bos: bool = True,
    end_with_eos: bool = True,
    command: str = "",
) -> str:
    """Copy a model from elsewhere into a model artifact (no corpus); returns its id.

    Later stages see no difference to a model trained here, except that it has no optimizer state. Raises
    InputError where the folder or name has no model or no fast tokenizer, UserError where the hub cannot be
    reached.
    """
    started = time.monotonic()
    source = _source(path_or_name)
    model = load_pretrained(source)
    with quiet(), _readable_errors(source):
        tokenizer: Any = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or (Path(source).is_dir() and not (Path(source) / TOKENIZER).exists()):
        raise InputError(
            f"{source} has no {TOKENIZER}.",
            "Save its tokenizer as a fast one: AutoTokenizer.from_pretrained(...).save_pretrained(folder).",
        )
    config = RegisterConfig(
        name or (Path(source).resolve().name if Path(source).is_dir() else source),
        _context(model, context),
        begin_with_bos,
        end_with_eos,
    )
    tokenization = Tokenization(
        bos=tokenizer.bos_token_id if begin_with_bos else None,
        eos=tokenizer.eos_token_id if end_with_eos else None,
        context=config.context or DEFAULT_CONTEXT,
    )
    text_tokenizer = TextTokenizer(backend.to_str(), tokenization)
    config = replace(config, weights_sha256=_content_hash(model, text_tokenizer))
    settings = asdict(config)
    model_id = artifact_id("model", {"corpus": None}, settings)
    folder = home.folder("model", model_id)
    if is_finished(folder):
        return model_id
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder, max_shard_size="1000GB")
        tokenizer.save_pretrained(folder)
    with atomic_file(folder / TOKENIZER) as stream:
        stream.write(text_tokenizer.definition.encode())
    text_tokenizer.save_tokenization(folder)
    seal(
        folder,
        kind="model",
        inputs={"corpus": None},
        config=settings,
        facts={
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "vocabulary": text_tokenizer.vocabulary,
            "tokens": None,
            "accuracy": None,
            "model_type": model.config.model_type,
        },
        seconds=time.monotonic() - started,
        command=command,
        known_hashes={WEIGHTS: sha256_of(folder / WEIGHTS)},
    )
    return model_id


def model_name(home: Home, model_id: str) -> str:
    """What pages call a model."""
    return str(read_manifest(home.find("model", model_id)).config["name"])


def _source(path_or_name: str | Path) -> str:
    source = str(path_or_name)
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise InputError(f"{path} is not a model's folder: it has no config.json.", "Give the folder that has it.")
        return str(path)
    looks_like_path = isinstance(path_or_name, Path) or source.startswith((".", "/", "~")) or source.count("/") > 1
    if looks_like_path or not source.strip():
        raise InputError(f"There is no folder {source!r}.", "Give a transformers model folder or a hub name.")
    return source


def _context(model: PreTrainedModel, asked: int | None) -> int:
    own = getattr(model.config, "max_position_embeddings", None)
    if asked is None:
        return min(own or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    if asked < 2 or (own and asked > own):
        raise InputError(f"A context of {asked} tokens does not fit this model.", f"Give 2 to {own or 'any number'}.")
    return asked


def _content_hash(model: PreTrainedModel, tokenizer: TextTokenizer) -> str:
    """Of all that the model computes with: tokenizer, configuration, weights and buffers."""
    digest = hashlib.sha256(tokenizer.fingerprint_hash.encode())
    settings = model.config.to_dict()
    for about in ("_name_or_path", "transformers_version"):
        settings.pop(about, None)
    digest.update(canonical_json(settings).encode())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().numpy().data)
    return digest.hexdigest()


@contextmanager
def _readable_errors(source: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        first_line = str(error).strip().partition("\n")[0]
        if Path(source).is_dir():
            raise InputError(
                f"{source} cannot be loaded as a causal language model ({first_line}).",
                "It needs config.json, weights as .safetensors and tokenizer.json, and no code of its own.",
            ) from error
        raise UserError(
            f"{source!r} is not a folder here, and did not load from the Hugging Face hub ({first_line}).",
            "Check the name and the network, or give the folder of a downloaded model.",
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and notices off stdout and stderr, which belong to the command."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
