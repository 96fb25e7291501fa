"""The pattern page: every part that pages are made of, once, with texts that stress it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.charts import curve, histogram, lines
from app.http.rendering import render
from app.prompts.highlight import Wording, excerpt, prompt_pieces
from app.prompts.links import Choice

router = APIRouter()
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft " * 3
TEXTS = (
    "The capital of Peru is Lima. Lima lies on the coast, and the capital of Peru has ten million people.",
    "عاصمة بيرو هي ليما، وتقع على ساحل المحيط الهادئ.",
    "ペルーの首都はリマです。",
    f"{LONG} without a break.",
)


@router.get("/dev/patterns")
def patterns(request: Request) -> Response:
    names = [("subject", ["Peru"]), ("object", ["Lima"])]
    wording = Wording.of("The capital of Peru is Lima")
    context = {
        "pieces": prompt_pieces("The capital of Peru is", " Lima"),
        "long_pieces": prompt_pieces(LONG, LONG),
        "excerpts": [excerpt(text, names, wording) for text in TEXTS],
        "choices": [Choice("Proponents", "#", True), Choice("Opponents", "#", False)],
        "histogram": histogram([1, 5, 40, 900, 4000, 700, 60, 9, 2, 0, 1], -0.4, 0.9, mark=0.7),
        "curve": curve(list(range(100)), [5 / (1 + step / 10) + 1 for step in range(100)]),
        "lines": lines(
            [(f"line {n}", n, [None if n == x == 3 else n * x for x in range(6)]) for n in range(8)], list("abcdef")
        ),
        "downloads": [("JSON", "#"), ("CSV", "#"), ("JSONL", "#")],
        "words": LONG,
    }
    return render(request, "dev/patterns.html", context)
