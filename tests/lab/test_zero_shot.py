"""The command, on two espeak voices and the shipped weights; and its answers to what it cannot use."""

import json

import pandas
import pytest

from rovolad_lib.lab import listeners, records, zero_shot
from rovolad_lib.metrics.judges import Judge
from rovolad_lib.speech import robot
from rovolad_lib.speech.audio import save

MAKERS = ["person", "autoencoder", "robot", "classical", "kNN", "prior's mean", "one shot", "diffusion"]


def test_one_command_scores_a_folder(tmp_path, capsys):
    pytest.importorskip("resemblyzer", reason="resemblyzer is not installed")
    for name, f0 in (("low", 90.0), ("high", 200.0)):
        for k, text in enumerate(("The weather is fine today.", "I have no time at all.")):
            save(tmp_path / f"voices/{name}_{k}.wav", robot.say(text, f0=f0))
    texts = "The kettle is hot, so pour the tea.\nSeven yellow birds sat on the fence.\n"
    (tmp_path / "texts.txt").write_text(texts, encoding="utf-8")
    where = {"--voices": tmp_path / "voices", "--texts": tmp_path / "texts.txt", "--data": tmp_path, "--results": tmp_path}
    arguments = [str(word) for pair in where.items() for word in pair] + ["--steps", "2", "--pitch", "reference", "--out"]
    assert zero_shot.main([*arguments, str(tmp_path / "table.csv")]) == 0
    said = capsys.readouterr().out
    assert "without the nearest training speaker: no " in said and "Spearman of both verifiers: makers" in said
    table = pandas.read_csv(tmp_path / "table.csv")
    assert list(table.voice.unique()) == ["high", "low", "all"] and list(table.made_by[:8]) == MAKERS
    overall = table[table.voice == "all"].set_index("made_by")
    assert overall.similarity["autoencoder"] > overall.similarity["robot"] and overall.f0_error["classical"] < 2
    assert overall.f0_error["robot"] > 3 and overall.way_percent["autoencoder"] == pytest.approx(100)
    assert overall.gate_accepts["robot"] == 1 and overall.gate_refuses["robot"] == 1
    assert overall.gate_accepts[["diffusion", "kNN"]].between(0, 1).all()
    (record,) = records.load("zero_shot", tmp_path).to_dict("records")
    assert record["metrics.similarity.robot"] == pytest.approx(overall.similarity["robot"])
    assert record["parameters.steps"] == 2 and record["parameters.pitch"] == "reference" and len(record["table"]) == 24
    frame = zero_shot.kept(tmp_path)
    assert frame["of"].tolist() == ["voices voices, en"]
    first, line = zero_shot.said(frame)
    way = overall.way_percent["diffusion"]
    assert f": voices voices, en {way:.1f} (" in first and line.startswith(
        f"voices voices, en: diffusion {way:.1f} %, classical "
    )
    shown = zero_shot.table(frame)
    assert list(shown.made_by) == list(table.made_by) and shown.similarity.tolist() == pytest.approx(table.similarity.tolist())
    assert "judge of speaker" in record["units.judge_similarity.model"] and len(record["data.voices"]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--voices", "{}"], "no voice in"),
        (["--voices", "{}/none"], "no folder"),
        (["--voices", "{}", "--out", "table.txt"], ".csv or .json"),
        ([], "--voices"),
    ],
)
def test_what_cannot_be_scored_is_one_line(arguments, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        zero_shot.main([argument.format(tmp_path) for argument in arguments])
    assert stopped.value.code == 2 and words in capsys.readouterr().err.splitlines()[-1]


def test_a_text_is_recognised_among_the_ten_around_it(monkeypatch):
    sets = []
    monkeypatch.setattr(listeners.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(listeners.words, "recognise", lambda waves, texts: sets.append(texts) or [texts[0]] * len(waves))
    texts = [("en" if k != 3 else "de", "text " + chr(97 + k)) for k in range(21)]
    found = listeners.recognised({("ann", "robot"): [None] * 21}, texts, [[0, 1, 3], [2, 3], [3], list(range(4, 21))])
    english = [text for language, text in texts if language == "en"]
    assert sets == [english[:10], english[10:]]
    assert found == {("ann", "robot", 0): 0.5, ("ann", "robot", 1): 0.0, ("ann", "robot", 3): 1 / 17}


def test_the_second_verifier_is_the_shipped_judge_of_most_speakers():
    judge = zero_shot.judge()
    assert judge.report["question"] == "speaker" and len(judge.classes) == max(
        len(Judge.load(path).classes) for path in zero_shot.MODELS.glob("judge_*_speaker_*.safetensors")
    )


def test_a_table_is_written_as_csv_or_json(tmp_path):
    table = pandas.DataFrame({"voice": ["ü"], "similarity": [0.5]})
    zero_shot.write(table, tmp_path / "t.json"), zero_shot.write(table, tmp_path / "t.csv")
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8")) == [{"voice": "ü", "similarity": 0.5}]
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "voice,similarity\nü,0.5\n"


def test_without_a_record_it_is_said_how_to_make_one(tmp_path, capsys):
    frame = zero_shot.kept(tmp_path, tmp_path)
    assert frame.empty and zero_shot.said(frame) == []
    assert "python -m rovolad_lib.lab.zero_shot" in capsys.readouterr().out
