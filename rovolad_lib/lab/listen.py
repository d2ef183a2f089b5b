"""Players for notebooks: true level, short, in the page itself."""

import base64
import io
import math
import wave as wav
from html import escape

import numpy as np
from IPython.display import HTML

SECONDS = 4.0  # a clip in the page weighs 43 kB a second
CLIPS = 32


def player(wave, sample_rate=16000, title=""):
    """Return one player as IPython HTML, with title, peak and RMS level in its caption.

    wave: (S,) tensor or array in [-1, 1], played as it is; cut after 4 s, which the caption says.
    Raises ValueError if the wave has another shape, leaves [-1, 1], or is not finite.
    """
    return HTML(_figure(wave, sample_rate, title))


def grid(rows, sample_rate=16000):
    """Return a table of players as IPython HTML, one row per item.

    rows: list of dict column -> (S,) wave, or a str, which is shown as text. At most 32 clips; the caption says so.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    shown, clips = [], 0
    for row in rows:
        clips += sum(not isinstance(value, str) for value in row.values())
        if clips > CLIPS:
            break
        shown.append(row)
    head = "".join(f"<th>{escape(str(name))}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(_cell(row.get(name, ''), sample_rate) for name in columns)}</tr>" for row in shown)
    cut = f"<caption>{len(shown)} of {len(rows)} rows, a page holds {CLIPS} clips</caption>"
    return HTML(f"<table>{cut if len(shown) < len(rows) else ''}<tr>{head}</tr>{body}</table>")


def _cell(value, sample_rate):
    return f"<td>{escape(value) if isinstance(value, str) else _figure(value, sample_rate, '')}</td>"


def _figure(wave, sample_rate, title):
    if hasattr(wave, "detach"):
        wave = wave.detach().cpu().numpy()
    wave = np.asarray(wave, dtype=np.float64)
    if wave.ndim != 1 or not np.all(np.abs(wave) <= 1):  # NaN fails this too
        peak = np.abs(wave).max() if wave.size else 0
        raise ValueError(f"a wave of shape {wave.shape} with peak {peak:g}; accepted: (S,) within [-1, 1]")
    kept = wave[: round(SECONDS * sample_rate)]
    peak, level = np.abs(wave).max(initial=0), math.sqrt(np.mean(wave**2)) if wave.size else 0
    notes = [title, f"peak {_decibel(peak)}", f"RMS {_decibel(level)}"]
    if len(kept) < len(wave):
        notes.append(f"first {SECONDS:g} of {len(wave) / sample_rate:.1f} s")
    source = f"data:audio/wav;base64,{base64.b64encode(_encoded(kept, sample_rate)).decode('ascii')}"
    caption = escape(" · ".join(note for note in notes if note))
    audio = f'<audio controls style="width:12em" src="{source}"></audio>'
    return f'<figure style="margin:0">{audio}<figcaption>{caption}</figcaption></figure>'


def _encoded(wave, sample_rate):
    """Return the wave as the bytes of a 16-bit WAV file."""
    memory = io.BytesIO()
    with wav.open(memory, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.round(wave * 32767).astype("<i2").tobytes())
    return memory.getvalue()


def _decibel(value):
    return f"{20 * math.log10(value):.1f} dB" if value > 0 else "silent"
