"""What a network costs: seconds of a training step, its peak memory, and how fast it speaks."""

import json

import torch

from rovolad_lib.files import replacing
from rovolad_lib.lab import benchmark, experiment, lengths, measure, presets, score
from rovolad_lib.speech.audio import SAMPLE_RATE


def paces(encoded, settings, preset, path, device="cpu", rounds=5):
    """Return {name: median seconds of a training step} of networks that take turns, timed once and kept in a file.

    settings: dict name -> Setting; preset: of lab.presets.denoiser, at a study's size; path: JSON file.
    """
    if not path.exists():
        size, calls = presets.denoiser(preset, encoded.data.demo, study=True), {}
        for name, setting in settings.items():
            model, pairs, step = experiment.prepare(encoded, setting, size)
            calls[name] = benchmark.training_step(model.to(device), step, _on(pairs[0], device))
        found = benchmark.take_turns(calls, rounds, device=device).median()
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(found.to_dict()), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def cost(encoded, setting, model, preset, rows, seed=0, **options):
    """Return {"parameters", "memory_mb", "times_real_time"} of a trained network, on this machine.

    memory: the peak of one training step above the idle process, in MiB (nan where not Linux); times real time: seconds of
    speech of `rows` a second of speaking it, robot to wave. options: of score.speak.
    """
    size = presets.denoiser(preset, encoded.data.demo, study=True)
    fresh, pairs, step = experiment.prepare(encoded, setting, size)
    memory = benchmark.peak_memory(train_once, fresh, step, pairs[0])
    watch = benchmark.Stopwatch(score.speak)
    waves = watch(encoded, model, rows, seed=seed, **options)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "memory_mb": float("nan") if memory is None else memory / 2**20,
        "times_real_time": sum(map(len, waves)) / SAMPLE_RATE / watch.seconds,
    }


def train_once(model, step, batch):
    """Take one training step."""
    benchmark.training_step(model, step, batch)()


def _on(batch, device):
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


class Trial:
    """What `experiment` asks for as `further` in the study of backbones: a portrait, the cost, and longer utterances.

    preset: of lab.presets; paces: of `paces`.
    """

    def __init__(self, preset, paces):
        self.preset, self.paces, self.portrait = preset, paces, measure.Portrait()

    def __call__(self, encoded, setting, model, rows, heard, waves, seed=0, **options):
        """Return parts of a record; arguments as `experiment` gives them."""
        told = self.portrait(encoded, setting, model, rows, heard, waves, seed, **options)
        spent = cost(encoded, setting, model, self.preset, rows[:64], seed, **options)
        told["cost"] = spent | {"training_step_s": self.paces[setting.backbone]}
        return told | {"longer": lengths.longer(encoded, model, rows, heard, seed=seed, **options)}
