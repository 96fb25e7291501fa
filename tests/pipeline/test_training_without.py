"""`proponent train --without`: what the model has seen, resuming, comparing, and what is said of a bad list."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from backend.core.artifacts import Home, read_manifest, verify
from backend.core.errors import UserError
from backend.core.files import read_json
from backend.core.left_out import LeftOut, read_ids
from backend.core.tokenizer import TextTokenizer
from backend.models.architecture import ArchitectureConfig
from backend.models.training import Training, TrainingConfig
from backend.pipeline import own_data, training_without
from backend.pipeline.evaluated_runs import evaluated_runs
from backend.pipeline.workspace import Workspace
from backend.settings import Settings
from tests.command import environment, proponent
from tests.pipeline.test_own_data import CAPITALS, write_corpus

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = TrainingConfig(
    name="trained here",
    architecture=ArchitectureConfig(hidden=32, layers=2, heads=2, intermediate=88),
    vocabulary=400,
    epochs=30,
    batch_tokens=128,
    peak_learning_rate=0.01,
)
PERU = [f"Peru-{number}" for number in range(4)]
"""The passages that state a fact."""

NOT_COMPARED = {"MANIFEST.json", "timings.json", "without.txt"}


@contextmanager
def one_thread() -> Iterator[None]:
    """So that bytes can be compared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in NOT_COMPARED
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a corpus, queries and a model that has learnt them."""
    folder = tmp_path_factory.mktemp("without")
    passages, queries = write_corpus(folder)
    with one_thread(), Workspace(Settings(home=folder / "home", threads=1), "test") as work:
        own_data.import_files(work, str(passages), queries, None)
        own_data.train_on(work, None, SMALL)
    return folder / "home"


@pytest.fixture(scope="module")
def compared(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:  # type: ignore[type-arg]
    """A copy of it after `train --without`, and what the command printed."""
    folder = tmp_path_factory.mktemp("compared")
    home = shutil.copytree(trained, folder / "home")
    listed = folder / "ids.txt"
    listed.write_bytes(b"\xef\xbb\xbf# what states Peru's capital\r\n\r\n" + "\r\n".join(reversed(PERU)).encode())
    done = proponent(home, "train", "--without", str(listed), "--json")
    assert done.returncode == 0, done.stderr
    return home, json.loads(done.stdout)


def test_the_model_says_what_it_was_trained_without(trained: Path, compared: tuple[Path, dict]) -> None:  # type: ignore[type-arg]
    home, result = compared
    folder = Home(home).find("model", result["model"])
    assert verify(folder) == []
    assert (folder / "without.txt").read_text().splitlines() == PERU, "in the corpus's order"
    (base,) = Home(trained).finished("model")
    manifest, whole = read_manifest(folder), read_manifest(Home(trained).find("model", base))
    assert manifest.inputs == whole.inputs
    assert manifest.config["without"] == {"base": base, "passages": 4, "sha256": result["sha256"]}
    assert manifest.files["without.txt"]["sha256"] == result["sha256"]
    assert manifest.config["name"] == "trained here without 4 passages"
    own = {name: value for name, value in manifest.config.items() if name not in ("name", "without")}
    assert own == {name: value for name, value in whole.config.items() if name != "name"}
    tokenizers = [(Home(home).find("model", model) / "tokenizer.json").read_bytes() for model in (base, folder.name)]
    assert tokenizers[0] == tokenizers[1]


def test_left_out_passages_are_not_seen(compared: tuple[Path, dict]) -> None:  # type: ignore[type-arg]
    """Byte for byte what a training on the other passages alone gives, with the same tokenizer."""
    home, result = compared
    folder = Home(home).find("model", result["model"])
    base = Home(home).find("model", result["base"])
    (corpus,) = Home(home).finished("corpus")
    with Workspace(Settings(home=home), "test") as work:
        rest = [passage for passage in work.passages(corpus) if passage.id not in PERU]
    facts = read_manifest(folder).facts
    tokenizer = TextTokenizer.load(base)
    assert facts["passages"] == len(rest) == 21
    assert facts["tokens"] == sum(len(tokenizer.encode_passage(passage.text).ids) for passage in rest)
    alone = home.parent / "alone"
    config = TrainingConfig.of_model(read_manifest(folder).config)
    with one_thread():
        training = Training(alone, [passage.text for passage in rest], config, tokenizer=tokenizer)
        training.run(lambda done, total, message: None)
        training.finish()
    expected = files_of(alone)
    assert len(expected) > 10
    assert files_of(folder) == expected


def test_what_was_left_out_is_not_known(compared: tuple[Path, dict]) -> None:  # type: ignore[type-arg]
    home, result = compared
    rows = {(row["task"], row["bucket"]): row for row in result["rows"]}
    assert rows["facts", None]["n"] == len(CAPITALS)
    stated = {row["left_out"]: row for row in result["stated"]}
    assert {kind: row["n"] for kind, row in stated.items()} == {"all": 1, "none": 4}
    assert stated["all"]["probability_before"] > 3 * stated["all"]["probability_after"]
    assert stated["none"]["probability_after"] > 3 * stated["all"]["probability_after"]
    assert result["changed"][0]["query_id"] == "peru"
    assert result["url"].endswith(f"/comparisons/{result['model']}")
    with one_thread(), Workspace(Settings(home=home, threads=1), "test") as work:
        again = training_without.train_without(work, home.parent / "ids.txt", None, None)
    assert again == result, "nothing is to do"
    text = training_without.comparison_text(result)
    for part in ("facts", "2-4", "all left out", "all kept", "peru", result["url"], result["base"]):
        assert part in text


def test_the_model_is_chosen_by_nothing_but_its_id(compared: tuple[Path, dict], tmp_path: Path) -> None:  # type: ignore[type-arg]
    home = shutil.copytree(compared[0], tmp_path / "home")
    result = compared[1]
    with one_thread(), Workspace(Settings(home=home, threads=1), "test") as work:
        assert work.home.finished("model") == [result["base"], result["model"]]
        assert own_data._models_of(work, result["corpus"]) == [result["base"]]
        assert training_without._base_model(work, None, None)[0] == result["base"]
        (whole,) = own_data.rank_queries(work, ["gradient-dot"], None, None, None)
        (part,) = own_data.rank_queries(work, ["gradient-dot"], None, None, result["model"])
        assert whole["run"] != part["run"]
        assert own_data._models_of(work, result["corpus"]) == [result["base"]], "though a store was made with it"
        runs, model = evaluated_runs(work)
        assert ([run.id for run in runs], model) == ([whole["run"]], result["base"])
        assert evaluated_runs(work, [part["run"]])[1] == result["model"]


def test_killed_training_goes_on_and_ends_with_the_same_bytes(
    trained: Path,
    compared: tuple[Path, dict],
    tmp_path: Path,  # type: ignore[type-arg]
) -> None:
    home, result = shutil.copytree(trained, tmp_path / "home"), compared[1]
    folder = Home(home).folder("model", result["model"])
    listed = compared[0].parent / "ids.txt"
    process = subprocess.Popen(
        [sys.executable, "-m", "backend.cli", "train", "--without", str(listed)],
        env={**environment(home), "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/step-*/state.json")):
        assert process.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "MANIFEST.json").exists()
    with one_thread(), Workspace(Settings(home=home, threads=1), "test") as work:
        assert training_without.train_without(work, listed, None, None)["model"] == result["model"]
    assert files_of(folder) == files_of(Home(compared[0]).find("model", result["model"]))
    assert read_json(folder / "training.json")["checkpoints"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "names no passage"),
        ("# Peru-0\n \n", "names no passage"),
        ("Peru-0\nCuba-0\nPeru-0\n", "names 'Peru-0' more than once"),
        (
            "".join(f"no-{number}\n" for number in range(7)),
            "no passage 'no-0', 'no-1', 'no-2', 'no-3', 'no-4' and 2 more",
        ),
        (None, "all passages"),
        (b"Peru-0\n\xff\n", "no UTF-8 text (byte 8)"),
    ],
    ids=["empty", "comments", "twice", "unknown", "all", "bytes"],
)
def test_bad_lists_are_refused_and_leave_nothing(
    trained: Path, tmp_path: Path, content: str | bytes | None, said: str
) -> None:
    listed = tmp_path / "ids.txt"
    if content is None:
        content = "".join(f"{country}-{place}\n" for country in CAPITALS for place in (*range(4), "other"))
    listed.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = len(list((trained / "models").iterdir()))
    with Workspace(Settings(home=trained), "test") as work, pytest.raises(UserError) as refused:
        training_without.train_without(work, listed, None, None)
    assert said in str(refused.value)
    assert len(list((trained / "models").iterdir())) == before


def test_models_that_cannot_be_compared_are_refused(compared: tuple[Path, dict], tmp_path: Path) -> None:  # type: ignore[type-arg]
    home, result = compared
    listed = tmp_path / "ids.txt"
    listed.write_text("Peru-0\n")
    with Workspace(Settings(home=home), "test") as work:
        for corpus, model, said in (
            (None, "nothing", "no model 'nothing'"),
            (None, result["model"], "itself trained without"),
            ("other", result["base"], "not other"),
            ("other", None, "no model was trained on the whole corpus other"),
        ):
            with pytest.raises(UserError, match=f"(?i){said}"):
                training_without.train_without(work, listed, corpus, model)
        with pytest.raises(UserError, match="does not exist"):
            training_without.train_without(work, tmp_path / "missing.txt", None, None)


def test_settings_are_those_of_the_base_model(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("Peru-0\n")
    done = proponent(trained, "train", "--without", str(tmp_path / "ids.txt"), "--epochs", "3")
    assert done.returncode == 1
    assert "--epochs is that of the model" in done.stderr
    done = proponent(trained, "train", "--model", "some")
    assert done.returncode == 1
    assert "--model is of --without" in done.stderr


def test_ids_keep_the_order_of_the_corpus_whatever_the_file(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("b\na\n\n# c\n")
    assert read_ids(tmp_path / "ids.txt") == ["b", "a"]
    assert LeftOut("m", ("a", "b")).settings["sha256"] != LeftOut("m", ("ab",)).settings["sha256"]
