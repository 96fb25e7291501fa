"""How fast the encoder is beside a training pass over the same tokens.

Prints one JSON object: tokens a second of a forward pass, forward + full backward as training does
it, a whole Adafactor step, and encoding
both row sets, and the encoder's ratios to the others, all measured in turns in one run (medians).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from backend.core.tokenizer import Tokenization
from backend.gradients.encoder import GradientEncoder
from backend.gradients.layers import select_layers
from backend.gradients.projections import ProjectionConfig, layer_projections
from backend.gradients.second_moment import FactoredSecondMoment
from backend.models.architecture import ArchitectureConfig, build_model
from backend.models.head_loss import head_loss

VOCABULARY = 4096


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity: the output is always JSON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=64, help="passages of a batch")
    parser.add_argument("--tokens", type=int, default=40, help="tokens of a passage")
    parser.add_argument("--rank", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    ids = torch.randint(1, VOCABULARY, (arguments.rows, arguments.tokens))
    mask = torch.arange(arguments.tokens)[None].expand(arguments.rows, -1) >= 1
    trained = build_model(ArchitectureConfig(), VOCABULARY, Tokenization(0, 0, 128), 0)
    optimizer = torch.optim.Adafactor(trained.parameters(), lr=1e-4, eps=(1e-30, 1e-3), foreach=True)
    encoded = build_model(ArchitectureConfig(), VOCABULARY, Tokenization(0, 0, 128), 0)
    layers = select_layers(encoded).tracked
    moments = {
        layer.name: FactoredSecondMoment(torch.ones(layer.outputs), torch.ones(layer.inputs)) for layer in layers
    }
    encoder = GradientEncoder(encoded, layers, layer_projections(layers, ProjectionConfig(arguments.rank), moments))

    def forward() -> None:
        with torch.no_grad():
            trained(input_ids=ids, use_cache=False)

    def forward_backward() -> None:
        trained.zero_grad(set_to_none=True)
        hidden = trained.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        head_loss(hidden.flatten(0, 1), trained.lm_head.weight, ids[:, 1:].flatten()).backward()

    def training_step() -> None:
        forward_backward()
        optimizer.step()

    def encode() -> None:
        encoder.encode(ids, mask)

    seconds = in_turns([forward, forward_backward, training_step, encode], arguments.rounds)
    rates = {name: ids.numel() / value for name, value in seconds.items()}
    print(
        json.dumps(
            {
                "parameters": sum(parameter.numel() for parameter in trained.parameters()),
                "dims_of_a_row_set": encoder.dims["raw"],
                "threads": arguments.threads,
                "batch": [arguments.rows, arguments.tokens],
                "tokens_per_second": {name: round(rate) for name, rate in rates.items()},
                "encode_per_forward_backward": round(rates["encode"] / rates["forward_backward"], 3),
                "encode_per_training_step": round(rates["encode"] / rates["training_step"], 3),
            }
        )
    )


def in_turns(tasks: list[Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each task; every round runs all of them, so that noise meets all alike."""
    taken: dict[str, list[float]] = {task.__name__: [] for task in tasks}
    for number in range(rounds + 2):
        for task in tasks:
            started = time.perf_counter()
            task()
            if number >= 2:
                taken[task.__name__].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in taken.items()}


if __name__ == "__main__":
    main()
