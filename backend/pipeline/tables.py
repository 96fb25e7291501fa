"""Plain-text tables of command results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MEASURES = (("mrr", "MRR"), ("recall_at_10", "Recall@10"), ("precision_at_1", "P@1"), ("precision_at_10", "P@10"))

DEPTHS = (
    ("tail_patch_1", "first"),
    ("tail_patch_3", "first 3"),
    ("tail_patch_5", "first 5"),
    ("tail_patch", "first 10"),
)

CELL = ("task", "bucket", "method", "n")

SHOWN = 100
"""Characters of a passage in a line."""


def metrics_text(rows: Sequence[dict[str, Any]]) -> str:
    """`evaluate`'s rows as a table: a line for each task, bucket and method."""
    patched = any("tail_patch" in row for row in rows)
    correlated = any("lds" in row for row in rows)
    header = (
        *CELL,
        *(title for _, title in MEASURES),
        *(["tail-patch"] if patched else []),
        *(["LDS", "95% interval"] if correlated else []),
    )
    body = [
        (
            *_cell(row),
            *("-" if row[name] is None else f"{row[name]:.3f}" for name, _ in MEASURES),
            *([_points(row["tail_patch"])] if patched else []),
            *(_correlation(row) if correlated else []),
        )
        for row in rows
    ]
    return aligned([header, *body])


def patches_text(rows: Sequence[dict[str, Any]]) -> str:
    """`evaluate tail-patch`'s rows as a table, in percentage points."""
    header = (*CELL, *(title for _, title in DEPTHS))
    body = [(*_cell(row), *(_points(row[name]) for name, _ in DEPTHS)) for row in rows]
    note = "Mean change of the completion's probability by one step on a passage, in percentage points."
    return f"{aligned([header, *body])}\n\n{note}"


def intervals_text(rows: Sequence[dict[str, Any]], name: str, title: str) -> str:
    """Rows of a mean with its interval as a table; where rows have task and bucket, these are in it."""
    by_cell = any("task" in row for row in rows)
    header = (*(CELL if by_cell else CELL[2:]), title, "95% interval")
    body = [
        (
            *(_cell(row) if by_cell else (row["method"], str(row["n"]))),
            f"{row[name]:+.3f}",
            f"{row['low']:+.3f} to {row['high']:+.3f}",
        )
        for row in rows
    ]
    return aligned([header, *body])


def kinds_text(facts: dict[str, Any]) -> str:
    """`evaluate kinds`'s facts as a table: shares of the kinds by method."""
    body = [
        (row["method"], str(row["n"]), *(f"{row['shares'][kind]:.3f}" for kind in facts["kinds"]))
        for row in facts["rows"]
    ]
    note = f"Shares of the kinds among the first {facts['k']} proponents of {facts['queries']} facts."
    return f"{aligned([('method', 'n', *facts['kinds']), *body])}\n\n{note}"


def fidelity_text(facts: dict[str, Any]) -> str:
    """`evaluate fidelity`'s facts as a table: a line for each row set, projection and rank."""
    body = [
        (
            row["row_set"],
            row["projection"],
            str(row["rank"]),
            f"{row['dims']:,}",
            f"{row['pearson']:.3f}",
            f"{row['spearman']:.3f}",
            f"{row['noise']:.2f}",
        )
        for row in facts["rows"]
    ]
    note = (
        f"Mean correlation with exact dot products over {facts['passages']} passages, {facts['queries']} facts; noise "
        f"in standard deviations of the exact ones (median). The runs' store has rank {facts['store_rank']}."
    )
    return f"{aligned([('rows', 'projection', 'rank', 'dimensions', 'Pearson', 'Spearman', 'noise'), *body])}\n\n{note}"


def checkpoints_text(facts: dict[str, Any]) -> str:
    """`evaluate checkpoints`'s facts as a table: a line for each model, checkpoint and method."""
    parameters = {model["model"]: f"{model['parameters']:,}" for model in facts["models"]}
    header = ("parameters", "step", "loss", "answers", "method", "n", "MRR", "Recall@10", "tail-patch")
    body = [
        (
            parameters[row["model"]],
            str(row["step"]),
            "-" if row["loss"] is None else f"{row['loss']:.2f}",
            f"{row['exact_match']:.3f}",
            row["method"],
            str(row["n"]),
            f"{row['mrr']:.3f}",
            f"{row['recall_at_10']:.3f}",
            _points(row["tail_patch"]),
        )
        for row in facts["rows"]
    ]
    note = (
        "answers: share of these facts that the model answers rightly there. Tail-patch: of the first ten, in points."
    )
    return f"{aligned([header, *body])}\n\n{note}"


def indexes_text(rows: Sequence[dict[str, Any]]) -> str:
    """`index`'s rows as a table: a line for each geometry of each index."""
    header = ("index", "file", "tasks", "MB", "queries", "recall@100")
    body = [
        (
            row["index"],
            part["file"],
            ", ".join(part["tasks"]),
            f"{part['bytes'] / 1e6:.1f}",
            str(part["queries"]),
            "-" if part["recall_at_100"] is None else f"{part['recall_at_100']:.4f}",
        )
        for row in rows
        for part in row["geometries"]
    ]
    notes = [
        f"{row['index']}: {1000 * row['index_seconds']:.1f} ms a query through it, "
        f"{1000 * row['exact_seconds']:.1f} ms by the exact scan."
        for row in rows
    ]
    return "\n".join([aligned([header, *body]), "", *notes])


def _cell(row: dict[str, Any]) -> tuple[str, str, str, str]:
    return row["task"], row["bucket"] or "all", row["method"], str(row["n"])


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _correlation(row: dict[str, Any]) -> tuple[str, str]:
    if row["lds"] is None:
        return "-", "-"
    return f"{row['lds']:.3f}", f"{row['lds_low']:.3f} to {row['lds_high']:.3f}"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, two spaces between."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def status_text(value: dict[str, Any]) -> str:
    """`status`'s value in words."""
    prompts, demo = value["prompts"], value["demo"]
    lines = [f"home      {value['home']}", f"passages  {value['passages']:,}", f"prompts   {prompts['total']:,}"]
    lines += [f"          {task}: {count}" for task, count in prompts["by_task"].items()]
    lines += [f"run       {run['id']}" for run in value["runs"]]
    if demo["complete"] or demo["stage"]:
        lines.append(f"demo      {'complete' if demo['complete'] else demo['stage']}")
    return "\n".join(lines)


def answer_text(value: dict[str, Any]) -> str:
    """`ask`'s value in words: the question, then a line for each proponent."""
    lines = [f"{value['prompt']} | {value['completion']}", ""]
    for ranking in value["rankings"]:
        lines.append(f"{ranking['method']} ({ranking['run']})")
        for passage in ranking["proponents"]:
            text = " ".join(passage["text"].split())
            shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
            lines.append(f"{passage['rank']:>4}  {passage['score']:10.4g}  {passage['passage_id']}  {shown}")
    return "\n".join([*lines, "", f"Page: {value['result_url']}"])
