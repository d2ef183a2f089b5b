"""What is wrong with a recording that the decoder would let pass, or choke on."""

import math
import struct
from pathlib import Path

from rovolad_lib.speech import audio

FILTER = 2**22  # weights of the resampler's filters: a rate such as 44,101 Hz would need gigabytes
SLACK = 64  # bytes that sloppy writers leave out at the end
STREAMED = 2**31 - 2**16  # a length from here on was not known when the header was written


def unsound(path, longest=None):
    """Return why a recording is not to be decoded, or None; what is no audio at all is left for the decoder to say.

    path: the file; longest: seconds that the whole may last.
    """
    try:
        missing = _missing(path) if Path(path).suffix.lower() == ".wav" else 0
        header = audio.info(path)
    except (ArithmeticError, OSError, RuntimeError, ValueError):
        return None
    if missing > SLACK:
        return f"truncated: {missing} bytes less than the header says"
    if longest is not None and header.duration > longest:
        return f"lasts {header.duration:.2f} s; accepted are up to {longest:.0f} s"
    common = math.gcd(header.sample_rate, audio.SAMPLE_RATE)
    if header.sample_rate * audio.SAMPLE_RATE / common**2 > FILTER:
        return f"a sample rate of {header.sample_rate} Hz, which has no small ratio to {audio.SAMPLE_RATE}"
    return None


def _missing(path):
    """Return how many bytes of its data chunk a WAV file lacks; the decoder shortens such a file without a word."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        head = file.read(4096)
    at = 12
    while head[:4] == b"RIFF" and at + 8 <= len(head):
        (name, length), at = struct.unpack_from("<4sI", head, at), at + 8
        if name == b"data":
            return at + length - size if length < STREAMED else 0
        at += length + length % 2
    return 0
