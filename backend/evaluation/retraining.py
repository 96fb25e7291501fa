"""Train a small model again on some of its passages, and see what it then thinks of completions.

A training is an artifact of its own, named by what was kept and its seed: evaluations share trainings, and a kill loses
only those in hand. Each runs on one thread, several side by side in processes of their own.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import wait as wait_for
from pathlib import Path

import numpy as np
import torch

from backend.core.artifacts import Home, artifact_id, is_finished, seal
from backend.core.errors import InputError, UserError
from backend.core.files import load_array, save_array
from backend.core.records import Passage, Query
from backend.core.tokenizer import TextTokenizer
from backend.models.decoding import target_log_probabilities
from backend.models.loading import LoadedModel, resolve_device
from backend.models.training import Training, TrainingConfig

LOG_PROBABILITIES = "log_probabilities.f64.npy"
KEPT = "kept.u8.npy"

Progress = Callable[[float, float, str], None]
"""(done, total, message), in trainings."""


@dataclass(frozen=True)
class Retrained:
    """What is trained again and again: a model's corpus and configuration, and the queries that are looked at."""

    home: Home
    model_id: str
    """The model trained on all passages: it gives tokenizer and configuration."""
    corpus_id: str
    query_set_id: str
    passages: Sequence[Passage]
    queries: Sequence[Query]
    config: TrainingConfig
    device: str = "cpu"


@dataclass(frozen=True)
class Leave:
    """One training: which passages it keeps, and its seed (initial weights and batches)."""

    kept: np.ndarray
    """(passages,) bool."""
    seed: int


def retrain(subject: Retrained, kept: np.ndarray, seed: int) -> np.ndarray:
    """Log-probability (nats) of each query's completion after a training on the kept passages, (queries,) float64."""
    texts = [passage.text for passage, keep in zip(subject.passages, kept, strict=True) if keep]
    if not texts:
        raise InputError("A training needs at least one passage.", "Take fewer away.")
    tokenizer = TextTokenizer.load(subject.home.find("model", subject.model_id))
    config = replace(subject.config, seed=seed)
    training = Training(Path(os.devnull), texts, config, subject.device, tokenizer)
    training.model.train()
    while training.step < training.steps:
        training.take_step()
    loaded = LoadedModel(subject.model_id, training.model.eval(), tokenizer, None, resolve_device(subject.device))
    encoded = [tokenizer.encode_named(query) for query in subject.queries]
    return np.array(target_log_probabilities(loaded, [(query.ids, query.first_target) for query in encoded]))


def log_probabilities(
    subject: Retrained,
    trainings: Sequence[Leave],
    processes: int,
    progress: Progress,
    announce: Callable[[str], None] = lambda text: None,
) -> np.ndarray:
    """(trainings, queries) float64; trainings that were made before are read, the others made ``processes`` at a time.

    ``announce`` is told how many there are to make.
    """
    folders = {_folder(subject, one): one for one in trainings}
    missing = [one for folder, one in folders.items() if not is_finished(folder)]
    done = len(trainings) - len(missing)
    if missing:
        announce(
            f"{len(missing)} trainings of {subject.config.epochs} epochs over up to {len(subject.passages):,} passages"
            f"{f', {done} are there already' if done else ''}."
        )
    started = time.monotonic()
    for number, _ in enumerate(_made(subject, missing, processes), start=1):
        left = (time.monotonic() - started) / number * (len(missing) - number)
        progress(
            done + number, len(trainings), f"training {done + number} of {len(trainings)}, about {left:.0f} s left"
        )
    return np.stack([load_array(_folder(subject, one) / LOG_PROBABILITIES) for one in trainings])


def _folder(subject: Retrained, one: Leave) -> Path:
    return subject.home.folder("retraining", artifact_id("retraining", _inputs(subject), _settings(subject, one)))


def _inputs(subject: Retrained) -> dict[str, str | None]:
    return {"model": subject.model_id, "corpus": subject.corpus_id, "queries": subject.query_set_id}


def _settings(subject: Retrained, one: Leave) -> dict[str, object]:
    digest = hashlib.sha256(np.packbits(one.kept).tobytes()).hexdigest()
    return {**asdict(subject.config), "seed": one.seed, "kept": digest, "passages": int(one.kept.sum())}


def _made(subject: Retrained, missing: Sequence[Leave], processes: int) -> Iterator[None]:
    """Make trainings; yields after each."""
    if processes == 1 or len(missing) < 2:
        with _threads(1):
            for one in missing:
                _make(subject, one)
                yield
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(missing)), context, _begin, (subject,)) as pool:
        waiting: set[Future[None]] = {pool.submit(_make_here, one) for one in missing}
        try:
            while waiting:
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
                    yield
        except BrokenProcessPool as error:
            raise UserError(
                "The process of a training ended from outside, perhaps for want of memory.",
                "Run the same command again: finished trainings are kept. PROPONENT_THREADS=1 trains one at a time.",
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _make(subject: Retrained, one: Leave) -> None:
    started = time.monotonic()
    found = retrain(subject, one.kept, one.seed)
    folder = _folder(subject, one)
    folder.mkdir(parents=True, exist_ok=True)
    save_array(folder / KEPT, np.packbits(one.kept))
    save_array(folder / LOG_PROBABILITIES, found)
    seal(
        folder,
        kind="retraining",
        inputs=_inputs(subject),
        config=_settings(subject, one),
        facts={"mean_log_probability": float(found.mean())},
        seconds=time.monotonic() - started,
        command="proponent evaluate lds",
    )


_subject: Retrained | None = None
"""In a process of the pool: what it trains."""


def _begin(subject: Retrained) -> None:
    """Start of a process of the pool: one thread, and its end with that of its parent, however that ends."""
    global _subject
    _subject = subject
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            wait_for([parent.sentinel])
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _make_here(one: Leave) -> None:
    assert _subject is not None, "a process of the pool knows what it trains"
    _make(_subject, one)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
