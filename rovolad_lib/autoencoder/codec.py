"""Lists of waves and latents of unequal lengths through an autoencoder, in batches of like length."""

import torch

from rovolad_lib.speech.audio import set_level


def decode_latents(model, items, batch=32, **how):
    """Return waves (S,) of a list of latents (E, T), decoded in batches of like length; how: head, iterations of `decode`."""
    order, waves = sorted(range(len(items)), key=lambda k: items[k].shape[1]), [None] * len(items)
    for at in range(0, len(order), batch):
        chosen = order[at : at + batch]
        lengths = torch.tensor([items[k].shape[1] for k in chosen])
        padded = torch.nn.utils.rnn.pad_sequence([items[k].T for k in chosen], batch_first=True).mT  # (N, E, T)
        for k, wave, length in zip(chosen, model.decode(padded, lengths, **how), lengths.tolist(), strict=True):
            waves[k] = wave[: length * model.hop] / wave.abs().max().clamp(min=1)
    return waves


def recode(model, waves, **how):
    """Return what is left of waves (S,) after the autoencoder: a list of (S,); how: head, iterations of `decode`."""
    made = decode_latents(model, encode_waves(model, waves), **how)
    return [new[: len(old)] for new, old in zip(made, waves, strict=True)]


def encode_waves(model, waves, batch=32):
    """Return latents (E, T) of waves (S,), each first set to the house's level."""
    coded = []
    for at in range(0, len(waves), batch):
        part = [set_level(w) for w in waves[at : at + batch]]
        lengths = torch.tensor([len(w) for w in part])
        latent = model.encode(torch.nn.utils.rnn.pad_sequence(part, batch_first=True), lengths)
        coded += [z[:, : -(-int(n) // model.hop)] for z, n in zip(latent, lengths, strict=True)]
    return coded
