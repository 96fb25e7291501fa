"""What a job is: its kind, its parameters, and the key by which the same question is known again."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

from backend.core.files import canonical_json
from backend.core.text import join_query

Kind = Literal["rank", "complete", "tail-patch"]
State = Literal["queued", "running", "done", "failed", "cancelled"]
OPEN = ("queued", "running")
"""States in which somebody still waits."""

K, MOST_K = 10, 100
SAMPLES, MOST_SAMPLES = 4, 8
PATCHED = 10
"""Passages of a list that tail-patch is measured for."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job that a reader wants: what decides its key, and nothing else."""

    kind: Kind
    run_id: str | None
    model_id: str | None
    parameters: dict[str, Any]

    @property
    def key(self) -> str:
        """24 hex digits: equal for equal kind, run or model, and parameters after normalisation."""
        identity = [self.kind, self.run_id or self.model_id, _identity(self.kind, self.parameters)]
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What the catalogue knows of a run that a job is about."""

    id: str
    method: str
    corpus_id: str
    query_set_id: str
    model_id: str | None
    manifest: dict[str, Any]


def rank_request(
    run_id: str, model_id: str | None, prompt: str, completion: str | None, task: str | None, k: int
) -> JobRequest:
    """Rank a run's corpus for a question; without a completion the model's own greedy one is taken."""
    parameters = {"prompt": _nfc(prompt), "completion": None if completion is None else _nfc(completion)}
    return JobRequest("rank", run_id, model_id, {**parameters, "task": task, "k": k})


def complete_request(model_id: str, prompt: str, samples: int) -> JobRequest:
    """Complete a prompt: greedily, and by that many samples."""
    return JobRequest("complete", None, model_id, {"prompt": _nfc(prompt), "samples": samples})


def tail_patch_request(run_id: str, model_id: str, slug: str) -> JobRequest:
    """Measure tail-patch for the first passages of a run's list for an asked prompt."""
    return JobRequest("tail-patch", run_id, model_id, {"slug": slug, "k": PATCHED})


def asked_slug(query_set_id: str, prompt: str, completion: str, task: str | None) -> str:
    """Slug of a question's prompt: the same for every method that is asked the same over the same query set."""
    text, boundary = join_query(prompt, completion)
    identity = canonical_json([query_set_id, text, boundary, task])
    return f"q-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _identity(kind: Kind, parameters: dict[str, Any]) -> dict[str, Any]:
    if kind != "rank" or parameters["completion"] is None:
        return parameters
    text, boundary = join_query(parameters["prompt"], parameters["completion"])
    rest = {name: value for name, value in parameters.items() if name not in ("prompt", "completion")}
    return {**rest, "text": text, "boundary": boundary}


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
