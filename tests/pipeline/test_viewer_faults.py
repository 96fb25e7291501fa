"""Files of the viewer that are wrong, imports that are cut off, and what imported artifacts must not be taken for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backend.catalogue.database import open_catalogue
from backend.core.artifacts import FOLDERS, Home
from backend.core.errors import InputError, UserError
from backend.models.loading import load_model
from backend.pipeline import viewer_artifacts
from backend.pipeline.own_data import encode_corpus, rank_queries, train_on
from backend.pipeline.viewer_mapping import answer_of, method_of_name, methods_of, name_of, task_of
from backend.pipeline.workspace import Workspace
from tests.catalogue.dump import counts
from tests.catalogue.viewer_files import exported, imported, record, settings, without, write
from tests.command import digests, proponent

GOOD = record(1, "c1", "c2")


def nothing_is_kept(home: Path) -> bool:
    folders = [path for name in FOLDERS.values() for path in (home / name).glob("*")]
    found = counts(open_catalogue(settings(home)))
    return not folders and not any(count for table, count in found.items() if table != "stages")


def nested(levels: int) -> str:
    """A record that is right but for how deep one of its fields is."""
    return json.dumps(record(2))[:-1] + ', "x": ' + "[" * levels + "]" * levels + "}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        (nested(60), "line 2: it is nested more than 50 levels deep"),
        (nested(500), "line 2: it is nested more than 50 levels deep"),
        ("[1]", "line 2: not a JSON object but a list"),
        (b"\xff\xfe", "line 2: not UTF-8"),
        (without(record(2), "inputs_plaintext"), "line 2: field 'inputs_plaintext' is missing"),
        (record(2, targets_plaintext=None), "line 2: field 'targets_plaintext' is missing"),
        (record(2, inputs_plaintext=5), "line 2: field 'inputs_plaintext' must be a string"),
        (record(2, "c1", proponent_scores=[]), "line 2: field 'proponent_scores' has 0 items where .* has 1"),
        (record(2, "c1", proponent_ids=["c1", "c2"]), "line 2: field 'proponent_ids' has 2 items"),
        (record(2, "c1", proponent_correct=[]), "line 2: field 'proponent_correct' has 0 items"),
        (record(2, "c1", proponent_ais_scores=[0.1, 0.2]), "line 2: field 'proponent_ais_scores' has 2 items"),
        (record(2, opponents=["x"]), "line 2: field 'opponent_scores' has 0 items"),
        (record(2, "c1", proponent_scores=[float("nan")]), "line 2: field 'proponent_scores' .* not finite"),
        (record(2, "c1", proponent_scores=[None]), "line 2: field 'proponent_scores' must be a list of numbers"),
        (record(2, "c1", proponent_scores=[10**400]), "line 2: field 'proponent_scores' must be a list of numbers"),
        (record(2, "c1", proponent_scores="high"), "line 2: field 'proponent_scores' must be a list"),
        (record(2, "c1", proponents=[1]), "line 2: field 'proponents' must be a list of strings"),
        (record(2, "c1", proponent_ids=[[]]), "line 2: field 'proponent_ids' must hold strings"),
        (record(2, "c1", proponent_correct=["yes"]), "line 2: field 'proponent_correct' must be"),
        (record(2, "c1", proponent_ais_scores=["0.9"]), "line 2: field 'proponent_ais_scores' must be"),
        (record(2, unknown={"deep": [float("inf")]}), "line 2: field 'unknown' holds a number that is not finite"),
        (record(2, c4_frequency=-1), "line 2: field 'c4_frequency' must be a whole number"),
        (record(2, c4_frequency=2**31), "line 2: field 'c4_frequency' must be a whole number"),
        (record(2, **{"8b_confidence": 50}), "line 2: field '8b_confidence' must be a number from 0 to 1"),
        (record(2, **{"8b_generations": [1]}), "line 2: field '8b_generations' must be a list of strings"),
        (record(2, is_8b_correct="yes"), "line 2: field 'is_8b_correct' must be true or false"),
        (record(2, example_id=True), "line 2: field 'example_id' must hold strings"),
        (record(2, query_set=7), "line 2: field 'query_set' must be a string"),
        (record(1, "c3"), "line 2: example_id 'q1' is already that of line 1"),
        ('{"inputs_plaintext": "\\ud800", "targets_plaintext": ""}', "line 2: .*surrogate"),
        (record(2, "c1", proponents=["Other."]), "line 2: passage 'c1' has another text than in .*, line 1"),
    ],
)
def test_a_wrong_file_is_refused_and_leaves_nothing(tmp_path: Path, line: object, said: str) -> None:
    file = tmp_path / "bm25.jsonl"
    second = line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
    file.write_bytes(json.dumps(GOOD).encode() + b"\n" + second + b"\n")
    with pytest.raises(InputError, match=said) as raised:
        imported(tmp_path / "home", [file])
    assert str(file) in str(raised.value)
    assert raised.value.remedy
    assert nothing_is_kept(tmp_path / "home")


def test_a_file_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "\udcff-bm25.jsonl", [GOOD])
    with pytest.raises(UserError, match="no text in UTF-8"):
        imported(tmp_path / "home", [file])
    assert nothing_is_kept(tmp_path / "home")


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path / "bm25.jsonl", ["{", GOOD, record(2, "c1", proponent_scores=[])])
    with pytest.raises(InputError, match=r"(?s)line 1: not JSON.*line 3: field 'proponent_scores'"):
        imported(tmp_path / "home", [file])


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_a_file_without_records_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "bm25.jsonl").write_text(content)
    with pytest.raises(InputError, match="no records"):
        imported(tmp_path / "home", [tmp_path / "bm25.jsonl"])
    assert nothing_is_kept(tmp_path / "home")


def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "bm25.jsonl"
    file.write_bytes(b"\xef\xbb\xbf\n" + json.dumps(GOOD).encode() + b"\n\n" + json.dumps(record(2)).encode())
    result = imported(tmp_path / "home", [file])
    run = result["runs"][0]["run"]
    assert exported(open_catalogue(settings(tmp_path / "home")), run) == [GOOD, record(2)]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (record(1, inputs_plaintext="Else"), "b.jsonl, line 1: example_id 'q1' has another inputs_plaintext than in"),
        (record(1, targets_plaintext="Else"), "has another targets_plaintext than in .*a.jsonl, line 1"),
        (record(2, "c2", proponents=["Else"]), "b.jsonl, line 1: passage 'c2' has another text than .*a.jsonl, line 1"),
        (record(2, opponents=["Else"], opponent_ids=["c2"], opponent_scores=[0]), "passage 'c2' has another text"),
    ],
)  # fmt: skip
def test_files_that_contradict_each_other_are_refused(tmp_path: Path, other: dict[str, object], said: str) -> None:
    files = [write(tmp_path / "a.jsonl", [GOOD]), write(tmp_path / "b.jsonl", [other])]
    with pytest.raises(InputError, match=said):
        imported(tmp_path / "home", files)
    assert nothing_is_kept(tmp_path / "home")


def test_paths_and_methods_are_checked(tmp_path: Path) -> None:
    file = write(tmp_path / "bm25.jsonl", [GOOD])
    for files, methods, said in (
        ([tmp_path / "none.jsonl"], [], "none.jsonl does not exist"),
        ([tmp_path], [], "is a folder"),
        ([file, file], [], "both taken to be of the method 'bm25'"),
        ([file], ["bm25", "gecko"], "2 methods for 1 files"),
        ([file], ["My method"], "'My method' is no method slug. .*'my-method'"),
        ([file], [""], "no method slug"),
    ):
        with pytest.raises(UserError, match=said):
            imported(tmp_path / "home", files, methods)
    assert nothing_is_kept(tmp_path / "home")


@pytest.mark.parametrize(
    ("stem", "method"),
    [
        ("trex_retrievals_bm25", "bm25"),
        ("c4_trex_retrievals_trackstar", "trackstar"),
        ("c4_trex_retrievals_gecko", "gecko"),
        ("c4_trex_retrievals_grad_dot", "gradient-dot"),
        ("c4_trex_retrievals_grad_cosine", "gradient-cosine"),
        ("c4_copa_retrievals_trackstar_nontaskspecific", "trackstar-general"),
        ("trex_retrievals_exp1", "exp1"),
        ("trackstar-0123456789ab", "trackstar"),
        ("gradient-dot-no-v-0123456789ab", "gradient-dot-no-v"),
        ("My Own.Method", "method"),
        ("BM25", "bm25"),
        ("日本", "imported"),
    ],
)
def test_the_method_of_a_file(stem: str, method: str) -> None:
    assert method_of_name(stem) == method


def test_methods_are_given_in_the_order_of_files() -> None:
    files = [Path("one.jsonl"), Path("trex_gecko.jsonl")]
    assert methods_of(files, ["house-blend"]) == ["house-blend", "gecko"]


@pytest.mark.parametrize(
    ("stems", "name"),
    [
        (["trex_retrievals_bm25"], "trex_retrievals_bm25"),
        (["trex_retrievals_bm25", "trex_retrievals_trackstar"], "trex_retrievals"),
        (["c4_trex_grad_dot", "c4_trex_grad_cosine"], "c4_trex_grad"),
        (["one", "two"], "one"),
    ],
)
def test_the_name_of_an_import(stems: list[str], name: str) -> None:
    assert name_of([Path(f"{stem}.jsonl") for stem in stems]) == name


@pytest.mark.parametrize(
    ("fields", "task"),
    [
        ({}, "open-generation"),
        ({"relation": "capital"}, "facts"),
        ({"fact_id": "x"}, "facts"),
        ({"c4_frequency": 0}, "facts"),
        ({"query_set": "T-REx sample"}, "facts"),
        ({"query_set": "trex", "groundtruth": "Rome"}, "wrong-predictions"),
        ({"query_set": "trex", "groundtruth": "Paris"}, "facts"),
        ({"query_set": "c4_trex_incorrectpred"}, "wrong-predictions"),
        ({"task": "arithmeticwordproblem"}, "word-problems"),
        ({"task": "Simple arithmetic"}, "arithmetic"),
        ({"task": "COPA"}, "commonsense"),
        ({"query_set": "piqa"}, "commonsense"),
        ({"task": "story_generation", "relation": "x"}, "open-generation"),
        ({"task": "history", "relation": "x"}, "facts"),
        ({"task": "controls", "groundtruth": "Rome"}, "controls"),
        ({"task": ["odd"]}, "open-generation"),
    ],
)
def test_the_task_of_a_record(fields: dict[str, object], task: str) -> None:
    assert task_of(fields, "Paris") == task


def test_the_answer_of_a_record() -> None:
    assert answer_of({"relation": "x", "8b_generations": None}, "Paris") is None
    for fields, text in (
        ({"8b_generations": ["Rome", "Paris", "Paris"]}, "Paris"),
        ({"8b_generations": ["Rome", "Paris"]}, "Rome"),
        ({"8b_generations": "Rome"}, "Rome"),
        ({"is_8b_correct": True}, "Paris"),
        ({"is_8b_correct": False}, ""),
        ({"is_8b_correct": False, "groundtruth": "Rome"}, "Paris"),
    ):
        answer = answer_of(fields, "Paris")
        assert answer is not None
        assert answer.text == text


# --- what imported artifacts are not


def test_commands_pass_over_imported_corpora_unless_they_are_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = imported(home, [write(tmp_path / "trackstar.jsonl", [record(1, "c1", is_8b_correct=True)])])
    with Workspace(settings(home), "test") as work:
        for start in (
            lambda: train_on(work, None, None),  # type: ignore[arg-type]
            lambda: encode_corpus(work, None, None),
            lambda: rank_queries(work, ["bm25"], None, None, None),
        ):
            with pytest.raises(
                UserError, match=r"no corpus in .* but those that came with imported lists.*corpus import"
            ):
                start()
    passages = write(tmp_path / "own.jsonl", [{"id": "a", "text": "My own text."}])
    done = proponent(home, "corpus", "import", str(passages), "--json")
    own = json.loads(done.stdout)["corpus"]
    with Workspace(settings(home), "test") as work:
        (run,) = rank_queries(work, ["bm25"], result["corpus"], None, None)
        assert work.newest("corpus", "") == own
        assert [query.completion for query in work.queries(result["query_set"])] == ["City 1"]
    assert run["query_set"] == result["query_set"]
    ranked_here = exported(open_catalogue(settings(home)), run["run"])
    assert ranked_here[0]["proponent_ids"] == ["c1"]
    assert ranked_here[0]["query_set"] == "trex"


def test_imported_answers_are_no_model(tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = imported(home, [write(tmp_path / "trackstar.jsonl", [record(1, "c1", is_8b_correct=True)])])
    with (
        Workspace(settings(home), "test") as work,
        pytest.raises(UserError, match=r"has no weights.*proponent train"),
    ):
        encode_corpus(work, result["corpus"], result["model"])
    with pytest.raises(UserError, match="not a model's folder"):
        load_model(Home(home), result["model"])


# --- what is cut off


def test_an_error_while_writing_leaves_no_half_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "trackstar.jsonl", [record(1, "c1", is_8b_correct=True)])
    whole = imported(tmp_path / "whole", [file])
    for function in ("write_jsonl", "save_array", "write_json"):
        home = tmp_path / function
        with monkeypatch.context() as patch:

            def fail(*_: object) -> None:
                raise OSError("no space left")

            patch.setattr(viewer_artifacts, function, fail)
            with pytest.raises(OSError, match="no space left"):
                imported(home, [file])
        unfinished = [
            path
            for kind in FOLDERS.values()
            for path in (home / kind).glob("*")
            if not (path / "MANIFEST.json").exists()
        ]
        assert unfinished == []
        assert imported(home, [file]) == whole
        assert digests(home) == digests(tmp_path / "whole")


SEALS = 6
"""Artifacts of an import of one file with answers: corpus, queries, model, two outputs, run."""


@pytest.mark.parametrize("seal", range(1, SEALS + 1))
def test_a_killed_import_goes_on(tmp_path: Path, seal: int) -> None:
    answers = {"8b_generations": ["City 1"]}
    file = write(tmp_path / "trackstar.jsonl", [record(1, "c1", **answers), record(2, "c2")])
    whole = imported(tmp_path / "whole", [file])
    home = tmp_path / "home"
    script = f"""
