import os
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import torch
import torchaudio.functional

from rovolad_lib.speech import espeak, robot

SENTENCE = "Kids are talking by the door."


def test_the_same_samples_whatever_was_said_before():
    first = robot.say(SENTENCE)
    for text, language, rate in [("Guten Tag", "de", 300), ("a b c", "fr", 90), ("Nine nine nine!", "en", None)]:
        robot.say(text, language, rate)
        assert torch.equal(robot.say(SENTENCE), first)
    assert first.dtype == torch.float32 and first.ndim == 1 and 0.1 < first.abs().max() <= 1
    assert not first[:800].any() and not first[-800:].any()


def test_a_breathing_voice_breathes_the_same_at_another_time():
    first = robot.say("One two", voice="en-us+f3")
    time.sleep(1.1)  # espeak counts whole seconds
    assert torch.equal(robot.say("One two", voice="en-us+f3"), first)


def test_the_same_samples_in_another_worker():
    first = robot.say("One two three", "en-gb", 140)
    robot.close()
    assert torch.equal(robot.say("One two three", "en-gb", 140), first)


def test_a_dead_worker_is_replaced():
    first = robot.say(SENTENCE)
    robot._worker.process.kill()
    assert torch.equal(robot.say(SENTENCE), first)


def test_words_begin_where_they_are_heard():
    text = "Übrigens, one. Two three"
    found = robot.marks("words", text, "en", 120)
    assert [text[first:].split()[0] for first, _ in found] == ["Übrigens,", "one.", "Two", "three"]
    wave = robot.say(text, "en", 120)
    for (_, start), after in zip(found, [s for _, s in found[1:]] + [len(wave) / 16000], strict=True):
        assert wave[round(start * 16000) : round(after * 16000)].abs().max() > 0.05
    pause = round((found[2][1] - 0.1) * 16000)  # the full stop: silence up to the next word
    assert wave[pause : pause + 1280].abs().max() < 0.01
    assert torch.equal(robot.say(text, "en", 120), wave)


def run(code):
    """Run Python code in a fresh process and return what it prints."""
    root = Path(robot.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_has_a_worker_of_its_own():
    code = """if True:
        import os
        import torch
        from rovolad_lib.speech import robot
        torch.set_num_threads(1)  # a child of a fork cannot use its parent's OpenMP threads: torch's own limit
        first, pid = robot.say("one"), robot._worker.process.pid
        child = os.fork()
        if not child:
            same = robot.say("one").equal(first) and robot._worker.process.pid != pid
            robot.close()
            os._exit(0 if same else 1)
        same = robot.say("one").equal(first) and robot._worker.process.pid == pid
        print(same, os.waitpid(child, 0)[1])
    """
    assert run(code) == ["True", "0"]


def test_the_worker_ends_with_its_process():
    pid = run("from rovolad_lib.speech import robot; robot.say('one'); print(robot._worker.process.pid)")
    if sys.platform != "win32":
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid[0]), 0)


def test_pitch_is_flat_at_f0_and_moves_where_asked():
    def spread(wave):
        pitch = torchaudio.functional.detect_pitch_frequency(wave[800:-800], 16000)
        return pitch.quantile(0.5).item(), (pitch.quantile(0.75) - pitch.quantile(0.25)).item()

    vowels = "Are you mine, Mary?"
    for f0 in (110, 150):
        median, moves = spread(robot.say(vowels, f0=f0))
        assert median == pytest.approx(f0, rel=0.03) and moves < 2
    assert spread(robot.say(vowels, voice="en-us+f3", pitch=60, pitch_range=60))[1] > 5


def test_variants_sound_different():
    waves = [robot.say("one", voice=voice, pitch=50) for voice in ("en-us", "en-us+f3", "en-us+m2")]
    assert len({tuple(wave.tolist()) for wave in waves}) == 3


@pytest.mark.parametrize(
    ("language", "expected"),
    [("en", "en-US"), ("EN", "en-US"), ("english", "en-US"), ("en-gb", "en"), ("en_GB", "en"),
     ("de", "de"), ("German", "de"),
     ("french", "fr"), ("fr", "fr"), ("dutch", "nl"), ("spanish", "es"), ("italian", "it"),
     ("portuguese", "pt"), ("polish", "pl"),
     ("zh", "cmn"), ("Chinese", "cmn")],
)  # fmt: skip
def test_voice_of_a_language(language, expected):
    assert robot.voice(language) == expected


