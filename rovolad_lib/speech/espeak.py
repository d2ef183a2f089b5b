"""The worker process behind `robot`: reads requests on stdin, answers on stdout; standard library only, run as a
script.

A message is its length (4 bytes, little endian) and its bytes. Request: JSON. Answer: b"+" and 16-bit samples at
22,050 Hz (or, asked for marks, JSON: pairs of what begins and its sample), b"-" and what is wrong with the request,
or b"!" and what is wrong with espeak-ng. espeak-ng carries state from one utterance to the next, so the library is loaded
anew for each.
"""

import ctypes
import itertools
import json
import os
import struct
import sys

SYNCHRONOUS, DONT_EXIT, UTF8 = 2, 0x8000, 1
RATE, PITCH, PITCH_RANGE = 1, 3, 4
PHONEME_EVENTS, IPA = 1, 2
END_OF_LIST, WORD, PHONEME = 0, 1, 7


class Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h; `text` counts characters from 1, `sample` counts from the start of the utterance."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("type", "unique", "text", "length", "audio", "sample")),
        ("user", ctypes.c_void_p), ("id", ctypes.c_char * 8),
    ]  # fmt: skip


ON_SAMPLES = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


def unload(library):
    """Close the library; return whether it is really gone (some systems keep it)."""
    library.espeak_Terminate()
    handle = ctypes.c_void_p(library._handle)
    if sys.platform == "win32":
        ctypes.windll.kernel32.FreeLibrary(handle)
        ctypes.windll.kernel32.GetModuleHandleW.restype = ctypes.c_void_p
        return not ctypes.windll.kernel32.GetModuleHandleW(ctypes.c_wchar_p(library._name))
    system = ctypes.CDLL(None)
    system.dlclose(handle)
    only_if_loaded = 0x10 if sys.platform == "darwin" else 4
    system.dlopen.restype = ctypes.c_void_p
    return not system.dlopen(library._name.encode(), os.RTLD_LAZY | only_if_loaded)


def synthesise(library, request):
    """Return the samples or marks (bytes) of {text, voice, rate, f0, pitch, pitch_range, marks}; None: espeak's own.

    marks: "words" (the first character of each) or "phonemes" (IPA, a pause being ""); left out or None: samples.
    """
    wanted = request.get("marks")
    options = PHONEME_EVENTS | IPA if wanted == "phonemes" else 0
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, b".", DONT_EXIT | options)
    if rate != 22050:
        raise RuntimeError(f"espeak-ng did not start: espeak_Initialize gave {rate}, not 22050")
    library.espeak_ng_SetRandSeed(1)  # espeak seeds the breath of its variants with the time
    chunks, marks = [], []

    def collect(samples, count, events):
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        for event in itertools.takewhile(lambda event: event.type != END_OF_LIST, events if wanted else ()):
            if event.type == WORD and wanted == "words":
                marks.append((event.text - 1, event.sample))
            if event.type == PHONEME:
                marks.append((event.id.decode(errors="ignore"), event.sample))  # eight bytes: the last letter may be cut
        return 0

    callback = ON_SAMPLES(collect)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(request["voice"].encode()):
        raise ValueError(f"espeak-ng has no voice {request['voice']!r}")
    for parameter, name in ((RATE, "rate"), (PITCH, "pitch"), (PITCH_RANGE, "pitch_range")):
        if request[name] is not None:
            library.espeak_SetParameter(parameter, request[name], 0)
    if request["f0"] is not None:
        library.espeak_ng_SetConstF0(request["f0"])
    text = request["text"].encode()
    if library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 1, 0, UTF8, None, None):
        raise RuntimeError("espeak-ng refused the text")
    library.espeak_Synchronize()
    return json.dumps(marks).encode() if wanted else b"".join(chunks)


def answer(library_path, request):
    """Return the answer (bytes) to a request, and whether the library is unloaded again."""
    library = None
    try:
        library = ctypes.CDLL(library_path)
        said = b"+" + synthesise(library, request)
    except (RuntimeError, OSError) as error:  # any other text would fare as badly
        said = b"!" + str(error).encode()
    except Exception as error:
        said = b"-" + str(error).encode()
    return said, library is None or unload(library)


def main(library_path):
    """Answer requests until stdin ends, or the library cannot be unloaded (the parent then starts a new process)."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the library prints must not run into the answers
    gone = True
    while gone and len(head := requests.read(4)) == 4:
        request = json.loads(requests.read(struct.unpack("<I", head)[0]))
        said, gone = answer(library_path, request)
        answers.write(struct.pack("<I", len(said)) + said)
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
