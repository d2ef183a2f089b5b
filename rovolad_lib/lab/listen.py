"""Players for notebooks: true level, short, in the page itself."""

import math
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
from IPython.display import HTML, Audio

from rovolad_lib.files import replacing

SECONDS = 4.0  # a clip in the page weighs 43 kB a second
CLIPS = 32
SAMPLE_RATE = 16000


def grid(rows):
    """Return a table of players as IPython HTML, one row per item, with peak and RMS level below each player.

    rows: list of dict column -> (S,) wave at 16 kHz, tensor or array in [-1, 1], played as it is, or a str, which is shown as
    text, or HTML. At most 32 clips, each cut after 4 s; the captions say so.
    Raises ValueError if a wave has another shape, leaves [-1, 1], or is not finite.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    clips = np.cumsum([sum(not isinstance(value, (str, HTML)) for value in row.values()) for row in rows])
    shown = rows[: int((clips <= CLIPS).sum())]
    head = "".join(f"<th>{escape(str(name))}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(_cell(row.get(name, '')) for name in columns)}</tr>" for row in shown)
    cut = f"<caption>{len(shown)} of {len(rows)} rows, a page holds {CLIPS} clips</caption>"
    return HTML(f"<table>{cut if len(shown) < len(rows) else ''}<tr>{head}</tr>{body}</table>")


def page(path, rows, title, note=""):
    """Write a page of players that needs no notebook, and return its path.

    rows: as of `grid`, but a Path is a wav file, played whole from where it lies beside or below the page; title, note: text.
    """
    players = [{k: HTML(_file(v, Path(path))) if isinstance(v, Path) else v for k, v in row.items()} for row in rows]
    text = (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>\n'
            f"<body><h1>{escape(title)}</h1>\n<p>{escape(note)}</p>\n{grid(players).data}\n</body></html>\n")  # fmt: skip
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def _file(wav, page):
    source = quote(wav.relative_to(page.parent).as_posix())
    return f'<audio controls style="width:12em" src="{source}"></audio><br>{escape(wav.name)}'


def _cell(value):
    if isinstance(value, HTML):
        return f"<td>{value.data}</td>"
    return f"<td>{escape(value) if isinstance(value, str) else _figure(value)}</td>"


def _figure(wave):
    wave = np.asarray(wave.detach().cpu() if hasattr(wave, "detach") else wave, dtype=np.float64)
    peak = np.abs(wave).max(initial=0)
    if wave.ndim != 1 or not peak <= 1:  # NaN fails this too
        raise ValueError(f"a wave of shape {wave.shape} with peak {peak:g}; accepted: (S,) within [-1, 1]")
    level, kept = math.sqrt(np.square(wave).sum() / max(1, len(wave))), wave[: round(SECONDS * SAMPLE_RATE)]
    caption = f"peak {_decibel(peak)} · RMS {_decibel(level)}"
    if len(kept) < len(wave):
        caption += f" · first {SECONDS:g} of {len(wave) / SAMPLE_RATE:.1f} s"
    source = Audio(kept if len(kept) else [0.0], rate=SAMPLE_RATE, normalize=False).src_attr()
    audio = f'<audio controls style="width:12em" src="{source}"></audio>'
    return f'<figure style="margin:0">{audio}<figcaption>{caption}</figcaption></figure>'


def _decibel(amplitude):
    return f"{20 * math.log10(amplitude):.1f} dB" if amplitude else "silent"
