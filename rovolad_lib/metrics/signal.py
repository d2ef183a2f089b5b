"""Scores that compare waves with waves; every wave is (S,) at 16 kHz."""

import importlib.util
import itertools
import math
import warnings

import numpy
import pandas
import torch

from rovolad_lib.metrics import extra
from rovolad_lib.metrics.pitch import f0
from rovolad_lib.speech import audio
from rovolad_lib.speech.spectral import HOP

MELS = 80
SPEECH_DB = 40.0  # frames further below the loudest are silence
CEPSTRA = 13
CELLS = 32  # frames to which `nearest` brings a clip


def pesq_wb(reference, degraded):
    """Return wide-band PESQ (P.862.2), 1 to 4.64, of a wave against its reference of the same timing.

    errors: ImportError without the extra `metrics`; ValueError where PESQ finds no speech or less than 0.25 s.
    """
    pesq, (reference, degraded) = extra("pesq"), _same_length(reference, degraded)
    try:
        return float(pesq.pesq(audio.SAMPLE_RATE, reference.numpy(), degraded.numpy(), "wb"))
    except pesq.PesqError as error:
        raise ValueError(f"PESQ of {len(reference)} samples: {error}; accepted: at least 0.25 s of speech") from error


def stoi(reference, degraded):
    """Return the short-time objective intelligibility, 0 to 1, of a wave against its reference of the same timing.

    errors: ImportError without the extra `metrics`; ValueError below about 0.4 s of speech, where it is not defined.
    source: Taal 2011.
    """
    pystoi, (reference, degraded) = extra("pystoi"), _same_length(reference, degraded)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi warns and returns 1e-5 where it has too little to go on
        try:
            return float(pystoi.stoi(reference.numpy(), degraded.numpy(), audio.SAMPLE_RATE))
        except (RuntimeWarning, ValueError) as error:
            raise ValueError(f"STOI of {len(reference)} samples: {error}; accepted: 0.4 s of speech or more") from error


def log_mel_l1(reference, degraded):
    """Return the mean absolute difference, in nat, of the log-mels of two waves of the same timing and level."""
    reference, degraded = _same_length(reference, degraded)
    return float((audio.log_mel(reference, MELS) - audio.log_mel(degraded, MELS)).abs().mean())


def reconstruction(truth, made):
    """Return a DataFrame of pesq_wb, stoi and log_mel_l1, one row a clip, of waves against their originals.

    truth, made: sequences of waves (S,) of the same timing. A score whose package is not installed is left out, and
    said.
    """
    measures = {"pesq_wb": ("pesq", pesq_wb), "stoi": ("pystoi", stoi), "log_mel_l1": ("numpy", log_mel_l1)}
    if missing := [name for name, (package, _) in measures.items() if importlib.util.find_spec(package) is None]:
        print(f"without {', '.join(missing)}: the extra `metrics` is not installed")
    scored = {name: measure for name, (_, measure) in measures.items() if name not in missing}
    pairs = list(zip(truth, made, strict=True))
    return pandas.DataFrame({name: [measure(a, b) for a, b in pairs] for name, measure in scored.items()})


def mel_distance(a, b):
    """Return the mean absolute difference, in nat, of level-normalised log-mels along their best warping path.

    a, b: (S,) waves of the same words at any timing; silence at their ends is left out.
    """
    a, b = speech_mel(a), speech_mel(b)
    return warp(torch.cdist(a.T, b.T, p=1) / MELS)[0]


def mcd(a, b):
    """Return the mel-cepstral distortion of two waves in dB, along their best warping path.

    Variant: cepstra 1 to 13 (level left out) by cosine transform of 80 log-mel magnitudes at 10 ms, scaled so that the
    figure is the root mean square difference of the two smoothed spectra in dB; silence at the ends left out; free
    warping that minimises the same distance.
    """
    return warp(_cepstral_distances(a, b))[0]


def cepstra(mel):
    """Return cepstra 1 to 13 (13, F) of log-mels (M, F): log-mel m is c_0 + sum of c_k cos(k pi (m + 1/2) / M)."""
    bands = torch.arange(mel.shape[0]) + 0.5
    return 2 / mel.shape[0] * torch.cos(math.pi / mel.shape[0] * bands * torch.arange(1, CEPSTRA + 1)[:, None]) @ mel


def log_f0(reference, generated):
    """Return how far the pitch of a generated wave is that of a true take, paired by warping, as two floats.

    The correlation of log F0 over frames voiced in both (nan below 10 of them); the share of frames voiced in one alone.
    """
    _, path = warp(_cepstral_distances(reference, generated))  # cepstra hardly know the pitch
    a, b = (f0(_speech(wave))[path[:, side]] for side, wave in enumerate((reference, generated)))
    both = (a > 0) & (b > 0)
    varies = both.sum() >= 10 and a[both].min() < a[both].max() and b[both].min() < b[both].max()
    correlation = torch.corrcoef(torch.stack([a[both], b[both]]).log())[0, 1] if varies else math.nan
    return float(correlation), float(((a > 0) != (b > 0)).float().mean())


