"""One experiment of the studies: latents, a denoiser trained under one setting, its scores and its record."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from rovolad_lib import autoencoder, denoiser, diffusion, speech, train
from rovolad_lib.autoencoder.model import Autoencoder
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.denoiser.objective import Denoising, Estimator
from rovolad_lib.diffusion.named import BOTH, prior_of, priors_of
from rovolad_lib.files import sha256
from rovolad_lib.lab import finetune, material, presets, records, runs, score
from rovolad_lib.lab.data import Data
from rovolad_lib.lab.setting import LATER, Setting
from rovolad_lib.speech import latents
from rovolad_lib.speech.pairs import Pairs, beside

SCORING = ("steps", "guidance", "sampler")  # decide how a network is heard, not what it learns


@dataclass(frozen=True)
class Encoded:
    """Data with its latents: `keep`, positions to train on; `lost`, positions whose (speaker, text) is never trained on;
    `robot_codec`: the robot's autoencoder where it has one of its own."""

    data: Data
    autoencoder: Autoencoder
    latents: latents.Latents
    keep: list
    lost: list
    robot_codec: Autoencoder | None = None


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


def fit(encoded, setting, preset, run, seed=0, device="cpu", length=None, force=False, study=False, **further):
    """Train a denoiser under a Setting, or load the finished one; return (Denoiser, train.Fit).

    preset, study: of lab.presets.denoiser; run: folder of its checkpoints; length: fixed batch length in frames or None;
    further: of train.fit, in the place of the preset's.
    """
    size = presets.denoiser(preset, encoded.data.demo, study)
    model, pairs, step = prepare(encoded, setting, size, seed, length)
    model.notes["preset"] = preset
    # equal steps for a study's runs
    options = {"plan": Path(run).parent / f"budget-{preset}-{setting.budget:g}-{encoded.data.fingerprint}.json"}
    options |= {"lr": size["lr"] * (finetune.GENTLER if setting.start else 1), "seed": seed, "device": device, "force": force}
    budget = {name: max(1, round(value * setting.budget)) for name, value in size["budget"].items()}
    fitted = train.fit(model, step, pairs, run, **budget | options | further)
    if setting.start:
        finetune.keep(model, Denoiser.load(setting.start), setting.kept)
    return model, fitted


def prepare(encoded, setting, size, seed=0, length=None):
    """Return (Denoiser, Pairs, step): an untrained network under a Setting, its mean fitted, its batches, and its losses.

    size: of lab.presets.denoiser; length: as of `fit`.
    """
    facts = provenance(encoded.data.table.loc[encoded.keep])
    if setting.copies == "on":  # to learn from, and for nothing else
        encoded = material.copied(encoded)
    table = encoded.data.table
    voices = sorted(table.speaker[encoded.keep].dropna().unique()) if setting.speakers == "on" else []
    told, encoder = score.told(encoded.data, setting.description, voices)
    parts = {"backbone": setting.backbone, "context": setting.context, "condition": setting.condition == "on"}
    parts |= {"priors": len(priors_of(setting.prior)), "speakers": len(voices), "neighbours": setting.neighbours}
    parts["text"], parts["pitch"] = told["text"][0].shape[1] if encoder else 0, setting.pitch == "told"
    told |= {"pitch": material.pitches(encoded)} if setting.pitch == "told" else {}
    torch.manual_seed(seed)
    model = Denoiser(channels=encoded.autoencoder.channels, patch=2, **parts, **size["model"])
    if setting.start:
        facts |= finetune.begin(model, setting.start, facts)
    crop = (setting.shortest + setting.crop) / 2 if setting.shortest else setting.crop
    typical = length or float(encoded.latents.lengths()[encoded.keep].clamp(max=crop).float().mean())
    items = setting.batch or min(size["batch"], int(size["frames"] / typical))
    options = {"batch": items, "seed": seed, "length": length, "context_frames": setting.heard, **told}
    pairs = batches(encoded, setting, encoded.keep, model, oneoff_share=setting.oneoff_share, **options)
    fit_mean(model.mean, pairs, encoded, setting)
    prior, objective = setting.named(float(model.mean.residual.mean().sqrt())), setting.objective()
    if setting.target != "preconditioned":  # which knows the residual alone
        objective["moments"] = model.mean.moments
    model.notes = {
        "prior": prior, "objective": objective, "autoencoder": encoded.autoencoder.fingerprint(), "seed": seed,
        "data": encoded.data.fingerprint, "setting": asdict(setting), "length": length,
        "text_encoder": encoder, "speakers": voices,
    }  # fmt: skip
    model.notes |= facts
    return model, pairs, Denoising(*priors_of(prior), **objective)


def batches(encoded, setting, keep, model, **options):
    """Return Pairs of the utterances `keep` as a Setting has them, for a Denoiser; options: of Pairs, of their own."""
    given = {
        "align": setting.align, "mode": setting.pad, "masked": setting.mask != "off", "multiple": max(2, model.stride),
        "references": setting.references, "dropout": setting.dropout, "oneoff": setting.oneoff, "crop": setting.crop,
        "shortest": setting.shortest, "whole": setting.whole,
    }  # fmt: skip
    return Pairs(encoded.latents, encoded.data.table, keep, **given | options)


