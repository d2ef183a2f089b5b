import numpy
import pandas
import pytest
import torch

from rovolad_lib.speech.audio import load, save, set_level
from rovolad_lib.speech.latents import Latents, encode

SAMPLES, ROBOT_SAMPLES = [5000, 1601, 3200, 960, 4001], [4000, 2000, 3200, 1000, 640]


def mean_of_hops(wave, lengths):
    """A codec whose numbers can be checked by hand: two channels, the mean magnitude of a hop and its first sample."""
    hops = torch.nn.functional.pad(wave, (0, -wave.shape[1] % 320)).unflatten(1, (-1, 320))  # (N, T, 320)
    return torch.stack([hops.abs().mean(2), hops[:, :, 0]], dim=1) + 0 * lengths.view(-1, 1, 1)


def never(wave, lengths):
    raise AssertionError("encoded again")


@pytest.fixture
def table(tmp_path):
    rows = []
    for i, (samples, robot) in enumerate(zip(SAMPLES, ROBOT_SAMPLES, strict=True)):
        for kind, n in (("person", samples), ("robot", robot)):
            save(tmp_path / kind / f"{i}.wav", torch.randn(n, generator=torch.Generator().manual_seed(n)) / 20)
        frames = -(-samples // 160)
        numpy.save(tmp_path / f"{i}.npy", (numpy.arange(frames) * 2 % (robot // 100)).astype("int32"))
        rows.append({
            "id": f"u{i}", "path": f"person/{i}.wav", "robot_path": f"robot/{i}.wav", "align_path": f"{i}.npy", "start": 0.0,
            "end": samples / 16000, "duration": samples / 16000,
        })  # fmt: skip
    return pandas.DataFrame(rows)


def test_order_lengths_and_values(table, tmp_path):
    held = encode(table, tmp_path, mean_of_hops, tmp_path / "sub" / "l.safetensors", 320, batch=2)
    assert isinstance(held, Latents) and len(held) == 5
    assert held.lengths().tolist() == [16, 6, 10, 3, 13]  # hops of 320 samples, rounded up
    for i in range(5):
        for got, kind, samples in ((held[i][0], "person", SAMPLES[i]), (held[i][1], "robot", ROBOT_SAMPLES[i])):
            wave = set_level(load(tmp_path / kind / f"{i}.wav"))
            wanted = mean_of_hops(wave[None], torch.tensor([samples]))[0]
            assert got.dtype == torch.float32 and got.shape == (2, -(-samples // 320))
            torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)  # float16 in the file


def test_the_map_in_latent_frames(table, tmp_path):
    held = encode(table, tmp_path, mean_of_hops, tmp_path / "l.safetensors", 320)
    numpy.testing.assert_array_equal(numpy.load(tmp_path / "3.npy"), [0, 2, 4, 6, 8, 0])
    assert held[3][2].tolist() == [
        0,
        2,
        3,
    ]  # its frames 0, 2, 4 in 10 ms: 0, 4, 8, halved: 4 is beyond the robot's 4 frames
    for i in range(5):
        frame_map = numpy.load(tmp_path / f"{i}.npy")
        wanted = [min(int(f) // 2, held[i][1].shape[1] - 1) for f in frame_map[::2]]
        assert held[i][2].tolist() == wanted and held[i][2].dtype == torch.int64


def test_the_second_time_it_is_read(table, tmp_path):
    path = tmp_path / "l.safetensors"
    first = encode(table, tmp_path, mean_of_hops, path, 320)
    before = path.stat().st_mtime_ns
    second = encode(table, tmp_path, never, path, 320)
    assert path.stat().st_mtime_ns == before
    assert all(torch.equal(a, b) for i in range(5) for a, b in zip(first[i], second[i], strict=True))


def test_a_map_of_another_length_is_refused(table, tmp_path):
    numpy.save(tmp_path / "2.npy", numpy.zeros(17, "int32"))  # 3200 samples are 20 frames
    with pytest.raises(ValueError, match="u2.*9.*10"):
        encode(table, tmp_path, mean_of_hops, tmp_path / "l.safetensors", 320)
    assert not (tmp_path / "l.safetensors").exists()


def test_a_file_of_other_utterances_is_refused(table, tmp_path):
    path = tmp_path / "l.safetensors"
    encode(table, tmp_path, mean_of_hops, path, 320)
    with pytest.raises(ValueError, match="other utterances"):
        encode(table.iloc[::-1], tmp_path, never, path, 320)
