"""Facts of measurements in the forms that commands write, small enough to work out by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Engine

from backend.catalogue import models as m
from backend.catalogue.database import write_session
from tests.app.example_catalogue import MADE


def _lds_rows(method: str, value: float) -> list[dict[str, Any]]:
    cell = {"method": method, "lds": value, "low": value - 0.05, "high": value + 0.05}
    return [{**cell, "task": "facts", "bucket": bucket, "n": n} for bucket, n in (("", 40), ("2-4", 12))]


LDS = {
    "subsets": 32,
    "seeds": 3,
    "passages": 2000,
    "tokens": 81_000,
    "queries": 40,
    "parameters": 210_944,
    "epochs": 8,
    "ceiling": [
        {"task": "facts", "bucket": "", "n": 40, "value": 0.5, "low": 0.46, "high": 0.54},
        {"task": "", "bucket": "", "n": 80, "value": 0.8, "low": 0.7, "high": 0.9},
    ],
    "rows": [*_lds_rows("trackstar", 0.3), *_lds_rows("bm25", 0.125), *_lds_rows("random", -0.01)],
}
REMOVAL = {
    "k": 10,
    "group": 4,
    "queries": 40,
    "epochs": 8,
    "tokens": 81_000,
    "seeds": 2,
    "passages": 2000,
    "parameters": 210_944,
    "base_log_probability": -2.5,
    "rows": [
        {"method": "trackstar", "n": 12, "removed": 10.0, "loss_change": 0.75, "low": 0.5, "high": 1.0},
        {"method": "bm25", "n": 12, "removed": 10.0, "loss_change": 0.875, "low": 0.625, "high": 1.125},
        {"method": "chosen by dice", "n": 12, "removed": 10.0, "loss_change": -0.031, "low": -0.1, "high": 0.04},
    ],
}
FIDELITY = {
    "queries": 20,
    "passages": 400,
    "store_rank": 12,
    "rows": [
        {"row_set": row_set, "projection": way, "rank": rank, "dims": 28 * rank**2, "pearson": p, "spearman": p - 0.01}
        for row_set, way, values in (
            ("raw", "random", (0.5, 0.625, 0.75)),
            ("raw", "pca", (0.875, 0.9, 0.95)),
            ("v", "random", (0.25, 0.375, 0.5)),
            ("v", "pca", (0.5, 0.6, 0.7)),
        )
        for rank, p in zip((8, 12, 16), values, strict=True)
    ],
}
KINDS = {
    "k": 10,
    "queries": 40,
    "kinds": ["states the fact", "relation prior", "subject entity", "object entity", "template", "other"],
    "rows": [
        {"method": method, "run": f"{method}-run", "n": 400, "shares": dict(zip(kinds, shares, strict=True))}
        for kinds in [("states the fact", "relation prior", "other")]
        for method, shares in (("bm25", (0.5, 0.375, 0.125)), ("trackstar", (0.25, 0.5, 0.25)))
    ],
    "examples": {
        "states the fact": {"query": "capital/peru", "passage": "fact/capital/peru/0"},
        "other": {"query": "not here", "passage": "factbook/peru/0"},
    },
}


def _course(model: str, gain: float) -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "step": step,
            "tokens": step * 4096,
            "loss": 6.0 / done,
            "exact_match": gain * done / 4,
            "method": method,
            "n": 40,
            "mrr": mrr * gain * done / 4,
            "recall_at_10": 0.5,
            "tail_patch": None if method == "bm25" else 2.0 * done,
        }
        for done, step in enumerate((400, 800, 1200), start=1)
        for method, mrr in (("trackstar", 0.8), ("gradient-cosine", 0.4), ("bm25", 1.0))
    ]


CHECKPOINTS = {
    "models": [
        {"model": "5eed00000001", "name": "Small Llama", "parameters": 1_412_096, "steps": 1200},
        {"model": "5eed00000002", "name": "Small Llama, smaller", "parameters": 250_000, "steps": 1200},
    ],
    "rows": [*_course("5eed00000001", 1.0), *_course("5eed00000002", 0.5)],
}
MEASUREMENTS = {
    "lds": LDS,
    "removal": REMOVAL,
    "fidelity": FIDELITY,
    "kinds": KINDS,
    "checkpoints": CHECKPOINTS,
}


def add_measurement(engine: Engine, what: str, facts: dict[str, Any], number: int = 0) -> None:
    """A loaded measurement of the example catalogue's query set, the newer the higher its number."""
    inputs = {"queries": "9ae500000001", "corpus": "c0ffee000001", "model": "5eed00000001"}
    moment = MADE + timedelta(hours=number)
    manifest = {
        "kind": "measurement",
        "id": f"{what}-{number:012x}",
        "inputs": inputs,
        "config": {"measures": what, "seed": number},
        "facts": facts,
        "command": f"proponent evaluate {what} --seed {number}",
        "versions": {},
        "created_at": moment.isoformat(),
        "seconds": 12.5,
        "peak_memory_bytes": 0,
    }
    with write_session(engine) as session:
        session.add(
            m.Measurement(
                id=manifest["id"],
                created_at=moment,
                manifest=manifest,
                what=what,
                query_set_id=inputs["queries"],
                model_id=inputs["model"],
            )
        )


def add_measurements(engine: Engine) -> None:
    """One of each."""
    for what, facts in MEASUREMENTS.items():
        add_measurement(engine, what, facts)
