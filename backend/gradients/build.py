"""Build a gradient store in one pass over its examples; killed, it resumes at the first missing shard."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from backend.core.artifacts import Home, artifact_id, is_finished, seal
from backend.core.errors import CorruptArtifact, UserError
from backend.core.files import read_json
from backend.gradients.encoder import GradientEncoder
from backend.gradients.examples import Collect, Example, Examples
from backend.gradients.layers import LayerSelection, TrackedLayer, select_layers
from backend.gradients.principal_axes import AXES, SAMPLE_EXAMPLES, PrincipalAxes, principal_axes, save_axes
from backend.gradients.projections import (
    PCA,
    ROW_SETS,
    LayerProjection,
    ProjectionConfig,
    fingerprint,
    layer_projections,
    stored_axes,
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
        build = _Build(folder, inputs, open_model(), read_examples(), config, lambda done, total, message: None)
        build.run(home.find("store", passage_store_id), {"truncated": 0})
    return folder.name


def _settings(config: EncodeConfig) -> dict[str, Any]:
    return {
        **config.projection.settings(),
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
        self.config, self.progress, self.announce = config, progress, announce
        self.examples = Examples(examples, config.max_batch_tokens)
        self.selection: LayerSelection = select_layers(model.model)

    def run(self, passage_store: Path | None, facts: dict[str, Any]) -> None:
        """Plan, write the shards that are missing, seal. V and axes are those of ``passage_store``; None: its own."""
        if not self.examples:
            raise UserError("There is nothing to encode.", "Give a corpus or query set that is not empty.")
        started = time.monotonic()
        moments_file = self.folder / SECOND_MOMENT
        if not moments_file.exists():
            self.progress(0, self.examples.tokens, "second moment")
            theirs = load_second_moments(passage_store / SECOND_MOMENT) if passage_store else None
            save_second_moments(moments_file, theirs or self._second_moments())
        moments, config = load_second_moments(moments_file), self.config.projection
        if config.kind == PCA and passage_store is None and not (self.folder / AXES).exists():
            self.progress(0, self.examples.tokens, "principal axes")
            save_axes(self.folder / AXES, self._principal_axes(moments))
        axes = stored_axes(passage_store or self.folder, config)
        projections = layer_projections(self.selection.tracked, config, moments, axes)
        encoder = GradientEncoder(self.model.model, self.selection.tracked, projections, self.model.device)
        if not (self.folder / PLAN).exists():
            self._make_plan(encoder, projections).write(self.folder)
        plan = StorePlan.read(self.folder)
        tokens = self.examples.tokens
        self._check_plan(plan, projections)
        missing = missing_shards(self.folder, plan)
        if len(missing) < len(plan.shards):
            self.announce(f"{len(plan.shards) - len(missing)} of {len(plan.shards)} shards are there already.", 0)
        done = tokens - sum(sum(self.examples.lengths[slice(*plan.shards[index])]) for index in missing)
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

        def collect(index: int, positions: np.ndarray, x_BTI: Tensor, d_BTO: Tensor) -> None:
            for position, x_TI, d_TO in zip(positions, x_BTI, d_BTO, strict=True):
                gradient_OI = d_TO.mT @ x_TI
                self.examples.check_finite(int(position), gradient_OI)
                estimate.add(layers[index].name, gradient_OI)

        estimate.examples = self._pass_over_sample(CALIBRATION_EXAMPLES, layers, collect)
        return estimate.result()

    def _principal_axes(self, moments: Mapping[str, FactoredSecondMoment]) -> dict[str, dict[str, PrincipalAxes]]:
        """Of activations and their gradients, over a sample of the corpus."""
        rank = self.config.projection.rank
        if rank is None:
            raise ValueError("principal axes need a rank")

        def passes(layers: Sequence[TrackedLayer], add: Callable[[int, Tensor, Tensor], None]) -> None:
            def collect(index: int, positions: np.ndarray, x_BTI: Tensor, d_BTO: Tensor) -> None:
                for position, x_TI, d_TO in zip(positions, x_BTI, d_BTO, strict=True):
                    self.examples.check_finite(int(position), x_TI, d_TO)
                add(index, x_BTI, d_BTO)

            self._pass_over_sample(SAMPLE_EXAMPLES, layers, collect)

        return principal_axes(self.selection.tracked, moments, (rank,), self.model.device, passes)[rank]

    def _pass_over_sample(self, most: int, layers: Sequence[TrackedLayer], collect: Collect) -> int:
        return self.examples.pass_over_sample(self.model.model, self.model.device, most, layers, collect)

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
                **self.config.projection.settings(),
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
        self.progress(0, self.examples.tokens, "calibrating scales")
        largest = {name: np.zeros(len(slices)) for name in ROW_SETS}
        started, tokens = time.monotonic(), 0
        for batch in self.examples.sample(CALIBRATION_EXAMPLES):
            encoded = encoder.encode(*self.examples.tensors(batch))
            tokens += sum(self.examples.lengths[row] for row in batch)
            for name in ROW_SETS:
                peaks = encoded.rows[name].abs().amax(dim=0).cpu().numpy()
                of_layers = [peaks[layer.span].max() for layer in slices]
                largest[name] = np.fmax(largest[name], of_layers)
        seconds = (time.monotonic() - started) * self.examples.tokens / tokens
        row_bytes = 2 * len(ROW_SETS) * (slices[-1].start + slices[-1].dims)
        self.announce(
            f"{len(self.examples.lengths):,} passages, {self.examples.tokens:,} tokens: about {seconds:.0f} s, "
            f"{len(self.examples.lengths) * row_bytes / 1e6:,.0f} MB on disk.",
            len(self.examples.lengths) * row_bytes,
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
        for row, length in enumerate(self.examples.lengths):
            if tokens and tokens + length > budget:
                ranges.append((start, row))
                start, tokens = row, 0
            tokens += length
        return (*ranges, (start, len(self.examples.lengths)))

    def _encode_shard(self, encoder: GradientEncoder, plan: StorePlan, index: int, done: int, total: int) -> int:
        started = time.monotonic()
        start, end = plan.shards[index]
        rows = {name: np.empty((end - start, plan.dims), plan.dtype) for name in plan.row_sets}
        losses = np.empty(end - start, np.float64)
        inverse = {name: (1.0 / plan.scale_vector(name)).astype(np.float32) for name in plan.row_sets}
        batches = equal_length_batches(self.examples.lengths[start:end], max_tokens=plan.batching["max_tokens"])
        for batch in batches:
            encoded = encoder.encode(*self.examples.tensors(batch + start))
            for name in plan.row_sets:
                scaled = encoded.rows[name].cpu().numpy() * inverse[name]
                self._check(scaled, batch + start, plan.dtype)
                rows[name][batch] = scaled
            losses[batch] = encoded.losses.cpu().numpy()
            done += sum(self.examples.lengths[start + row] for row in batch)
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
            raise self.examples.not_finite(row)
        raise UserError(
            f"The gradient of {self.examples.examples[row].id!r} is too large for fp16 ({peak:.3g} after scaling).",
            "Leave the passage out, or encode with --dtype float32.",
        )
