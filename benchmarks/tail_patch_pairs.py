"""Tail-patch of runs compared query by query, from what `proponent evaluate tail-patch` measured. No torch.

Prints one JSON object. ``differences``: for each other method and each number of first passages, the mean over queries
of the first method's tail-patch less the other's, in percentage points, a 95% interval by a bootstrap over queries
(percentiles, 10,000 draws), and on how many queries it is more and less. ``by_statement``: for each method, how many of
the first passages state the fact of their query and how many do not, and the mean tail-patch of both kinds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.artifacts import Home, Manifest, read_manifest
from backend.core.files import load_array, read_jsonl

DEPTHS = (1, 3, 5, 10)
DRAWS = 10_000


class Patches:
    """One finished measurement and the lists of its runs."""

    def __init__(self, home: Home, patches_id: str) -> None:
        folder = home.find("patches", patches_id)
        self.manifest: Manifest = read_manifest(folder)
        pairs, changes = load_array(folder / "pairs.i32.npy"), load_array(folder / "changes.f64.npy")
        self.change = dict(zip(map(tuple, pairs.tolist()), changes.tolist(), strict=True))
        queries = list(read_jsonl(home.find("queries", str(self.manifest.inputs["queries"])) / "queries.jsonl"))
        passages = read_jsonl(home.find("corpus", str(self.manifest.inputs["corpus"])) / "passages.jsonl")
        position = {passage["id"]: place for place, passage in enumerate(passages)}
        self.rows = [row["position"] for row in read_jsonl(folder / "queries.jsonl")]
        self.stating = {row: {position[passage] for passage in queries[row]["entails"]} for row in self.rows}
        k = self.manifest.config["k"]
        self.lists: dict[str, dict[int, list[int]]] = {}
        for run in self.manifest.config["runs"]:
            run_folder = home.find("run", run)
            proponents = load_array(run_folder / "proponents.i32.npy")[:, :k]
            method = read_manifest(run_folder).config["method"]
            self.lists[method] = {row: [p for p in proponents[row].tolist() if p >= 0] for row in self.rows}

    def means(self, method: str, depth: int) -> np.ndarray:
        """Mean of the first passages for each query; NaN where a list is empty."""
        lists = self.lists[method]
        changes = [[self.change[passage, row] for passage in lists[row][:depth]] for row in self.rows]
        return np.array([np.mean(of) if of else np.nan for of in changes])


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--patches", help="id of the measurement; the newest by default")
    parser.add_argument("--method", default="trackstar")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    home = Home(arguments.home)
    found = Patches(home, arguments.patches or home.finished("patches")[-1])
    random = np.random.default_rng(arguments.seed)
    drawn = random.integers(0, len(found.rows), (DRAWS, len(found.rows)))
    differences = [
        {"other": other, "first": depth, **_difference(found, arguments.method, other, depth, drawn)}
        for other in found.lists
        for depth in DEPTHS
        if other != arguments.method and depth <= found.manifest.config["k"]
    ]
    value = {
        "patches": found.manifest.id,
        "method": arguments.method,
        "queries": len(found.rows),
        "seed": arguments.seed,
        "versions": found.manifest.versions,
        "differences": differences,
        "by_statement": {method: _by_statement(found, method) for method in found.lists},
    }
    print(json.dumps(value, indent=1))


def _difference(found: Patches, method: str, other: str, depth: int, drawn: np.ndarray) -> dict[str, Any]:
    difference = found.means(method, depth) - found.means(other, depth)
    low, high = np.nanpercentile(np.nanmean(difference[drawn], axis=1), [2.5, 97.5])
    return {
        "mean": round(float(np.nanmean(difference)), 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
        "more": int((difference > 0).sum()),
        "less": int((difference < 0).sum()),
    }


def _by_statement(found: Patches, method: str) -> dict[str, Any]:
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for row, passages in found.lists[method].items():
        for passage in passages:
            kinds[passage in found.stating[row]].append(found.change[passage, row])
    return {
        name: {"passages": len(changes), "tail_patch": round(float(np.mean(changes)), 3) if changes else None}
        for name, changes in (("stating", kinds[True]), ("others", kinds[False]))
    }


if __name__ == "__main__":
    main()
