import pandas
import pytest

from rovolad_lib.lab import presets
from rovolad_lib.lab.data import Data, ready
from rovolad_lib.speech import manifest


def table(corpora):
    """A manifest of made-up rows, as many as corpora are named."""
    rows = [
        {
            "id": f"u{i}",
            "corpus": corpus,
            "source": "s",
            "licence": "l",
            "speaker": f"{corpus}-1",
            "path": "a.flac",
            "start": 0.0,
            "end": 1.0,
            "sample_rate": 16000,
            "duration": 1.0,
            "text": "x",
            "text_quality": "exact",
            "language": "en",
            "split": "train",
        }
        for i, corpus in enumerate(corpora)
    ]
    frame = pandas.DataFrame(rows)
    return frame.assign(**{name: None for name in manifest.COLUMNS if name not in frame})


def test_a_combined_folder_is_read_as_it_is(tmp_path, capfd):
    manifest.write(table(["b", "a", "b"]), tmp_path / "manifest.parquet")
    data = ready(tmp_path)
    assert (data.folder, data.name, data.demo, len(data.table)) == (tmp_path, "mixed", False, 3)
    assert data.fingerprint == manifest.fingerprint(manifest.read(tmp_path / "manifest.parquet")) and capfd.readouterr().out == ""


def test_one_corpus_of_several(tmp_path):
    manifest.write(table(["b", "a", "b"]), tmp_path / "manifest.parquet")
    data = ready(str(tmp_path))
    assert data.only(None).name == "b" and data.only(None).table.id.tolist() == ["u0", "u2"]
    one = data.only("a")
    assert one.table.index.tolist() == [0] and one.table.id.tolist() == ["u1"] and not one.demo
    assert len({data.fingerprint, one.fingerprint, data.only("b").fingerprint}) == 3
    with pytest.raises(ValueError, match="'c' is not in .*accepted: b, a, every, open"):
        data.only("c")


def test_corpora_by_their_licences(tmp_path):
    licences = ["CC BY 4.0", "CC BY-SA 4.0", "CC BY-NC-SA 4.0", "CC0", "public domain"]
    manifest.write(table("abcde").assign(licence=licences), tmp_path / "manifest.parquet")
    data = ready(tmp_path)
    assert data.only("every").table.corpus.tolist() == list("abcde") and data.only("every").name == "every"
    assert data.only("open").table.corpus.tolist() == ["a", "d", "e"] and data.only("open").name == "open"
    beside = data.only("open", oneoff=True)
    assert beside.table.corpus.tolist() == list("adebc") and beside.table.speaker.isna().tolist() == [False] * 3 + [True] * 2
    manifest.write(table("ab").assign(licence="CC BY-SA 4.0"), tmp_path / "manifest.parquet")
    with pytest.raises(ValueError, match="'open' is not in"):
        ready(tmp_path).only("open")


def test_other_corpora_beside_one_are_trained_on_without_their_speakers(tmp_path):
    rows = table(["b", "a", "a"]).assign(speaker=["b-x", "a-x", "a-y"], split=["val_seen", "train", "val_seen"])
    manifest.write(rows, tmp_path / "manifest.parquet")
    both = ready(tmp_path).only("b", oneoff=True)
    assert both.table.id.tolist() == ["u0", "u1"] and both.table.speaker.isna().tolist() == [False, True]
    assert both.fingerprint != ready(tmp_path).only("b").fingerprint and not both.demo
    with pytest.raises(ValueError, match="'c' is not in"):
        ready(tmp_path).only("c", oneoff=True)


def test_the_demo_is_known_by_its_name(tmp_path):
    manifest.write(table(["demo"]), tmp_path / "manifest.parquet")
    assert ready(tmp_path).demo and isinstance(ready(tmp_path), Data)


def test_the_demo_among_others_is_the_demo_when_it_is_alone(tmp_path):
    manifest.write(table(["b", "demo", "b"]), tmp_path / "manifest.parquet")
    data = ready(tmp_path)
    assert not data.demo and data.only("demo").demo and not data.only("b").demo


def test_the_corpus_of_a_speaker(tmp_path):
    data = Data(table(["b", "a", "b"]), tmp_path, "f", False)
    assert (data.corpus_of("a-1"), data.corpus_of("b-1"), data.corpus_of(None)) == ("a", "b", None)
    with pytest.raises(ValueError, match="voice 'c-1' is not in .*; accepted: b-1, a-1"):
        data.corpus_of("c-1")


def test_real_data_are_not_combined_again(tmp_path, capfd):
    manifest.write(table(["b", "demo"]), tmp_path / "manifest.parquet")
    assert len(ready(tmp_path, tmp_path / "nowhere").table) == 2 and capfd.readouterr().out == ""


@pytest.mark.parametrize("before", ["nothing", "demo"])
def test_what_cannot_be_combined_is_told(tmp_path, capfd, before):
    if before == "demo":  # named corpora take its place
        manifest.write(table(["demo"]), tmp_path / "data" / "manifest.parquet")
        assert ready(tmp_path / "data").demo and capfd.readouterr().out == ""
    with pytest.raises(RuntimeError, match="combining failed.*data_combine.py --corpora .*nowhere") as caught:
        ready(tmp_path / "data", tmp_path / "nowhere")
    assert "nowhere" in capfd.readouterr().out and len(str(caught.value).splitlines()) > 1  # what the command said


def test_every_size_of_a_run_is_complete():
    for sizes, wanted in (
        (presets.AUTOENCODER, {"model", "head", "judged", "batch", "steps", "head_steps", "peer_steps", "apart_steps"}),
        (presets.DENOISER, {"model", "batch", "frames", "budget", "lr"}),
    ):
        assert list(sizes) == ["smoke", "small", "full"] and all(set(size) == wanted for size in sizes.values())
    assert presets.marks(9000) == [300, 600, 1200, 2400, 4800, 9000] and presets.marks(2) == [1, 2]
    assert presets.denoiser("small", demo=False) == presets.DENOISER["small"]
    assert presets.denoiser("small", demo=True)["budget"] == {"seconds": 180}
    assert presets.denoiser("small", demo=True)["model"] == presets.DENOISER["small"]["model"]
    small = presets.denoiser("small", demo=False, study=True)
    assert small == presets.STUDY["small"] and set(small) == set(presets.DENOISER["small"])
    assert presets.denoiser("full", demo=False, study=True) == presets.DENOISER["full"]
    assert presets.denoiser("smoke", demo=True) == presets.DENOISER["smoke"]