def fit_mean(mean, pairs, encoded, setting, most=2000):
    """Fit the prior's mean on at most `most` training utterances, each with a context drawn as in training.

    Those without one are left out, or, where nobody has one, all are fitted on without a voice.
    """
    random = torch.Generator().manual_seed(0)
    chosen = [encoded.keep[i] for i in torch.randperm(len(encoded.keep), generator=random)[:most].tolist()]
    items = []
    for i in chosen:
        person, said, frame_map = encoded.latents[i]
        said = beside(person, said, frame_map, "linear" if setting.align == "none" else setting.align)
        context = pairs.known(i, random)
        items.append((said, person, context if context.shape[1] else None))
    heard = [item for item in items if item[2] is not None]
    robots, people, contexts = zip(*(heard or items), strict=True)
    return mean.fit(robots, people, contexts if heard and setting.voice == "on" else None, form=setting.mapped)


def x0_errors(encoded, setting, model, rows, length=None, most=64):
    """Return {"ln(b/c)": mean square error of x0} on up to `most` of the utterances `rows`, the same noise in every run.

    Losses of other targets cannot be compared, these can. Only noise levels that the path has are there, none on a path
    without noise; a network of several priors answers under the robot's.
    """
    prior = prior_of(model.notes["prior"])[0]
    levels = [level for level in (-4.0, -2.0, 0.0, 2.0, 4.0) if prior.log_snr(1.0) <= level <= prior.log_snr(0.0)]
    if prior.coefficients(0.5)[2] == 0 or not levels:
        return {}
    options = {"batch": most, "length": length, "dropout": 0.0, **score.told_to(model, encoded.data)}
    options |= {"pitch": material.pitches(encoded)} if model.config["pitch"] else {}
    batch = batches(encoded, setting, rows, model, **options)[0]
    kind = torch.full((len(batch["x0"]),), BOTH.index("robot")) if setting.prior == "both" else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = Estimator(model, prior, kind, **model.notes["objective"]).x0_errors(batch, levels)
    return {f"{level:g}": error for level, error in found.items()}


def decides(p, data, autoencoder, study=False, **chosen):
    """Return everything that decides a denoiser's numbers beside data and code, for its run id and its record.

    study: of lab.presets.denoiser; chosen: what takes the place of the parameters. ValueError where one is still `all`.
    """
    given = p.as_dict() | chosen
    if several := [name for name, value in given.items() if value == "all"]:
        raise ValueError(f"one value each is accepted here for {', '.join(several)}, got all")
    sizes = presets.denoiser(p.preset, data.demo, study)
    fixed = {"corpus": data.name, "autoencoder": autoencoder.fingerprint(), "sizes": sizes}
    plain = asdict(Setting())
    made = plain | p.as_dict() | fixed | chosen
    if made["start"] is not None:
        made["start"] = sha256(made["start"])[:12]  # what it holds, not where it lies
    return {name: value for name, value in made.items() if name not in LATER or value != plain[name]}


def experiment(study, encoded, chosen, p, results, device, further=None, heard=None):
    """Train or load a denoiser under one choice of the studied parameters, score it on validation takes, and keep the record.

    study: name; chosen: dict name -> value, fields of Setting, or of SCORING, whose choices are heard of one network,
    trained once; p: the notebook's Parameters; results: folder; further: (encoded, setting, model, rows, heard, waves,
    seed, **SCORING) -> dict of parts of the record, which go beside what is always there; heard: of score.panel, None: the
    judges of this very data.
    Returns (record, waves): the record as saved and the wave of each scored utterance.
    """
    parameters = decides(p, encoded.data, encoded.autoencoder, True, **chosen)
    trains = {name: value for name, value in parameters.items() if name not in SCORING or name not in chosen}
    run_id = records.run_id(study, parameters, encoded.data.fingerprint, recipe())
    setting = Setting(**{k: v for k, v in parameters.items() if k in Setting.__dataclass_fields__})
    encoded = material.under(encoded, setting)
    length = None if setting.mask == "on" else longest(encoded)
    rows = score.testable(encoded, "val_seen")[: 12 if p.preset == "smoke" else 400]
    run = runs.begin(study, trains, encoded.data.fingerprint, recipe())
    model, fitted = fit(encoded, setting, p.preset, run, p.seed, device, length, p.force, True)
    model, heard = model.cpu(), heard or score.panel(encoded, p.preset, results / "models")
    options = {name: parameters[name] for name in SCORING if name in parameters}
    waves = score.speak(encoded, model, rows, seed=p.seed, references=min(3, setting.references), **options)
    scored = score.scores(waves, encoded, rows, heard).drop(columns="utterance")
    record = {
        "study": study, "run_id": run_id, "parameters": parameters | chosen, "recipe": recipe(), "seconds": fitted.seconds,
        "data": {"fingerprint": encoded.data.fingerprint, "demo": encoded.data.demo, "clips": len(rows)}, "steps": fitted.steps,
        "device": device, "metrics": scored.mean().to_dict(), "units": score.units(scored, heard),
        "deviation": scored.sem().to_dict(), "x0_error": x0_errors(encoded, setting, model, rows, length),
    }  # fmt: skip
    for name, part in (further(encoded, setting, model, rows, heard, waves, p.seed, **options) if further else {}).items():
        record[name] = record.get(name, {}) | part
    records.save(record, results)
    return record, waves


def provenance(table):
    """Return where the training speech is from: corpus, sources, languages and licence, for a model's file."""
    sources, licences, languages = (sorted(table[column].unique()) for column in ("source", "licence", "language"))
    said = {"corpus": ", ".join(table.corpus.unique()), "sources": ", ".join(sources), "licence": ", ".join(licences)}
    return said | {"languages": languages}


def longest(encoded, most=192):
    """Return the frames of the longest training item, person or robot, at most `most`, even: the length of unmasked batches."""
    frames = max(max(part.shape[1] for part in encoded.latents[i][:2]) for i in encoded.keep)
    return min(most, frames + frames % 2)
