"""Build a gradient store in one pass over its examples; killed, it resumes at the first missing shard."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from backend.core.artifacts import Home, artifact_id, is_finished, seal
from backend.core.errors import CorruptArtifact, UserError
from backend.core.files import read_json
from backend.gradients.encoder import GradientEncoder, backward_at_layers, output_head
from backend.gradients.layers import LayerSelection, TrackedLayer, select_layers
from backend.gradients.projections import (
    ROW_SETS,
    LayerProjection,
    ProjectionConfig,
    fingerprint,
    layer_projections,
)
from backend.gradients.second_moment import (
    SECOND_MOMENT,
    FactoredSecondMoment,
    SecondMomentEstimate,
    from_optimizer_state,
    load_second_moments,
    save_second_moments,
)
from backend.gradients.store import (
    FP16_MAX,
    PLAN,
    SHARD,
    LayerSlice,
    StorePlan,
    missing_shards,
    shard_folder,
    write_shard,
)
from backend.models.batching import equal_length_batches
from backend.models.loading import LoadedModel

CALIBRATION_EXAMPLES = 512
HEADROOM = 64.0
"""The largest value seen in calibration is stored 64 times below fp16's end."""

Progress = Callable[[int, int, str], None]
"""(done, total, message), in tokens."""

Announce = Callable[[str, int], None]
"""(estimate in words, bytes on disk), before the long part."""


@dataclass(frozen=True)
class Example:
    """A token sequence and where its loss begins."""

    id: str
    ids: Sequence[int]
    first_target: int
    """Index of the first token whose log-probability counts; at least 1."""


@dataclass(frozen=True)
class EncodeConfig:
    """What determines a store's rows beside model and examples."""

    projection: ProjectionConfig = field(default_factory=ProjectionConfig)
    max_batch_tokens: int = 4096
    """Tokens of a batch; a batch holds sequences of one length."""
    shard_tokens: int = 65_536
    """Tokens of a shard for a small model: about 10 s of work, the most that a kill can lose."""
    dtype: str = "float16"
    """float16 with a scale for each layer, or float32 (query sets)."""


@dataclass(frozen=True)
class EncodableModel:
    """What the builder needs of a loaded model."""

    model: PreTrainedModel
    tokenization: dict[str, Any]
    """Fingerprint of tokenizer and special tokens."""
    optimizer_state: Mapping[str, Tensor] | None
    """Adafactor's or Adam's state by parameter name; None where the model came without."""
    device: str = "cpu"

    @classmethod
    def of(cls, loaded: LoadedModel) -> EncodableModel:
        """A loaded model, with the optimizer's second moment where it was trained here."""
        return cls(loaded.model, loaded.tokenizer.fingerprint, loaded.optimizer_state, str(loaded.device))


def build_passage_store(
    home: Home,
    model_id: str,
    open_model: Callable[[], EncodableModel],
    corpus_id: str,
    read_examples: Callable[[], tuple[Sequence[Example], Sequence[str]]],
    config: EncodeConfig,
    progress: Progress,
    announce: Announce = lambda text, needed: None,
) -> str:
    """Encode a corpus; returns the store's id. A no-op, model and corpus unread, where the store is finished.

    ``read_examples`` gives the examples and the ids of those that were cut to the model's context; ``announce`` takes
    the estimate of time and disk before the long part. Raises UserError naming the passage whose gradient is not
    finite or does not fit in fp16.
    """
    inputs: dict[str, str | None] = {"model": model_id, "corpus": corpus_id, "queries": None, "store": None}
    folder = _folder(home, inputs, config)
    if not is_finished(folder):
        examples, truncated = read_examples()
        facts = {"truncated": len(truncated), "truncated_ids": list(truncated[:100])}
        _Build(folder, inputs, open_model(), examples, config, progress, announce).run(None, facts)
    return folder.name