import os, pathlib, signal
from backend.core.artifacts import seal
from backend.pipeline import viewer_artifacts
from tests.catalogue.viewer_files import imported

seals = 0

def seal_or_die(folder, **values):
    global seals
    seals += 1
    if seals == {seal}:
        (folder / "left.part").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return seal(folder, **values)

viewer_artifacts.seal = seal_or_die
imported(pathlib.Path({str(home)!r}), [pathlib.Path({str(file)!r})])
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, timeout=60, cwd=Path(__file__).parents[2])
    assert ended.returncode == -signal.SIGKILL
    assert imported(home, [file]) == whole
    assert digests(home) == digests(tmp_path / "whole")
    assert counts(open_catalogue(settings(home))) == counts(open_catalogue(settings(tmp_path / "whole")))


# --- the commands


def test_the_commands(tmp_path: Path) -> None:
    home = tmp_path / "home"
    files = [write(tmp_path / f"trex_{name}.jsonl", [record(1, name)]) for name in ("bm25", "other")]
    done = proponent(home, "import-viewer", *map(str, files), "--method", "bm25", "--method", "mine", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [run["method"] for run in result["runs"]] == ["bm25", "mine"]
    run = result["runs"][1]["run"]
    assert run.startswith("mine-")
    done = proponent(home, "export-viewer", run)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [record(1, "other")]
    assert proponent(home, "export-viewer", run, "--output", "-").stdout == done.stdout
    written = proponent(home, "export-viewer", run, "--output", str(tmp_path / "out.jsonl"))
    assert (written.stdout, written.returncode) == ("", 0)
    assert (tmp_path / "out.jsonl").read_text() == done.stdout
    again = proponent(home, "import-viewer", *map(str, files), "--method", "bm25", "--method", "mine", "--name", "Mine")
    assert "run mine-" in again.stdout

    for arguments, said in (
        (["export-viewer", "nothing"], "There is no run 'nothing'"),
        (["export-viewer", "nothing", "--output", str(tmp_path / "kept.jsonl")], "`proponent status` lists the runs"),
        (["export-viewer", run, "--home", str(tmp_path / "elsewhere")], "no home"),
        (["import-viewer", str(tmp_path / "none.jsonl")], "none.jsonl does not exist"),
    ):
        refused = proponent(home, *arguments)
        assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
        assert said in refused.stderr.replace("\n", " ")
    assert not list(tmp_path.glob("kept*"))
