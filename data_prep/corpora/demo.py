"""The demo corpus: eight espeak voices with natural intonation, twenty sentences each, in a folder as a user's own."""

from pathlib import Path

import pandas

from data_prep.corpora.folder import folder
from rovolad_lib.files import replacing
from rovolad_lib.speech import audio, robot

# name: espeak voice, words per minute, pitch, pitch range, gender, accent. No variant with breath (f2, f3, f5, Alicia,
# whisper): espeak makes that of random numbers that nobody can seed, and the demo is to be the same everywhere. And none
# too near to the flat robot (en-us, 110 Hz), which leaves nothing to convert.
VOICES = {
    "ann": ("en-us+f1", 165, 60, 60, "female", "American"),
    "bob": ("en-us+m8", 150, 30, 60, "male", "American"),
    "cat": ("en-gb-scotland+steph", 180, 65, 45, "female", "Scottish"),
    "dan": ("en-gb-x-rp+m7", 170, 40, 65, "male", "British"),
    "eve": ("en-029+linda", 155, 55, 70, "female", "Caribbean"),
    "gus": ("en-gb-x-gbclan+klatt3", 160, 30, 60, "male", "Lancashire"),
    "ida": ("en-us-nyc+Andrea", 175, 50, 50, "female", "New York"),
    "joe": ("en-gb-x-gbcwmd+Michael", 185, 50, 40, "male", "West Midlands"),
}
SHARED = (
    "The sun is bright today.", "Please close the blue door.", "We went home by train.", "She reads a good book.",
    "Where did you leave the keys?", "My brother plays the piano.", "It will rain before noon.",
    "They found three small shells.", "Can you hear the ocean?", "Thank you for your help.",
)  # fmt: skip
KINDS = ("old", "young", "quiet", "happy", "little", "tall", "clever", "sleepy")
WHO = ("farmer", "teacher", "sailor", "doctor", "painter", "cook", "pilot", "dancer", "king", "student")
DOES = ("paints", "buys", "washes", "carries", "finds", "loves", "draws", "sells", "hides", "repairs")
WHAT = (
    "a boat", "the fence", "two chairs", "his shoes", "a violin", "the clock", "nine apples", "a green hat", "the map", "a wheel",
)  # fmt: skip


def demo(path):
    """Yield an Utterance for each of the 160 sentences, after building the recordings where they are not there yet.

    path: the folder to build them in; the same samples every time. Ids are <voice>_<01 to 20>: 01 to 10 are said by all
    voices, 11 to 20 by one alone. Errors: as `robot.say`.
    """
    path, rows = Path(path), list(_rows())
    metadata, table = path / "metadata.csv", pandas.DataFrame(rows).to_csv(index=False, lineterminator="\n")
    if not metadata.is_file() or metadata.read_text(encoding="utf-8") != table:
        for row in rows:
            voice, rate, pitch, pitch_range, *_ = VOICES[row["speaker"]]
            wave = robot.say(row["text"], rate=rate, voice=voice, pitch=pitch, pitch_range=pitch_range)
            audio.save(path / row["file"], wave, tags={"comment": "synthetic speech by espeak-ng"})
        with replacing(metadata) as temporary:  # last: its presence says that all recordings are there
            temporary.write_text(table, encoding="utf-8", newline="")
    yield from folder(path, "demo")


def _rows():
    for index, (name, (*synthesis, gender, accent)) in enumerate(VOICES.items()):
        for number, text in enumerate(SHARED + _own(index), 1):
            file = f"{name}/{name}_{number:02}.flac"
            row = {"file": file, "speaker": name, "text": text, "language": "en", "gender": gender, "accent": accent}
            yield row | {"synthesis": " ".join(map(str, synthesis))}  # a voice that changes makes a table that does


def _own(index):
    """Return the ten sentences that only the voice `index` says."""
    return tuple(f"The {KINDS[index]} {WHO[i]} {DOES[(i + index) % 10]} {WHAT[(3 * i + index) % 10]}." for i in range(10))
