"""People whom nobody has met: espeak's other voices, saying words that no language has.

Where a corpus has few sentences, a network learns to say these, whatever the robot says. Of words that do not exist none can be
guessed: what is said can only be heard from the robot.
"""

import random
from dataclasses import replace
from pathlib import Path

import pandas

from rovolad_lib.files import replacing
from rovolad_lib.lab import data
from rovolad_lib.lab.material import beside
from rovolad_lib.speech import audio, robot

# letters of syllables: what begins, what carries, what ends one
SYLLABLES = {
    "en": (
        ("", "b", "bl", "br", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "cl", "l", "m", "n", "p", "pl", "pr", "qu",
         "r", "s", "sh", "sl", "sn", "sp", "st", "t", "th", "tr", "v", "w", "y", "z"),
        ("a", "ai", "ar", "ay", "e", "ee", "er", "i", "igh", "o", "oa", "oo", "or", "ou", "oy", "u"),
        ("", "b", "ck", "d", "f", "g", "l", "ld", "m", "n", "nd", "ng", "nt", "p", "s", "sh", "st", "t", "th", "v", "x", "ze"),
    ),
    "de": (
        ("", "b", "bl", "br", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "kl", "kn", "l", "m", "n", "p", "pf", "qu", "r",
         "s", "sch", "schl", "schw", "sp", "st", "str", "t", "tr", "w", "z", "zw"),
        ("a", "ah", "au", "ä", "e", "eh", "ei", "eu", "i", "ie", "o", "oh", "ö", "u", "uh", "ü"),
        ("", "b", "ch", "ck", "f", "g", "l", "ld", "lt", "m", "mt", "n", "nd", "ng", "r", "rt", "s", "sch", "st", "t", "tz"),
    ),
}  # fmt: skip
# espeak's variants of a human kind, none with breath, which espeak makes of random numbers that nobody can seed
VARIANTS = (
    "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Jacky", "Lee", "Marco", "Mario", "Michael", "adam", "antonio",
    "benjamin", "david", "edward", "f1", "f4", "ian", "iven", "john", "kaukovalta", "klatt", "klatt3", "linda", "m1",
    "m3", "m7", "m8", "max", "michel", "norbert", "pablo", "paul", "pedro", "rob", "robert", "shelby", "steph", "travis", "zac",
)  # fmt: skip
CALLED, SOURCE = "invented", "invented words by espeak-ng's voices"


def corpus(path, voices=24, utterances=40, seed=0):
    """Write the recordings of so many voices and their metadata.csv into a folder, the same samples every time.

    voices: people, every third of whom reads German; utterances: of each, two to seven words; seed: of all choices.
    """
    draw, rows = random.Random(seed), []
    variants = draw.sample(VARIANTS, voices)
    for number, variant in enumerate(variants):
        language = "de" if number % 3 == 2 else "en"
        how = {"voice": f"{robot.voice(language)}+{variant}", "pitch": draw.randint(15, 85), "pitch_range": draw.randint(30, 70)}
        rate = draw.randint(150, 200)
        for k in range(utterances):
            text = " ".join(_word(draw, language) for _ in range(draw.randint(2, 7)))
            file = f"{variant}/{variant}_{k:02}.flac"
            wave = robot.say(text, language, rate, **how)
            audio.save(Path(path) / file, wave, tags={"comment": "synthetic speech by espeak-ng"})
            rows.append({"file": file, "speaker": variant, "text": text, "language": language})
    with replacing(Path(path) / "metadata.csv") as temporary:
        pandas.DataFrame(rows).to_csv(temporary, index=False, encoding="utf-8")


def _word(draw, language):
    return "".join(draw.choice(part) for _ in range(draw.choice((1, 1, 2, 3))) for part in SYLLABLES[language])


def added(encoded, encode):
    """Return Encoded with invented people to learn from behind its own; made once, in a folder of the data's.

    encode: of lab.experiment.
    """
    folder = encoded.data.folder / CALLED
    if not (folder / "manifest.parquet").is_file():
        corpus(folder / "corpora" / CALLED)
    made = encode(data.ready(folder, folder / "corpora"), encoded.autoencoder, lose=0)
    table = made.data.table.assign(path=[str((folder / path).resolve()) for path in made.data.table.path])
    return beside(encoded, replace(made, data=replace(made.data, table=table)))