def build_query_store(
    home: Home,
    model_id: str,
    open_model: Callable[[], EncodableModel],
    query_set_id: str,
    read_examples: Callable[[], Sequence[Example]],
    passage_store_id: str,
    config: EncodeConfig,
) -> str:
    """Encode a query set with the projections of a passage store (same V); returns the store's id."""
    inputs: dict[str, str | None] = {
        "model": model_id,
        "corpus": None,
        "queries": query_set_id,
        "store": passage_store_id,
    }
    folder = _folder(home, inputs, config)
    if not is_finished(folder):
        moments = load_second_moments(home.find("store", passage_store_id) / SECOND_MOMENT)
        build = _Build(folder, inputs, open_model(), read_examples(), config, lambda done, total, message: None)
        build.run(moments, {"truncated": 0})
    return folder.name


def _settings(config: EncodeConfig) -> dict[str, Any]:
    return {
        "rank": config.projection.rank,
        "seed": config.projection.seed,
        "row_sets": list(ROW_SETS),
        "dtype": config.dtype,
        "max_batch_tokens": config.max_batch_tokens,
        "shard_tokens": config.shard_tokens,
    }


def _folder(home: Home, inputs: dict[str, str | None], config: EncodeConfig) -> Path:
    return home.folder("store", artifact_id("store", inputs, _settings(config)))


