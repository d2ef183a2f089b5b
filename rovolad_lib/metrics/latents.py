"""What latents are worth: their statistics, what noise costs, how far the robot is from the person, where the phones are.

Latents are lists of (E, T), standardised per channel, as `Autoencoder.encode` gives them; a pair is (person (E, T), robot
(E, R), frame map (T,)), as `speech.latents.Latents` holds them. Figures come as DataFrames with one row a channel, or as
{measure: value}; `table` makes one of them.
"""

import pandas
import torch
import torch.nn.functional as F

from rovolad_lib.metrics import signal
from rovolad_lib.metrics.frechet import frechet
from rovolad_lib.speech import manifest
from rovolad_lib.speech.audio import set_level
from rovolad_lib.speech.spectral import HOP

SIGMAS = (0.0, 0.05, 0.1, 0.2, 0.4)


def encode_pairs(rows, data, person, robot):
    """Return the pairs of some utterances, the person by one autoencoder, the robot by another or the same.

    rows: manifest rows that have a robot; data: their folder; person, robot: Autoencoders of one hop.
    """
    pairs, step = [], person.hop // HOP
    for row in rows.itertuples():
        heard = person.encode(set_level(manifest.wave(row, data))[None])[0]
        said = robot.encode(set_level(manifest.robot_wave(row, data))[None])[0]
        frames = torch.from_numpy(manifest.frame_map(row, data)[::step]).long() // step
        pairs.append((heard, said, frames.clamp(max=said.shape[1] - 1)))
    return pairs


def statistics(model, latents):
    """Return mean, deviation and autocorrelation of each channel, a DataFrame of E rows.

    mean, deviation: before standardising, in units of the linear codec's whitened axes: 0 and 1 on its training speech;
    autocorrelation: of neighbouring frames (20 ms apart) of a clip, -1 to 1.
    """
    frames = _frames(latents)
    mean = frames.mean(0)
    ahead = sum(((z[:, 1:].T - mean) * (z[:, :-1].T - mean)).sum(0) for z in latents)
    energy = sum((z[:, 1:].T - mean).square().sum(0) + (z[:, :-1].T - mean).square().sum(0) for z in latents) / 2
    scale = model.deviation[:, 0].double()
    columns = {
        "mean": mean * scale + model.mean[:, 0], "deviation": frames.std(0) * scale, "autocorrelation": ahead / energy,
    }  # fmt: skip
    return pandas.DataFrame({name: values.numpy() for name, values in columns.items()})


def ranks(model, latents):
    """Return {"rank_90", "rank_99"}: how many principal axes hold that share (%) of the variance before standardising."""
    values = torch.linalg.eigvalsh(torch.cov((_frames(latents) * model.deviation[:, 0].double()).T)).flip(0)
    held = values.cumsum(0) / values.sum()
    return {f"rank_{percent}": int((held < percent / 100).sum()) + 1 for percent in (90, 99)}


def distance(latents, others):
    """Return {"frechet"}, the Fréchet distance between the frames of two corpora, in squared deviations of a channel."""
    return {"frechet": frechet(_frames(latents), _frames(others))}


def robustness(model, waves, sigmas=SIGMAS, iterations=32, seed=0):
    """Return what noise on the latents costs: a DataFrame of sigma and the scores of `signal.reconstruction`, a row a clip.

    waves: (S,) at the house's level, of 2 s or more; sigmas: deviations of white noise on standardised latents, the same
    noise for all of them; iterations: of Griffin-Lim.
    """
    random, scored = torch.Generator().manual_seed(seed), []
    latents = [model.encode(wave[None]) for wave in waves]
    noises = [torch.randn(z.shape, generator=random) for z in latents]
    how = {"iterations": iterations, "head": "gl"}
    for sigma in sigmas:
        noisy = [model.decode(z + sigma * noise, **how)[0] for z, noise in zip(latents, noises, strict=True)]
        made = [wave[: len(truth)] for wave, truth in zip(noisy, waves, strict=True)]
        scored.append(signal.reconstruction(waves, made).assign(sigma=sigma))
    return pandas.concat(scored, ignore_index=True)


def gap(training, held_out, l2=1e-2):
    """Return how far the robot is from the person on held-out pairs, a DataFrame of E rows.

    training, held_out: lists of pairs; l2: of the ridge, in variances of a channel. correlation: -1 to 1, at the person's
    timing; the rest are mean squared distances in units of the variance of the person's channel, so that 1 is what the
    person's mean leaves: robot, as it is; affine, after the best scale and shift of each channel; ridge, after the best
    linear map of all channels of a frame, both fitted on the training pairs. It is the residual a robot prior must bridge.
    """
    (y, x), (truth, robot) = (
        (_frames(p for p, _, _ in pairs), _frames(r[:, at] for _, r, at in pairs)) for pairs in (training, held_out)
    )
    centre, target = x.mean(0), y.mean(0)
    x, y = x - centre, y - target
    scale = (x * y).sum(0) / x.square().sum(0)
    weight = torch.linalg.solve(x.T @ x / len(x) + l2 * torch.diag(x.var(0)), x.T @ y / len(x))
    moved = {"robot": robot, "affine": (robot - centre) * scale + target, "ridge": (robot - centre) @ weight + target}
    found = {name: (guess - truth).square().mean(0) / truth.var(0) for name, guess in moved.items()}
    a, b = (z - z.mean(0) for z in (truth, robot))
    found = {"correlation": (a * b).sum(0) / (a.square().sum(0) * b.square().sum(0)).sqrt()} | found
    return pandas.DataFrame({name: values.numpy() for name, values in found.items()})


def phone_probe(latents, labels, classes, l2=1e-4):
    """Return a linear classifier of frames, (n, E) -> (n, classes) logits, by multinomial logistic regression.

    labels: a list of (T,) long below `classes`, see `speech.phones.labels`; l2: factor of the sum of its squared
    weights beside the mean cross entropy in nat.
    """
    x, y = _frames(latents).float(), torch.cat(list(labels))
    probe = torch.nn.Linear(x.shape[1], classes)
    torch.nn.init.zeros_(probe.weight), torch.nn.init.zeros_(probe.bias)
    descent = torch.optim.LBFGS(probe.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        descent.zero_grad()
        value = F.cross_entropy(probe(x), y) + l2 * probe.weight.square().sum()
        value.backward()
        return value

    descent.step(loss)
    return probe.requires_grad_(False)


def phone_accuracy(probe, latents, labels):
    """Return the share of frames whose phone a probe names, 0 to 1."""
    return float((probe(_frames(latents).float()).argmax(1) == torch.cat(list(labels))).double().mean())


def table(autoencoder, *parts):
    """Return figures as one tidy DataFrame of the columns autoencoder, measure, channel (None: of all) and value.

    autoencoder: its name; parts: DataFrames with one row a channel, and {measure: value}.
    """
    rows = []
    for part in parts:
        if isinstance(part, dict):
            rows += [(autoencoder, measure, None, float(value)) for measure, value in part.items()]
        else:
            rows += [(autoencoder, m, k, float(v)) for m, column in part.items() for k, v in enumerate(column)]
    return pandas.DataFrame(rows, columns=["autoencoder", "measure", "channel", "value"]).astype({"channel": "Int64"})


def _frames(latents):
    """Return all frames (n, E) of a list of (E, T) in float64."""
    return torch.cat(list(latents), dim=1).T.double()
