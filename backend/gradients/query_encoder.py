"""Encode queries one by one with the projections of a store that is there."""

from __future__ import annotations

from backend.core.errors import IncompatibleStores
from backend.gradients.build import EncodableModel
from backend.gradients.encoder import GradientEncoder
from backend.gradients.layers import select_layers
from backend.gradients.projections import ProjectionConfig, fingerprint, layer_projections, stored_axes
from backend.gradients.second_moment import SECOND_MOMENT, load_second_moments
from backend.gradients.store import GradientStore


def open_encoder(model: EncodableModel, store: GradientStore) -> GradientEncoder:
    """An encoder with the projections of a finished store, for queries one by one.

    Raises IncompatibleStores where the model is not the one whose gradients the store holds.
    """
    layers = select_layers(model.model).tracked
    config = ProjectionConfig.of_store(store.manifest.config)
    moments = load_second_moments(store.folder / SECOND_MOMENT)
    projections = layer_projections(layers, config, moments, stored_axes(store.folder, config))
    expected = store.plan.fingerprint
    if model.tokenization != expected["tokenization"] or any(
        fingerprint(projections[name]) != expected[f"projection_{name}"] for name in store.plan.row_sets
    ):
        raise IncompatibleStores(
            f"Store {store.folder.name} was made with other projections or another tokenizer.", "Encode again."
        )
    return GradientEncoder(model.model, layers, projections, model.device)
