import itertools

import numpy
import pytest
import torch

from rovolad_lib.speech import align as module
from rovolad_lib.speech import robot
from rovolad_lib.speech.align import align

SENTENCE = "The lazy dog sleeps in the warm sun, and the quick fox jumps over it."


def cheapest(distances):
    """Find the least cost of any allowed path by trying them all: the oracle for small tables."""
    frames, width = distances.shape

    def cost(i, j):
        if i == 0:
            return distances[0, j] if j < module.FREE_START else numpy.inf
        ways = [numpy.inf]
        if j >= 1:
            ways.append(cost(i - 1, j - 1))
        if j >= 2:
            ways.append(cost(i - 1, j - 2))
        if j >= 1 and i >= 2:
            ways.append(cost(i - 2, j - 1) + distances[i - 1, j])
        if j in (0, width - 1):
            ways.append(cost(i - 1, j))
        return min(ways) + distances[i, j]

    return min(cost(frames - 1, j) for j in range(width))


@pytest.mark.parametrize(("frames", "width"), list(itertools.product((1, 2, 5, 8), (1, 2, 4, 9))))
def test_warp_finds_the_cheapest_path(frames, width):
    distances = numpy.random.default_rng(frames * 10 + width).random((frames, width), dtype=numpy.float32)
    path = module._warp(distances)
    assert path.dtype == numpy.int32 and path.shape == (frames,) and (numpy.diff(path) >= 0).all()
    assert distances[numpy.arange(frames), path].sum() == pytest.approx(cheapest(distances), rel=1e-5)


@pytest.fixture(scope="module")
def spoken():
    return robot.say(SENTENCE)


def test_a_wave_follows_itself(spoken):
    result = align(spoken, spoken)
    assert result.verdict == "good" and result.cost < 0.1 and result.reached > 0.95
    inner = numpy.arange(10, len(result.frame_map) - 10)
    assert numpy.abs(result.frame_map[inner] - inner).max() <= 2


@pytest.mark.parametrize("rate", [130, 230])
def test_another_rate_and_voice_is_followed(spoken, rate):
    person = robot.say(SENTENCE, rate=rate, voice="en-us+f3", pitch=60, pitch_range=60)
    result = align(person, spoken)
    assert result.verdict == "good" and result.frame_map.shape == (-(-len(person) // 160),)
    ratio = len(spoken) / len(person)
    assert result.speed == pytest.approx(ratio, rel=0.1)
    middle = numpy.arange(len(result.frame_map))[30:-30]
    assert numpy.median(numpy.abs(result.frame_map[middle] - middle * ratio)) < 15


def test_silence_around_the_person_maps_to_the_robots_ends(spoken):
    noise = 1e-3 * torch.randn(len(spoken) + 32000, generator=torch.Generator().manual_seed(0))
    person = noise + torch.nn.functional.pad(spoken, (16000, 16000))
    result = align(person, spoken)
    assert result.verdict == "good"
    assert result.frame_map[:98].max() <= 5 and result.frame_map[-98:].min() >= -(-len(spoken) // 160) - 6
    inner = numpy.arange(110, len(result.frame_map) - 110)
    assert numpy.median(numpy.abs(result.frame_map[inner] + 100 - inner)) <= 1


def test_a_recording_that_stops_early_is_trimmed(spoken):
    result = align(spoken[: len(spoken) // 2], spoken)
    assert result.verdict == f"trimmed: the recording ends at {result.reached:.0%} of the text"
    assert result.reached == pytest.approx(0.5, abs=0.03)


def test_a_single_word_is_not_judged():
    one, nine = robot.say("One."), robot.say("Nine.", voice="en-us+f3")
    result = align(nine, one)
    assert result.verdict.startswith("unjudged: 0.") and numpy.isnan(result.control) and result.cost > 0


def test_the_control_is_the_robot_in_three_wrong_orders():
    distances = numpy.random.default_rng(0).random((6, 8), dtype=numpy.float32)
    active, speaks = numpy.ones(6, bool), numpy.array([0, 1, 1, 1, 1, 1, 1, 0], bool)
    orders = [[0, 6, 5, 4, 3, 2, 1, 7], [0, 5, 6, 1, 2, 3, 4, 7], [0, 4, 5, 6, 1, 2, 3, 7]]
    costs = [cheapest(distances[:, order]) / 6 for order in orders]
    assert module._control(distances, active, speaks) == pytest.approx(numpy.mean(costs), rel=1e-5)


def test_other_words_are_poor(spoken):
    other = robot.say("My mother wants nine hundred yellow umbrellas for our garden party tomorrow.", voice="en-us+f3")
    result = align(other, spoken)
    assert result.cost / result.control > module.LIMIT > 2 * align(spoken, spoken).cost / align(spoken, spoken).control
    ratio = result.cost / result.control
    assert result.verdict == f"poor: {ratio:.2f} of the distance of shuffled speech, above 0.90 (other words than the text?)"


def test_a_person_far_too_slow_is_poor(spoken):
    verdict = module._verdict(0.5, 0.9, 1.0, 0.5, 0.0)
    assert verdict == "poor: the person speaks at 0.50 of the robot's speed; accepted are 0.55 to 1.85"
    assert module._verdict(0.5, 0.9, 0.1, 1.0, 3.0).startswith("poor: the recording ends at 10%")
    assert module._verdict(float("nan"), 0.9, 1.0, 1.0, 0.0).startswith("poor: nan of the distance")


def test_silent_and_empty_waves_are_refused(spoken):
    with pytest.raises(ValueError, match="person is .500,., silent"):
        align(torch.zeros(500), spoken)
    with pytest.raises(ValueError, match="robot is .0,., empty"):
        align(spoken, torch.zeros(0))
    assert align(spoken[1000:1010], spoken).frame_map.shape == (1,)