class _Build:
    def __init__(
        self,
        folder: Path,
        inputs: dict[str, str | None],
        model: EncodableModel,
        examples: Sequence[Example],
        config: EncodeConfig,
        progress: Progress,
        announce: Announce = lambda text, needed: None,
    ) -> None:
        self.folder, self.inputs, self.model = folder, inputs, model
        self.examples, self.config, self.progress, self.announce = examples, config, progress, announce
        self.lengths = [len(example.ids) for example in examples]
        self.selection: LayerSelection = select_layers(model.model)

    def run(self, moments: Mapping[str, FactoredSecondMoment] | None, facts: dict[str, Any]) -> None:
        """Plan, write the shards that are missing, seal. V is this corpus's own where ``moments`` is None."""
        if not self.examples:
            raise UserError("There is nothing to encode.", "Give a corpus or query set that is not empty.")
        started = time.monotonic()
        moments_file = self.folder / SECOND_MOMENT
        if not moments_file.exists():
            self.progress(0, sum(self.lengths), "second moment")
            save_second_moments(moments_file, moments or self._second_moments())
        projections = layer_projections(
            self.selection.tracked, self.config.projection, load_second_moments(moments_file)
        )
        encoder = GradientEncoder(self.model.model, self.selection.tracked, projections, self.model.device)
        if not (self.folder / PLAN).exists():
            self._make_plan(encoder, projections).write(self.folder)
        plan = StorePlan.read(self.folder)
        tokens = sum(self.lengths)
        self._check_plan(plan, projections)
        missing = missing_shards(self.folder, plan)
        if len(missing) < len(plan.shards):
            self.announce(f"{len(plan.shards) - len(missing)} of {len(plan.shards)} shards are there already.", 0)
        done = tokens - sum(sum(self.lengths[slice(*plan.shards[index])]) for index in missing)
        for index in missing:
            done = self._encode_shard(encoder, plan, index, done, tokens)
        folders = [shard_folder(self.folder, index) for index in range(len(plan.shards))]
        shards = [read_json(folder / SHARD) for folder in folders]
        seconds = sum(shard["seconds"] for shard in shards)
        hashes = {
            (folder / name).relative_to(self.folder).as_posix(): sha
            for folder, shard in zip(folders, shards, strict=True)
            for name, sha in shard["sha256"].items()
        }
        seal(
            self.folder,
            kind="store",
            inputs=self.inputs,
            config=_settings(self.config),
            facts={
                "rows": plan.rows,
                "dims": plan.dims,
                "tokens": tokens,
                "layers": len(plan.layers),
                "second_moment": "optimizer" if self.model.optimizer_state is not None else "estimated",
                "skipped_layers": list(self.selection.skipped),
                "tokens_per_second": round(tokens / max(seconds, 1e-9), 1),
                **facts,
            },
            seconds=max(seconds, time.monotonic() - started),
            command="proponent encode",
            known_hashes=hashes,
        )

    def _check_plan(self, plan: StorePlan, projections: Mapping[str, Sequence[LayerProjection]]) -> None:
        """Refuse to go on with shards that other projections made (another numpy, or a damaged V)."""
        for name in ROW_SETS:
            if plan.fingerprint[f"projection_{name}"] != fingerprint(projections[name]):
                raise CorruptArtifact(
                    f"The unfinished store {self.folder} was begun with other projections.",
                    "Delete its folder and encode again.",
                )

    def _second_moments(self) -> dict[str, FactoredSecondMoment]:
        """V from the optimizer, or estimated over a sample of the corpus where there is no optimizer state."""
        if self.model.optimizer_state is not None:
            return from_optimizer_state(self.model.optimizer_state, self.selection.tracked)
        return self._estimate_second_moments(self.selection.tracked)

    def _estimate_second_moments(self, layers: Sequence[TrackedLayer]) -> dict[str, FactoredSecondMoment]:
        estimate = SecondMomentEstimate(layers)
        model = self.model.model.to(self.model.device).eval().requires_grad_(False)
        head = output_head(model, torch.device(self.model.device))

        batch = np.empty(0, np.int64)

        def collect(index: int, x_BTI: Tensor, d_BTO: Tensor) -> None:
            for row, x_TI, d_TO in zip(batch, x_BTI, d_BTO, strict=True):
                gradient_OI = d_TO.mT @ x_TI
                if not gradient_OI.isfinite().all():
                    raise self._not_finite(int(row))
                estimate.add(layers[index].name, gradient_OI)

        for batch in self._sample_batches():
            backward_at_layers(model, head, layers, *self._tensors(batch), collect)
            estimate.examples += len(batch)
        return estimate.result()

    def _make_plan(self, encoder: GradientEncoder, projections: Mapping[str, Sequence[LayerProjection]]) -> StorePlan:
        slices, start = [], 0
        for layer, projection in zip(self.selection.tracked, projections["raw"], strict=True):
            slices.append(LayerSlice(layer.name, start, projection.outputs.shape[1], projection.inputs.shape[1]))
            start += projection.dims
        return StorePlan(
            fingerprint={
                "model": self.inputs["model"],
                "tokenization": self.model.tokenization,
                "layers": [layer.name for layer in self.selection.tracked],
                "rank": self.config.projection.rank,
                "seed": self.config.projection.seed,
                **{f"projection_{name}": fingerprint(projections[name]) for name in ROW_SETS},
            },
            row_sets=ROW_SETS,
            layers=tuple(slices),
            scales=self._calibrate(encoder, slices),
            dtype=self.config.dtype,
            rows=len(self.examples),
            shards=self._shard_ranges(),
            batching={"rule": "equal lengths in order of length", "max_tokens": self.config.max_batch_tokens},
        )

    def _calibrate(self, encoder: GradientEncoder, slices: Sequence[LayerSlice]) -> dict[str, list[float]]:
        """A power of two for each layer that leaves a sample's largest value ``HEADROOM`` below fp16's end."""
        if self.config.dtype == "float32":
            return {name: [1.0] * len(slices) for name in ROW_SETS}
        self.progress(0, sum(self.lengths), "calibrating scales")
        largest = {name: np.zeros(len(slices)) for name in ROW_SETS}
        started, tokens = time.monotonic(), 0
        for batch in self._sample_batches():
            encoded = encoder.encode(*self._tensors(batch))
            tokens += sum(self.lengths[row] for row in batch)
            for name in ROW_SETS:
                peaks = encoded.rows[name].abs().amax(dim=0).cpu().numpy()
                of_layers = [peaks[layer.span].max() for layer in slices]
                largest[name] = np.fmax(largest[name], of_layers)
        seconds = (time.monotonic() - started) * sum(self.lengths) / tokens
        row_bytes = 2 * len(ROW_SETS) * (slices[-1].start + slices[-1].dims)
        self.announce(
            f"{len(self.lengths):,} passages, {sum(self.lengths):,} tokens: about {seconds:.0f} s, "
            f"{len(self.lengths) * row_bytes / 1e6:,.0f} MB on disk.",
            len(self.lengths) * row_bytes,
        )
        target = FP16_MAX / HEADROOM
        return {
            name: [float(2.0 ** np.ceil(np.log2(peak / target))) if 0 < peak < np.inf else 1.0 for peak in peaks]
            for name, peaks in largest.items()
        }

    def _shard_ranges(self) -> tuple[tuple[int, int], ...]:
        """Consecutive rows of about ``shard_tokens`` tokens; fewer for a large model, so that a shard stays short."""
        parameters = sum(parameter.numel() for parameter in self.model.model.parameters())
        budget = max(2048, min(self.config.shard_tokens, int(2e11 / parameters)))
        ranges, start, tokens = [], 0, 0
        for row, length in enumerate(self.lengths):
            if tokens and tokens + length > budget:
                ranges.append((start, row))
                start, tokens = row, 0
            tokens += length
        return (*ranges, (start, len(self.lengths)))

    def _encode_shard(self, encoder: GradientEncoder, plan: StorePlan, index: int, done: int, total: int) -> int:
        started = time.monotonic()
        start, end = plan.shards[index]
        rows = {name: np.empty((end - start, plan.dims), plan.dtype) for name in plan.row_sets}
        losses = np.empty(end - start, np.float64)
        inverse = {name: (1.0 / plan.scale_vector(name)).astype(np.float32) for name in plan.row_sets}
        batches = equal_length_batches(self.lengths[start:end], max_tokens=plan.batching["max_tokens"])
        for batch in batches:
            encoded = encoder.encode(*self._tensors(batch + start))
            for name in plan.row_sets:
                scaled = encoded.rows[name].cpu().numpy() * inverse[name]
                self._check(scaled, batch + start, plan.dtype)
                rows[name][batch] = scaled
            losses[batch] = encoded.losses.cpu().numpy()
            done += sum(self.lengths[start + row] for row in batch)
            self.progress(done, total, "gradients")
        write_shard(
            self.folder,
            plan,
            index,
            rows,
            {"mean_loss": float(losses.mean()), "seconds": round(time.monotonic() - started, 3)},
        )
        return done

    def _check(self, scaled: np.ndarray, positions: np.ndarray, dtype: str) -> None:
        peaks = np.abs(scaled).max(axis=1)
        limit = FP16_MAX if dtype == "float16" else np.finfo(np.float32).max
        bad = np.flatnonzero(~(peaks <= limit))
        if not len(bad):
            return
        row, peak = int(positions[bad[0]]), peaks[bad[0]]
        if not np.isfinite(peak):
            raise self._not_finite(row)
        raise UserError(
            f"The gradient of {self.examples[row].id!r} is too large for fp16 ({peak:.3g} after scaling).",
            "Leave the passage out, or encode with --dtype float32.",
        )

    def _not_finite(self, row: int) -> UserError:
        return UserError(
            f"The gradient of {self.examples[row].id!r} is not a finite number.",
            "Check the model's weights and this passage; leave the passage out to go on.",
        )

    def _sample_batches(self) -> list[np.ndarray]:
        """Batches over up to 512 examples, evenly spaced."""
        count = min(CALIBRATION_EXAMPLES, len(self.examples))
        sample = np.unique(np.linspace(0, len(self.examples) - 1, count).round().astype(np.int64))
        lengths = [self.lengths[row] for row in sample]
        return [sample[batch] for batch in equal_length_batches(lengths, max_tokens=self.config.max_batch_tokens)]

    def _tensors(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Token ids (B, T) and the mask of their targets for examples of equal length."""
        ids = torch.tensor([list(self.examples[row].ids) for row in positions])
        first = torch.tensor([max(1, self.examples[row].first_target) for row in positions])
        return ids, torch.arange(ids.shape[1])[None] >= first[:, None]