def test_languages_speak():
    mute = []
    for voice in sorted(set(robot.languages().values()))[::5]:  # all of them take two seconds on an idle core
        try:
            robot.say("one two 3", voice=voice)
        except ValueError:
            mute.append(voice)
    assert set(mute) <= {"fo", "kaa", "xex"}  # espeak-ng 1.52 ships these three without a dictionary


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("one", "elvish"), "does not speak 'elvish'; accepted are af, .*en-US"),
        (("",), "needs words"),
        (("a\0b",), "needs words"),
        (("...",), "makes no sound of '...'"),
        (("one", "en", 900), "rate is 900; accepted are 80 to 450"),
    ],
)
def test_say_names_what_is_accepted(arguments, message):
    with pytest.raises(ValueError, match=message):
        robot.say(*arguments)


def test_say_refuses_unknown_voices():
    with pytest.raises(ValueError, match="no voice 'nonsense'"):
        robot.say("one", voice="nonsense")
    with pytest.raises(ValueError, match="no variant 'f33'; accepted are .*f3"):
        robot.say("one", voice="en-us+f33")
    assert len(robot.say("one")) > 3000  # the worker lives on


@pytest.mark.parametrize("seconds", [1.5, 2.5])
def test_rate_for_matches_a_duration(seconds):
    rate = robot.rate_for(SENTENCE, "en", seconds)
    assert len(robot.say(SENTENCE, "en", rate)) / 16000 == pytest.approx(seconds, rel=0.05)


def test_rate_for_knows_how_long_the_robot_speaks_without_hearing_it():
    for rate in (175, 203, 450):
        spoken = len(robot.say(SENTENCE, "en", rate)) / 16000 - 2 * robot.EDGE_S
        assert robot._spoken_s(SENTENCE, "en", rate) == pytest.approx(spoken, abs=1e-9)


def test_rate_for_stops_at_what_espeak_can():
    assert robot.rate_for(SENTENCE, "en", 0.2) == 450 and robot.rate_for(SENTENCE, "en", 60) == 80
    with pytest.raises(ValueError, match="duration is 0 s"):
        robot.rate_for(SENTENCE, "en", 0)


def test_flatten_keeps_length_and_envelope_and_sets_the_pitch():
    time = torch.arange(16000) / 16000
    sung = sum(torch.sin(2 * torch.pi * 200 * k * time) / k for k in range(1, 20)) * 0.1  # 200 Hz, falling spectrum
    flat = robot.flatten(sung, f0=100.0)
    assert flat.shape == sung.shape and flat.abs().max() <= 1
    power = torch.fft.rfft(flat).abs().square()  # bins of 1 Hz
    assert power[95:106].mean() > 10 * power[120:181].mean()  # pulses at 100 Hz, little between the harmonics
    assert power[:1000].sum() > 10 * power[3000:].sum()  # the envelope still falls
    torch.testing.assert_close(flat, robot.flatten(sung, f0=100.0), rtol=0, atol=0)


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """An espeak library that does not load; the next worker is a sound one again."""
    library = tmp_path / "libespeak-ng.so"
    library.write_bytes(b"this is no library")
    robot.close()
    with monkeypatch.context() as patch:
        patch.setattr(robot.espeakng_loader, "get_library_path", lambda: str(library))
        yield
    robot.close()


def test_a_broken_espeak_is_not_taken_for_a_bad_text(broken):
    for _ in range(2):  # the worker answers, and answers again
        with pytest.raises(RuntimeError, match="espeak-ng failed: .*asked for .*'one'"):
            robot.say("one")
    with pytest.raises(ValueError, match="needs words"):
        robot.say("")


def test_an_espeak_that_does_not_start_is_not_taken_for_a_bad_text(monkeypatch):
    sound = robot.say("one")
    for reply, kind in ((b"!espeak-ng did not start", RuntimeError), (b"-no voice", ValueError)):
        with monkeypatch.context() as patch, pytest.raises(kind, match=reply[1:].decode()):
            patch.setattr(robot, "_ask", lambda request, reply=reply: reply)
            robot.say("one")
    assert torch.equal(robot.say("one"), sound)


@pytest.mark.parametrize(("rate", "refused", "sign"), [(-1, 0, b"!"), (22050, 1, b"!"), (22050, 0, b"-")])
def test_the_worker_tells_espeak_s_failures_from_the_request_s(monkeypatch, rate, refused, sign):
    library = types.SimpleNamespace(
        espeak_Initialize=lambda *_: rate, espeak_SetSynthCallback=lambda _: None, espeak_Synth=lambda *_: refused,
        espeak_SetVoiceByName=lambda _: sign == b"-", espeak_ng_SetRandSeed=lambda _: 0,
    )  # fmt: skip
    monkeypatch.setattr(espeak.ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(espeak, "unload", lambda _: True)
    request = {"text": "one", "voice": "en", "rate": None, "pitch": None, "pitch_range": None, "f0": None}
    assert espeak.answer("any", request)[0][:1] == sign
