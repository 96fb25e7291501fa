"""Prints what the demonstration contains: ``python -m backend.corpora.demonstration [--tiny]``."""

from __future__ import annotations

import argparse
import time
from collections import Counter

from backend.core.metrics import BUCKETS
from backend.core.records import TASKS
from backend.corpora.demonstration import build
from backend.corpora.demonstration.planting import bucket_counts
from backend.corpora.near_duplicates import near_duplicate_groups


def main() -> None:
    """Build the demonstration and print its counts as Markdown tables."""
    parser = argparse.ArgumentParser(description="Counts of the bundled demonstration.")
    parser.add_argument("--tiny", action="store_true", help="the small one that tests use")
    tiny = parser.parse_args().tiny
    started = time.perf_counter()
    passages, queries = build(tiny=tiny)
    built = time.perf_counter() - started
    groups = near_duplicate_groups([passage.text for passage in passages])
    grouped = time.perf_counter() - started - built

    numbers = Counter(passage.source for passage in passages)
    lengths: Counter[str] = Counter()
    for passage in passages:
        lengths[passage.source] += len(passage.text.split())
    print("| source | passages | words |\n|---|---:|---:|")
    for source, number in numbers.most_common():
        print(f"| {source} | {number:,} | {lengths[source]:,} |")
    print(f"| all | {len(passages):,} | {lengths.total():,} |\n")

    tasks = Counter(query.task for query in queries)
    print("| task | queries |\n|---|---:|")
    for task in TASKS:
        if tasks[task]:
            print(f"| {task} | {tasks[task]} |")
    print(f"| all | {len(queries)} |\n")

    print(f"| relation | {' | '.join(BUCKETS)} | all |\n|---|{'---:|' * (len(BUCKETS) + 1)}")
    counts = bucket_counts(queries)
    for relation, by_bucket in counts.items():
        cells = " | ".join(str(by_bucket[bucket]) for bucket in BUCKETS)
        print(f"| {relation} | {cells} | {sum(by_bucket.values())} |")
    totals = [sum(by_bucket[bucket] for by_bucket in counts.values()) for bucket in BUCKETS]
    print(f"| all | {' | '.join(map(str, totals))} | {sum(totals)} |\n")

    held = sum(group is not None for group in groups)
    print(f"near-duplicate groups: {len(set(groups) - {None})}, holding {held:,} passages")
    print(f"built in {built:.1f} s, near-duplicates in {grouped:.1f} s")


if __name__ == "__main__":
    main()
