"""Small trees in the layouts of the corpora, spoken by espeak voices."""

import json

import pytest

from rovolad_lib.speech import audio, robot


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def speak(path, text, rate=None, language="en", sample_rate=16000):
    """Write a recording of a text by an espeak voice with intonation."""
    wave = robot.say(text, language, rate, pitch=60, pitch_range=60)
    audio.save(path, audio.resample(wave, audio.SAMPLE_RATE, sample_rate), sample_rate)


def vctk_tree(root):
    write(
        root / "speaker-info.txt",
        "ID  AGE  GENDER  ACCENTS  REGION \n225  23  F    English    Southern  England\n315  22  M    American\n",
    )
    for name in ("p225/p225_001", "p315/p315_001"):
        speak(root / "wav48" / f"{name}.wav", "Please call Stella.", sample_rate=48000)
    write(root / "txt/p225/p225_001.txt", "Please call Stella.\n")
    write(root / "txt/p225/p225_002.txt", "Ask her.\n")
    write(root / "wav48/p225/._p225_001.wav", "junk")


def libritts_r_tree(root):
    chapter = root / "dev-clean/84/12"
    speak(chapter / "84_12_000001_000000.wav", "Then he went away.", sample_rate=24000)
    write(chapter / "84_12_000001_000000.normalized.txt", "Then he went away.")
    write(chapter / "._84_12_000001_000000.wav", "junk")
    write(chapter / "84_12_000002_000000.wav", "this is no audio")
    write(chapter / "84_12_000002_000000.normalized.txt", "Broken file.")
    speak(chapter / "84_12_000003_000000.wav", "No text.")


def mls_tree(root):
    write(
        root / "metainfo.txt",
        " SPEAKER   |   GENDER   | PARTITION  |  MINUTES\n 103       |     M      |   train    |   1.500\n",
    )
    speak(root / "train/audio/103/7/103_7_000000.flac", "guten morgen", language="de")
    speak(root / "train/audio/103/7/103_7_000009.flac", "guten abend", language="de")
    write(root / "train/transcripts.txt", "103_7_000000\tguten morgen\n103_7_000001\tgeht es dir gut\n../../x\tweg\n")
    speak(root / "dev/audio/103/7/103_7_000002.flac", "gute nacht", language="de")
    write(root / "dev/transcripts.txt", "103_7_000002\tgute nacht\n")


def gigaspeech_tree(root):
    speak(root / "audio/podcast/P0000/POD1.flac", "Hello there. This is a long file. It goes on.")
    texts = ["HELLO THERE <PERIOD>", "<NOISE>", "<SIL>", "IS IT <QUESTIONMARK>", "SO <MUSIC> WHAT"]
    segments = [
        {"sid": f"POD1_S{i}", "begin_time": 0.0, "end_time": 0.8, "text_tn": text, "subsets": ["{XL}"]}
        for i, text in enumerate(texts)
    ]
    segments[3] |= {"begin_time": 1.0, "end_time": 2.0}
    escape = [{"sid": "POD2_S0", "begin_time": 0.0, "end_time": 1.0, "text_tn": "NO", "subsets": ["{XL}"]}]
    audios = [
        {"path": "audio/podcast/P0000/POD1.flac", "segments": segments},
        {"path": "../secret.opus", "segments": escape},
    ]
    write(root / "GigaSpeech.json", json.dumps({"dataset": "GigaSpeech", "audios": audios}))


def folder_tree(root):
    speak(root / "ann/one.wav", "One.", sample_rate=8000)
    speak(root / "bob/one.wav", "One.", rate=140)
    speak(root / "ann/two.wav", "Two.")
    audio.save(root / "ann/silent.flac", robot.say("Nothing.") * 0)
    write(root.parent / "outside.wav", "not yours")
    write(
        root / "metadata.csv",
        '\ufefffile,speaker,text,gender,style\r\nann\\one.wav,Ann/..,One.,f,calm\r\nbob/one.wav,,"One, perhaps",m,\r\n'
        "../outside.wav,x,Hidden,,\r\nann/silent.flac,ann,Nothing.,,\r\nann/gone.wav,ann,Gone.,,\r\nann/one.wav,ann,...,,\r\n,ann,x,,\r\n",
    )


def plain_tree(root):
    speak(root / "eve/hello.wav", "Hello.")
    write(root / "eve/hello.txt", "Hello.")
    speak(root / "eve/untold.wav", "Hello.")


TREES = {
    "VCTK-Corpus": vctk_tree, "LibriTTS_R": libritts_r_tree, "mls_german": mls_tree,
    "GigaSpeech_Data": gigaspeech_tree, "my_voices": folder_tree, "plain": plain_tree,
}  # fmt: skip


@pytest.fixture(scope="session")
def corpora(tmp_path_factory):
    """A folder of all layouts, each with good and bad utterances."""
    root = tmp_path_factory.mktemp("corpora")
    for name, tree in TREES.items():
        tree(root / name)
    return root
