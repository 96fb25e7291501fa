"""A user's own corpus in three commands, and what is said when something is wrong with it."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backend.core.artifacts import seal
from backend.pipeline import own_data
from backend.pipeline.workspace import Workspace
from backend.settings import Settings
from tests.command import proponent
from tests.tiny_models import save_gpt2

CAPITALS = {"Norway": "Oslo", "Peru": "Lima", "Kenya": "Nairobi", "Japan": "Tokyo", "Cuba": "Havana"}


def write_corpus(folder: Path) -> tuple[Path, Path]:
    passages, queries = folder / "passages.jsonl", folder / "queries.jsonl"
    rows = []
    for country, capital in CAPITALS.items():
        for number in range(4):
            rows.append(
                {"id": f"{country}-{number}", "text": f"{'So ' * number}The capital of {country} is {capital}."}
            )
        rows.append({"id": f"{country}-other", "text": f"{country} has mountains, rivers and a long coast."})
    passages.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [
        {
            "id": country.lower(),
            "task": "facts",
            "prompt": f"The capital of {country} is",
            "completion": capital,
            "relation": "capital",
            "subject": country,
            "object": capital,
        }
        for country, capital in CAPITALS.items()
    ]
    queries.write_text("".join(json.dumps(row) + "\n" for row in asked))
    return passages, queries


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    passages, queries = write_corpus(folder)
    home = folder / "home"
    done = proponent(home, "corpus", "import", str(passages), "--queries", str(queries), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["passages"], result["queries"]) == (25, 5)
    return home


@pytest.mark.parametrize("loaded", [False, True], ids=["trained here", "loaded from a folder"])
def test_three_commands(imported, tmp_path, loaded):
    arguments = ["rank", "--method", "trackstar", "--method", "bm25", "--method", "gradient-dot", "--json"]
    if loaded:
        save_gpt2(tmp_path / "gpt2", [f"The capital of {country} is {city}." for country, city in CAPITALS.items()])
        arguments += ["--model", str(tmp_path / "gpt2")]
    else:
        done = proponent(
            imported, "train", "--hidden", "32", "--layers", "2", "--heads", "2", "--vocabulary", "400",
            "--epochs", "30", "--batch-tokens", "128", "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["parameters"] < 100_000
    done = proponent(imported, *arguments)
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)
    assert [run["method"] for run in runs] == ["trackstar", "bm25", "gradient-dot"]
    done = proponent(imported, "evaluate", "--json")
    rows = {(row["method"], row["task"], row["bucket"]): row for row in json.loads(done.stdout)}
    assert rows["bm25", "facts", None]["mrr"] == 1.0
    assert rows["bm25", "facts", "2-4"]["n"] == 5
    if not loaded:
        assert rows["trackstar", "facts", None]["mrr"] > 0.75
    assert proponent(imported, "verify").returncode == 0
    for path in imported.glob("proponent.db*"):
        path.unlink()
    assert proponent(imported, "rank", "--method", "bm25").returncode == 0
    assert json.loads(proponent(imported, "evaluate", "--json").stdout) == list(rows.values())


def test_stores_are_not_mixed_up_between_models(imported):
    status = json.loads(proponent(imported, "status", "--json").stdout)
    assert status["passages"] == 25
    assert status["prompts"] == {"total": 5, "by_task": {"facts": 5}}
    assert status["demo"] == {"complete": False, "stage": None}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"id": "a", "text": "one"}\nnot json\n', "line 2"),
        ('{"id": "a", "text": "one"}\n{"id": "a", "text": "two"}\n', "line 2"),
        ('{"id": "a"}\n', "text"),
        ("", "empty"),
    ],
)
def test_bad_corpora_are_refused_and_leave_nothing(tmp_path, content, said):
    (tmp_path / "bad.jsonl").write_text(content)
    done = proponent(tmp_path / "home", "corpus", "import", str(tmp_path / "bad.jsonl"))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "home").glob("corpora/*"))


def test_missing_things_are_named(tmp_path):
    (tmp_path / "a-file").touch()
    cases = (
        (["rank"], "corpus import"),
        (["train"], "corpus import"),
        (["encode", "--model", "nowhere"], "corpus import"),
        (["encode", "--projection", "pca", "--seed", "3"], "--seed is of random projections"),
        (["corpus", "import", str(tmp_path / "missing.jsonl")], "missing.jsonl"),
        (["rank", "--method", "trakstar"], "Did you mean 'trackstar'"),
        (["verify", "nothing"], "no artifact 'nothing'"),
        (["verify", "--home", str(tmp_path / "elsewhere")], "no home"),
        (["status", "--home", str(tmp_path / "a-file" / "below")], "no home"),
    )
    homes = [tmp_path / f"home-{number}" for number in range(len(cases))]
    for home in homes:
        home.mkdir()
    with ThreadPoolExecutor(2) as pool:  # most of the time is the start of Python
        run = [pool.submit(proponent, home, *given) for home, (given, _) in zip(homes, cases, strict=True)]
    for (arguments, said), future in zip(cases, run, strict=True):
        done = future.result()
        assert done.returncode == 1, (arguments, done.stderr)
        assert said in done.stderr.replace("\n", " "), (arguments, done.stderr)
        assert "Traceback" not in done.stderr


def test_encode_without_a_model_says_what_to_do(imported, tmp_path):
    passages, queries = write_corpus(tmp_path)
    home = tmp_path / "home"
    proponent(home, "corpus", "import", str(passages), "--queries", str(queries))
    done = proponent(home, "encode")
    assert done.returncode == 1
    assert "proponent train" in done.stderr.replace("\n", " ")
    done = proponent(home, "encode", "--model", str(tmp_path / "no-such-model"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_works_from_any_folder(imported, tmp_path):
    done = proponent(imported, "status", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_second_command_in_the_same_home_is_refused(tmp_path):
    from backend.core.artifacts import Home
    from backend.pipeline.workspace import lock_home

    home = tmp_path / "home"
    home.mkdir()
    with lock_home(Home(home)):
        done = proponent(home, "demo", "--tiny", "--no-serve")
    assert done.returncode == 1
    assert f"process {os.getpid()}" in done.stderr.replace("\n", " ")


def test_a_setting_that_is_none_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PROPONENT_LOG_LEVEL", "loud")
    done = proponent(tmp_path, "status")
    assert done.returncode == 1
    assert "PROPONENT_LOG_LEVEL" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_newest_model_of_a_corpus_is_taken(tmp_path):
    """Also where an older one has been encoded and the newer one has not."""
    with Workspace(Settings(home=tmp_path), "test") as work:
        for kind, name, inputs in (
            ("model", "first", {"corpus": "c"}),
            ("store", "of-first", {"corpus": "c", "model": "first"}),
            ("model", "second", {"corpus": "c"}),
        ):
            folder = work.home.folder(kind, name)
            folder.mkdir(parents=True)
            seal(folder, kind=kind, inputs=inputs, config={}, facts={}, seconds=0, command="")
            time.sleep(0.01)
        assert own_data._models_of(work, "c") == ["first", "second"]
