"""One experiment of the studies: latents, a denoiser trained under one setting, its scores and its record."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from rovolad_lib import autoencoder, denoiser, diffusion, speech, train
from rovolad_lib.autoencoder.model import Autoencoder
from rovolad_lib.convert import BOTH, priors_of
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.denoiser.objective import Denoising
from rovolad_lib.lab import presets, records, score
from rovolad_lib.lab.data import Data
from rovolad_lib.lab.paths import RUNS
from rovolad_lib.speech import latents
from rovolad_lib.speech.pairs import Pairs, beside


@dataclass(frozen=True)
class Setting:
    """What the ablations vary; the names and values of `lab.params`, and below them what only the prior's studies vary.

    The robot reaches the network as prior (prior robot or mixed), as condition, as both, or as neither: prior gaussian,
    condition off, and mapped none, or else it would come in by the mean. target, normalise, mapped, voice: see
    denoiser.objective; noise: of robot and mixed, in deviations of the residual (None: 1, a latent's own deviation); path:
    kind of the bridge or form of the mixed prior; end: of the bridge; schedule, scale: of the gaussian prior, schedule also
    of the diffvc form; None: as the prior has it.
    """

    pad: str = "post"
    mask: str = "on"
    align: str = "dtw"
    prior: str = "robot"
    condition: str = "on"
    backbone: str = "transformer_te"
    context: str = "cross"
    dropout: float = 0.1
    references: int = 4
    target: str = "preconditioned"
    normalise: str = "known"
    mapped: str = "ridge"
    voice: str = "on"
    noise: float | None = None
    path: str | None = None
    end: str | None = None
    schedule: str | None = None
    scale: float | None = None

    def objective(self):
        """Return the options of denoiser.objective.Estimator."""
        return {"target": self.target, "normalise": self.normalise, "mapped": self.mapped, "voice": self.voice == "on"}

    def named(self, deviation):
        """Return what `convert.prior_of` takes; deviation: of the residual that the prior's mean leaves.

        ValueError for a field that has no meaning under the prior.
        """
        given = {name: getattr(self, name) for name in ("noise", "path", "end", "schedule", "scale")}
        given = {name: value for name, value in given.items() if value is not None}
        own = {
            "gaussian": {"schedule": "schedule", "scale": "scale"},
            "robot": {"noise": "noise", "path": "kind", "end": "end"},
            "mixed": {"noise": "noise", "path": "form"} | ({"schedule": "schedule"} if self.path == "diffvc" else {}),
        }
        parts = {prior: own[prior] for prior in (BOTH if self.prior == "both" else (self.prior,))}
        if lost := [name for name in given if not any(name in part for part in parts.values())]:
            accepted = ", ".join(name for part in parts.values() for name in part)
            raise ValueError(f"{', '.join(lost)} has no meaning under prior {self.prior!r}; accepted: {accepted}")
        if "noise" in given:
            given["noise"] *= deviation
        chosen = {p: {k: given[name] for name, k in part.items() if name in given} for p, part in parts.items()}
        chosen = {p: options for p, options in chosen.items() if options}
        return {"name": self.prior, **(chosen if self.prior == "both" else chosen[self.prior])} if chosen else self.prior


# fields that came after the first records: left out where they stand at their defaults, so that those keep their run ids
LATER = ("target", "normalise", "mapped", "voice", "noise", "path", "end", "schedule", "scale")


@dataclass(frozen=True)
class Encoded:
    """Data with its latents: `keep`, positions to train on; `lost`, positions whose (speaker, text) is never trained on."""

    data: Data
    autoencoder: Autoencoder
    latents: latents.Latents
    keep: list
    lost: list


def recipe():
    """Return package -> RECIPE of the code that decides a denoiser's numbers."""
    parts = {"speech": speech, "autoencoder": autoencoder, "diffusion": diffusion, "denoiser": denoiser, "train": train}
    return {name: part.RECIPE for name, part in parts.items()}


def encode(data, model, lose=2):
    """Return Encoded: the data's latents, made once, and what may be trained on.

    lose: in a closed vocabulary (each speaker says each text, more than four texts) every training speaker loses so
    many texts, each another pair, so that unheard words can be scored.
    """
    name = f"{data.fingerprint}-{model.fingerprint()}-{speech.RECIPE}.{autoencoder.RECIPE}"
    path = data.folder / "latents" / f"{name}.safetensors"
    held = latents.encode(data.table, data.folder, model.encode, path, model.hop)
    table = data.table
    said = table.robot_method == "espeak"  # a flattened recording would teach to keep a voice, not to give one
    trained = table.index[(table.split == "train") & (said if said.any() else True)].tolist()
    gone = _lost_words(table.loc[trained], lose)
    lost = [i for i in table.index if (table.speaker[i], table.text[i]) in gone]
    return Encoded(data, model, held, [i for i in trained if i not in set(lost)], lost)


def _lost_words(table, lose):
    """Return the set of (speaker, text) that training goes without."""
    table = table[["speaker", "text"]].dropna()
    speakers, texts = sorted(table.speaker.unique()), sorted(table.text.unique())
    closed = len(table.drop_duplicates()) == len(speakers) * len(texts)
    if not closed or len(texts) <= 4:
        return set()
    return {(s, texts[(k * lose + j) % len(texts)]) for k, s in enumerate(speakers) for j in range(lose)}


def fit(encoded, setting, preset, run, seed=0, device="cpu", length=None, force=False):
    """Train a denoiser under a Setting, or load the finished one; return (Denoiser, train.Fit).

    preset: name in lab.presets.DENOISER; run: folder of its checkpoints; length: fixed batch length in frames or None.
    """
    size = presets.denoiser(preset, encoded.data.demo)
    parts = {"backbone": setting.backbone, "context": setting.context, "condition": setting.condition == "on"}
    parts["priors"] = len(priors_of(setting.prior))
    torch.manual_seed(seed)
    model = Denoiser(channels=encoded.autoencoder.channels, patch=2, **parts, **size["model"])
    typical = float(encoded.latents.lengths()[encoded.keep].clamp(max=128).float().mean()) if length is None else length
    pairs = Pairs(
        encoded.latents, encoded.data.table, encoded.keep, batch=min(size["batch"], int(size["frames"] / typical)), seed=seed,
        align=setting.align, mode=setting.pad, masked=setting.mask == "on", length=length, multiple=max(2, model.stride),
        references=setting.references, dropout=setting.dropout,
    )  # fmt: skip
    fit_mean(model.mean, pairs, encoded, setting)
    prior = setting.named(float(model.mean.residual.mean().sqrt()))
    model.notes = {
        "prior": prior, "objective": setting.objective(), "autoencoder": encoded.autoencoder.fingerprint(), "seed": seed,
        "preset": preset, "data": encoded.data.fingerprint, "setting": asdict(setting), "length": length,
    }  # fmt: skip
    model.notes |= provenance(encoded.data.table.loc[encoded.keep])
    options = {
        "plan": Path(run).parent / f"budget-{preset}-{encoded.data.fingerprint}.json"
    }  # equal steps for a study's runs
    options |= {"lr": size["lr"], "seed": seed, "device": device, "force": force}
    step = Denoising(*priors_of(prior), **setting.objective())
    return model, train.fit(model, step, pairs, run, **size["budget"], **options)


def fit_mean(mean, pairs, encoded, setting, most=2000):
    """Fit the prior's mean on at most `most` training utterances, each with a context drawn as in training."""
    random = torch.Generator().manual_seed(0)
    chosen = [encoded.keep[i] for i in torch.randperm(len(encoded.keep), generator=random)[:most].tolist()]
    robots, people, voices = [], [], []
    for i in chosen:
        person, said, frame_map = encoded.latents[i]
        said = beside(person, said, frame_map, "linear" if setting.align == "none" else setting.align)
        context = pairs.context(i, random)
        if context.shape[1]:
            robots.append(said), people.append(person), voices.append(context.mean(1))
    return mean.fit(robots, people, voices if setting.voice == "on" else None, form=setting.mapped)


def decides(p, data, autoencoder, **chosen):
    """Return everything that decides a denoiser's numbers beside data and code, for its run id and its record."""
    given = p.as_dict() | chosen
    if several := [name for name, value in given.items() if value == "all"]:
        raise ValueError(f"one value each is accepted here for {', '.join(several)}, got all")
    sizes = presets.denoiser(p.preset, data.demo)
    fixed = {"corpus": data.name, "autoencoder": autoencoder.fingerprint(), "sizes": sizes}
    return {k: v for k, v in asdict(Setting()).items() if k not in LATER} | p.as_dict() | fixed | chosen


def experiment(study, encoded, chosen, p, results, device):
    """Train or load a denoiser under one choice of the studied parameters, score it on validation takes, and keep the record.

    study: name; chosen: dict name -> value, fields of Setting; p: the notebook's Parameters; results: folder.
    Returns (record, waves): the record as saved and the wave of each scored utterance.
    """
    parameters = decides(p, encoded.data, encoded.autoencoder, **chosen)
    run_id = records.run_id(study, parameters, encoded.data.fingerprint, recipe())
    setting = Setting(**{k: v for k, v in parameters.items() if k in Setting.__dataclass_fields__})
    length = None if setting.mask == "on" else longest(encoded)
    rows = score.testable(encoded, "val_seen")[: 12 if p.preset == "smoke" else 400]
    model, fitted = fit(encoded, setting, p.preset, RUNS / study / run_id, p.seed, device, length, p.force)
    heard = score.panel(encoded, p.preset, results / "models")
    waves = score.speak(encoded, model.cpu(), rows, steps=p.steps, seed=p.seed)
    scored = score.scores(waves, encoded, rows, heard).drop(columns="utterance")
    record = {
        "study": study, "run_id": run_id, "parameters": parameters, "recipe": recipe(), "seconds": fitted.seconds,
        "data": {"fingerprint": encoded.data.fingerprint, "demo": encoded.data.demo, "clips": len(rows)}, "steps": fitted.steps,
        "device": device, "metrics": scored.mean().to_dict(), "units": score.units(scored, heard),
    }  # fmt: skip
    records.save(record, results)
    return record, waves


def provenance(table):
    """Return where the training speech is from: corpus, sources, languages and licence, for a model's file."""
    said = {
        name: sorted(table[column].unique())
        for name, column in (("sources", "source"), ("licences", "licence"), ("languages", "language"))
    }
    joined = {
        "corpus": ", ".join(table.corpus.unique()),
        "sources": ", ".join(said["sources"]),
        "licence": ", ".join(said["licences"]),
    }
    return joined | {"languages": said["languages"]}


def longest(encoded, most=192):
    """Return the frames of the longest training item, person or robot, at most `most`, even: the length of unmasked batches."""
    frames = max(max(part.shape[1] for part in encoded.latents[i][:2]) for i in encoded.keep)
    return min(most, frames + frames % 2)