def sharpness(generated, real):
    """Return the gradient energy of generated speech over that of real speech: below 1 is blurred, above 1 is rough.

    generated, real: sequences of waves (S,), best of the same words, heard as level-normalised log-mels.
    """
    over, under = (sum(gradient_energy(speech_mel(wave)) for wave in waves) / len(waves) for waves in (generated, real))
    return over / under


def gradient_energy(mel):
    """Return the mean squared step of a log-mel (M, F) from band to band plus that from frame to frame, a float."""
    return float(mel.diff(dim=0).square().mean() + mel.diff(dim=1).square().mean())


def spread(groups):
    """Return the mean mel distance of all pairs within groups of waves: groups is a list of lists of (S,)."""
    pairs = [pair for group in groups for pair in itertools.combinations(group, 2)]
    return sum(mel_distance(a, b) for a, b in pairs) / len(pairs)


def nearest(queries, candidates):
    """Return how far each query is from its nearest candidate (N,), as the root mean square difference in nat.

    queries: N waves (S,); candidates: M waves (S,). Clips are compared as level-normalised log-mels stretched to 32
    frames.
    """
    queries, candidates = (torch.stack([_cells(wave) for wave in waves]) for waves in (queries, candidates))
    return torch.cdist(queries, candidates).min(1).values / math.sqrt(queries.shape[1])


def copying(generated, real, training):
    """Return the mean distance of generated clips to their nearest training clip over that of real test takes.

    generated, real, training: sequences of waves (S,). Far below 1 is copying.
    """
    return float(nearest(generated, training).mean() / nearest(real, training).mean())


def warp(distances):
    """Return the mean distance along the best warping path, and the path, of distances (F, G) between all frames.

    Symmetric steps: one frame ahead in either costs the distance once, in both twice, so that every path weighs F + G
    in all. Returns a float and pairs (K, 2) int64. source: Sakoe and Chiba 1978, P = 0.
    """
    distances = numpy.asarray(distances, dtype=numpy.float64)
    rows, columns = distances.shape
    total = numpy.full((rows + 1, columns + 1), numpy.inf)
    total[0, 0] = 0.0
    for diagonal in range(rows + columns - 1):  # cells of one anti-diagonal depend on the two before it only
        i = numpy.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        j = diagonal - i
        d = distances[i, j]
        total[i + 1, j + 1] = numpy.minimum(total[i, j] + 2 * d, numpy.minimum(total[i, j + 1], total[i + 1, j]) + d)
    i, j, path = rows, columns, []
    while i and j:
        path.append((i - 1, j - 1))
        d = distances[i - 1, j - 1]
        both, row, column = total[i - 1, j - 1] + 2 * d, total[i - 1, j] + d, total[i, j - 1] + d
        i, j = min((both, i - 1, j - 1), (row, i - 1, j), (column, i, j - 1))[1:]
    return float(total[rows, columns] / (rows + columns)), torch.tensor(path[::-1])


def speech_mel(wave):
    """Return the level-normalised log-mel (80, F) of a wave (S,) from its first to its last speech."""
    return audio.log_mel(_speech(wave), MELS)


def _speech(wave):
    if wave.ndim != 1 or not wave.any():
        silent = "" if wave.any() else ", silent"
        raise ValueError(f"wave: got {tuple(wave.shape)}{silent}; accepted: (S,) with sound in it")
    wave = audio.set_level(wave.detach().float().cpu())
    power = torch.nn.functional.pad(wave, (0, -len(wave) % HOP)).view(-1, HOP).square().mean(1)
    speech = (power >= 10 ** (-SPEECH_DB / 10) * power.max()).nonzero()[:, 0]
    return wave[int(speech[0]) * HOP : (int(speech[-1]) + 1) * HOP]


def _cepstral_distances(a, b):
    """Return the distances in dB (F, G) between the smoothed spectra of all frames of two waves."""
    a, b = (cepstra(speech_mel(wave)) for wave in (a, b))
    return 10 / math.log(10) * math.sqrt(2) * torch.cdist(a.T, b.T, compute_mode="donot_use_mm_for_euclid_dist")


def _cells(wave):
    return torch.nn.functional.interpolate(speech_mel(wave)[None], CELLS, mode="linear")[0].flatten()


def _same_length(a, b):
    a, b = (wave.detach().float().cpu() for wave in (a, b))
    if a.ndim != 1 or b.ndim != 1 or abs(len(a) - len(b)) > HOP:
        raise ValueError(f"got waves {tuple(a.shape)} and {tuple(b.shape)}; accepted: (S,), lengths within 10 ms")
    length = min(len(a), len(b))  # a decoder fills its last frame
    return a[:length], b[:length]
