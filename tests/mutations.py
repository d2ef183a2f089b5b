"""Mistakes that the tests must notice: `python tests/mutations.py [NAME ...]` makes each in a copy and shows what notices.

A mutation replaces one piece of text, which occurs once in its file; the tests named beside it are run, and at least one
has to fail. Before any mistake all of those tests have to pass. The exit status is the number of mistakes that nobody noticed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SAMPLERS, PRIORS, TARGETS = (f"rovolad_lib/diffusion/{name}.py" for name in ("samplers", "priors", "targets"))
SCHEDULES, GUIDANCE = "rovolad_lib/diffusion/schedules.py", "rovolad_lib/diffusion/guidance.py"
BATCHES, MANIFEST, RECORDS = (f"rovolad_lib/{name}.py" for name in ("speech/batches", "speech/manifest", "lab/records"))
TRAIN, CHECKPOINTS, FILES = (f"rovolad_lib/{name}.py" for name in ("train", "checkpoints", "files"))
OBJECTIVE, MEAN, SAMPLING = "rovolad_lib/denoiser/objective.py", "rovolad_lib/denoiser/mean.py", "rovolad_lib/sampling.py"


class Mutation(NamedTuple):
    """A mistake: its name, the file, the text there, the text in its place, and the tests of which one must fail."""

    name: str
    path: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation("the next time handed to the denoiser", SAMPLERS, "x0 = predict(x, s)", "x0 = predict(x, t)", "diffusion"),
    Mutation("missing w term", SAMPLERS, "math.sqrt(max(t.c**2 - w**2, 0.0)) / s.c", "t.c / s.c", "diffusion"),
    Mutation("ddof of one", GUIDANCE, "keepdim=True) / count).sqrt()", "keepdim=True) / (count - 1)).sqrt()",
             "diffusion"),
    Mutation("swapped a and b of a bridge", PRIORS, "return a, scale * (1 - share),", "return scale * (1 - share), a,",
             "diffusion"),
    Mutation("swapped a and b in training", OBJECTIVE, 'a * y + b * batch["x0"]', 'b * y + a * batch["x0"]',
             "denoiser/test_objective.py"),
    Mutation("a grid that stops before the end", SCHEDULES,
             "torch.linspace(1, 0, n + 1, dtype=torch.float64)\n    if spacing in",
             "torch.linspace(1, 0, n + 2, dtype=torch.float64)[:-1]\n    if spacing in", "diffusion"),
    Mutation("trailing timesteps off by one", SCHEDULES, "(total / n)).round() - 1",
             "(total / n)).round().clamp(max=total - 1)",
             "diffusion/test_schedules.py"),
    Mutation("a table read off by one", SCHEDULES, "knots = torch.cat([table.new_ones(1), table])",
             "knots = torch.cat([table, table[-1:]])", "diffusion/test_schedules.py"),
    Mutation("unmasked mean of a deviation", GUIDANCE, "mean = (x * weight).sum(dims, keepdim=True) / count",
             "mean = x.mean(dims, keepdim=True)", "diffusion/test_guidance.py"),
    Mutation("unmasked mean of the loss", OBJECTIVE, "(error.square() * mask[:, None]).sum()", "error.square().sum()",
             "test_padding.py denoiser/test_objective.py"),
    Mutation("unmasked mean of a voice", "rovolad_lib/denoiser/layers.py", "x.masked_fill(~mask[:, None], 0).sum(",
             "x.sum(", "denoiser/test_mean.py test_padding.py"),
    Mutation("unmasked robot in the prior's mean", MEAN,
             "centred if mask is None else centred.masked_fill(~mask[:, None], 0)",
             "centred", "test_padding.py denoiser/test_mean.py"),
    Mutation("unmasked deviation of a clip", OBJECTIVE, 'deviation(x, inputs.get("mask"))', "deviation(x)",
             "test_padding.py"),
    Mutation("guidance that measures padding", SAMPLING, "guidance, rescale, mask, interval)",
             "guidance, rescale, None, interval)",
             "test_padding.py"),
    Mutation("eta ignored", SAMPLERS, "else eta * limits[step]", "else limits[step]", "diffusion/test_samplers.py"),
    Mutation("the published second difference as the default", SAMPLERS, "1 if published else 2", "1",
             "diffusion/test_samplers.py"),
    Mutation("a wrong weight of the slope", SAMPLERS, "second = first / h - 1", "second = first / h - 0.99",
             "diffusion/test_samplers.py"),
    Mutation("history the wrong way round", SAMPLERS, "history.appendleft(", "history.append(",
             "diffusion/test_samplers.py"),
    Mutation("a bridge that starts without noise", SAMPLERS, "w = t.c if s.c == 0 and boot",
             "w = 0.0 if s.c == 0 and boot",
             "diffusion/test_samplers.py"),
    Mutation("large variance the wrong way round", SAMPLERS, "w * s.c / t.c if large", "w * t.c / s.c if large",
             "diffusion/test_samplers.py"),
    Mutation("a bridge's limit from squares", PRIORS,
             "(share * (1 - share / self._progress(s)[3]).clamp_min(0)).sqrt()",
             "(share * (1 - (share / self._progress(s)[3]) ** 2).clamp_min(0)).sqrt()", "diffusion"),
    Mutation("input scale forgotten", PRIORS, "self.scale * gamma.sqrt()", "gamma.sqrt()", "diffusion"),
    Mutation("every item under the first prior", PRIORS, "values[self.kind.to(values.device),",
             "values[0 * self.kind.to(values.device),",
             "diffusion/test_priors.py"),
    Mutation("v with the other sign", TARGETS, "signal * noise - spread * x0", "signal * noise + spread * x0",
             "diffusion/test_targets.py"),
    Mutation("a covariance forgotten", TARGETS, "- 2 * a * (1 - b) * cov", "", "diffusion/test_targets.py"),
    Mutation("terminal signal left", SCHEDULES, "(root - root[-1]) *", "(root - 0.9 * root[-1]) *",
             "diffusion/test_schedules.py"),
    Mutation("scale one computed", GUIDANCE, "if scale == 1:\n        return conditional",
             "if scale == -1:\n        return conditional",
             "diffusion/test_guidance.py"),
    Mutation("a deviation of nothing divided by", GUIDANCE,
             "torch.where(present > 0, wanted / torch.where(present > 0, present, 1.0), 1.0)",
             "wanted / present", "diffusion/test_guidance.py"),
    Mutation("guidance outside its interval", GUIDANCE, "if not always and not low", "if always and not low",
             "diffusion/test_guidance.py"),
    Mutation("the null estimate in the voice's state", SAMPLING, "estimate(x - a * (y - blank), t, blank,",
             "estimate(x, t, blank,",
             "test_convert.py"),
    Mutation("a voice kept in the null's mean", SAMPLING, "estimate.mean(robot, mask=mask)",
             "estimate.mean(robot, context, heard, mask)",
             "test_convert.py"),
    Mutation("the wrong prior told", SAMPLING, "of.index(True)", "1 - of.index(True)", "test_convert.py"),
    Mutation("a dropped voice kept in the mean", MEAN, "torch.where(drop[:, None, None], y, spoken)", "spoken",
             "denoiser/test_mean.py"),
    Mutation("padding as a neighbour", MEAN, "alike.masked_fill(~real[:, None], -torch.inf)", "alike", "denoiser/test_mean.py"),
    Mutation("neighbours in channels that say nothing", MEAN, "self.content @ frames", "frames", "denoiser/test_mean.py"),
    Mutation("canonical directions of nothing", MEAN, "directions * share.clamp(min=0).sqrt()", "directions",
             "denoiser/test_mean.py"),
    Mutation("neighbours for what they are not like", MEAN, "+ lacking * y", "", "denoiser/test_mean.py"),
    Mutation("a prior's mean of what the network hears alone", SAMPLING, "estimate.mean(robot, *known, mask)",
             "estimate.mean(robot, context, heard, mask)", "test_convert.py"),
    Mutation("a mean of its own never learned from", OBJECTIVE, 'if "whole" in batch else', 'if "wholes" in batch else',
             "denoiser/test_objective.py"),
    Mutation("a forming sample that is not the one", SAMPLING, "shown if callback and match else callback", "callback",
             "lab/test_studio.py"),
    Mutation("a voice matched on none of the way", SAMPLING, ".clamp(min=1e-6)) ** share", ".clamp(min=1e-6)) ** 0",
             "test_convert.py"),
    Mutation("a pitch told on half of the line", "rovolad_lib/convert.py", "* 2**octaves", "", "lab/test_material.py"),
    Mutation("neighbours around no mean", MEAN, "context - voice, mask, context_mask", "context, mask, context_mask",
             "denoiser/test_mean.py"),
    Mutation("the first step never trained", OBJECTIVE, "(0.05 if self.times", "(0.0 if self.times",
             "denoiser/test_objective.py"),
    Mutation("a network without the robot that hears no state", OBJECTIVE, 'if self.inside.config["condition"] else',
             "if True else", "denoiser/test_objective.py"),
    Mutation("the state's own move forgotten", SAMPLERS, "(x0 - estimate) + moved) / point.c", "(x0 - estimate)) / point.c",
             "diffusion/test_samplers.py"),
    Mutation("a reference taken for another", "rovolad_lib/convert.py", "sha256(item.cpu().contiguous().numpy()).digest()",
             "len(item)", "test_convert.py"),
    Mutation("sentences as loud as the network likes", "rovolad_lib/convert.py", "if raised is None and", "if",
             "test_convert.py"),
    Mutation("references with a seam inside a patch", "rovolad_lib/convert.py",
             "[:, : min(part.shape[1] // patch, share) * patch]", "[:, : share * patch]", "test_convert.py"),
    Mutation("a bridge entered below t = 1", SAMPLING, "if times[0] < 1 and", "if times[0] < 0 and", "test_convert.py"),
    Mutation("noise as the target without signal", OBJECTIVE, "b < 1e-3 * c", "b < 1e-9 * c", "denoiser/test_objective.py"),
    Mutation("nothing said where noise is the target", TARGETS, "silent = y if prior.uses_y else torch.zeros_like(noisy)",
             "silent = torch.zeros_like(noisy)", "diffusion/test_targets.py"),
    Mutation("long clips refused in training", OBJECTIVE, '{"windows": True}', "{}", "denoiser/test_objective.py"),
    Mutation("a dropped voice scaled as a heard one", OBJECTIVE, "pairs[k], pairs[k + 2]", "pairs[k], pairs[k]",
             "denoiser/test_objective.py"),
    Mutation("zeros in front that no stride fits", BATCHES, "spare // 2}[mode] // multiple * multiple", "spare // 2}[mode]",
             "speech/test_batches.py"),
    Mutation("in front and behind exchanged", BATCHES, '{"pre": spare, "post": 0,', '{"pre": 0, "post": spare,',
             "speech/test_batches.py"),
    Mutation("zeros behind taken for speech", BATCHES, "real[lead : lead + item.shape[1]] = True", "real[lead:] = True",
             "speech/test_batches.py"),
    Mutation("every batch draws the same", BATCHES, "default_rng([self.seed, 1, i])", "default_rng([self.seed, 1])",
             "speech/test_batches.py"),
    Mutation("every epoch in the same order", BATCHES, "[self.seed, stream, at]", "[self.seed, stream]",
             "speech/test_batches.py"),
    Mutation("an utterance twice in a batch", BATCHES, "few, replace=False)", "few, replace=True)", "speech/test_batches.py"),
    Mutation("an order kept from another epoch", BATCHES, "(None,))[0] != at", "(None,))[0] is None", "speech/test_batches.py"),
    Mutation("one-off rows in where they are out", BATCHES, "self._rows[: self._starts[-1]]\n", "self._rows[:]\n",
             "speech/test_batches.py"),
    Mutation("the last batch of an epoch lost", BATCHES, "-(-self._voices // (speakers - self._reserved))",
             "max(1, self._voices // (speakers - self._reserved))", "speech/test_batches.py"),
    Mutation("one corpus drawn alone", BATCHES, "random.integers(len(self._by_corpus), size=",
             "random.integers(1, size=", "speech/test_batches.py"),
    Mutation("one-off rows that come again too soon", BATCHES, "many, max(1, self._alone // many))", "many, 1)",
             "speech/test_batches.py"),
    Mutation("a way back in an absolute path", MANIFEST, ' | frame["path"].str.contains(UP, na=False)', "",
             "speech/test_manifest.py"),
    Mutation("an absolute path of a robot", MANIFEST, r'rf"{UP}|{ABSOLUTE}|\\|', r'rf"{UP}|\\|', "speech/test_manifest.py"),
    Mutation("ids that may not come in another corpus", MANIFEST, 'frame.duplicated(["corpus", "id"])',
             'frame.duplicated(["id"])', "speech/test_manifest.py"),
    Mutation("a fingerprint blind to words", MANIFEST, '"sample_rate", "text", "language", "split", "robot_method",\n)',
             '"sample_rate", "language", "split", "robot_method",\n)', "speech/test_manifest.py"),
    Mutation("a fingerprint of places", MANIFEST, "frame[list(AFFECTS_RESULTS)]", 'frame[[*AFFECTS_RESULTS, "path"]]',
             "speech/test_manifest.py"),
    Mutation("too few to train on", MANIFEST, "share < 0.8", "share < 0.7", "speech/test_manifest.py"),
    Mutation("a split that knows no speaker", MANIFEST, "{speaker or ''}/{id}", "{id}", "speech/test_manifest.py"),
    Mutation("a long recording uncut", MANIFEST, "data), start=row.start, end=row.end)", "data))", "speech/test_manifest.py"),
    Mutation("another rate of what has one", MANIFEST, ' and row.robot_method == "espeak"', "", "speech/test_manifest.py"),
    Mutation("durations unlooked at", MANIFEST, ".abs() > ROUNDING_S", ".abs() > 1e9", "speech/test_manifest.py"),
    Mutation("a start before zero", MANIFEST, '(frame["start"] < 0) | ', "", "speech/test_manifest.py"),
    Mutation("no samples a second", MANIFEST, 'frame["sample_rate"] <= 0', 'frame["sample_rate"] < 0', "speech/test_manifest.py"),
    Mutation("a speaker of two corpora", MANIFEST, ".gt(1)", ".gt(2)", "speech/test_manifest.py"),
    Mutation("a frame map that begins at nothing", MANIFEST, "frames.cumsum(dtype=numpy.int32)", "frames.astype(numpy.int32)",
             "speech/test_manifest.py"),
    Mutation("a run named by its machine", RECORDS, '"results", "device", "force"', '"results", "force"', "lab/test_records.py"),
    Mutation("a run of any code", RECORDS, "fingerprint, _plain(recipe)]", "fingerprint]", "lab/test_records.py"),
    Mutation("a run named by the order of words", RECORDS, "sort_keys=True, ", "", "lab/test_records.py"),
    Mutation("figures that are none", RECORDS, "not math.isfinite(value) else", "False else", "lab/test_records.py"),
    Mutation("smoke among the answers", RECORDS, ' | (frame["parameters.preset"] == "smoke")', "", "lab/test_records.py"),
    Mutation("other data in one group", RECORDS, '["data.fingerprint", *fixed]', "fixed", "lab/test_records.py"),
    Mutation("many records before many values", RECORDS, "(_keys(part, moving).nunique(), len(part),",
             "(len(part), _keys(part, moving).nunique(),", "lab/test_records.py"),
    Mutation("the older of two groups", RECORDS, 'part["when"].max()', '""', "lab/test_records.py"),
    Mutation("folders in a record", RECORDS, " if k not in PLACES}", "}", "lab/test_records.py"),
    Mutation("a study that leaves its folder", RECORDS, r'r"\w[\w.-]*"', r'r"[\w./-]*"', "lab/test_records.py"),
    Mutation("seeds that are not compared", RECORDS, 'NO_EFFECT | {"seed"}', "NO_EFFECT", "lab/test_records.py"),
    Mutation("smoke in the committed results", RECORDS, "if demo_or_smoke and", "if not demo_or_smoke and",
             "lab/test_records.py"),
    Mutation("a resumed run seeded anew", TRAIN, "seed * 1_000_003 + i", "seed * 1_000_003 + i - first", "test_train.py"),
    Mutation("the newest checkpoint alone", CHECKPOINTS, "os.replace(run / NEWEST, run / BEFORE)", "pass", "test_train.py"),
    Mutation("an explosion unseen", TRAIN, "EXPLODED = 100 ", "EXPLODED = 1e9 ", "test_train.py"),
    Mutation("a share of the wrong process", TRAIN, "+ rank * size) % items", "+ 0 * size) % items", "test_train.py"),
    Mutation("an error that names a part", FILES, "str(error), str(path)) from", "str(error), named) from", "test_faults.py"),
    Mutation("steep betas uncut", SCHEDULES, ").clamp(max=0.999)", ")", "diffusion/test_schedules.py"),
    Mutation("no least signal", SCHEDULES, "/ (last - first)).clamp(SMALLEST_GAMMA, 1)", "/ (last - first)).clamp(0, 1)",
             "diffusion/test_schedules.py"),
    Mutation("noise levels the wrong way round", SCHEDULES, "math.exp(-low / rho), math.exp(-high / rho)",
             "math.exp(low / rho), math.exp(high / rho)", "diffusion/test_schedules.py"),
    Mutation("the pitch of a dropped voice", "rovolad_lib/denoiser/model.py", "else (pitch > 0) & ~drop", "else pitch > 0",
             "denoiser/test_model.py"),
    Mutation("a robot as high as what is told", "rovolad_lib/convert.py", "return [ROBOT_F0] * len(f0s), {", "return f0s, {",
             "test_convert.py"),
    Mutation("a context that ignores the batch's crop", "rovolad_lib/speech/pairs.py", "person[:, start + crop :]",
             "person[:, start + self.shortest :]", "speech/test_pairs.py"),
    Mutation("a copy as high as its original", "rovolad_lib/lab/material.py", "found[tuple(which)] * speed for",
             "found[tuple(which)] for", "lab/test_material.py"),
]  # fmt: skip


def copy(folder):
    """Copy what the tests need, as it stands, into a folder."""
    for name in ("rovolad_lib", "tests", "data_prep"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def killer(mutation, folder):
    """Return the test that fails with a mutation made in a copy, or None; the copy is mended afterwards."""
    path = folder / mutation.path
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        found = text.count(mutation.old)
        raise ValueError(f"{mutation.name}: {mutation.old!r} occurs {found} times in {mutation.path}, not once")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    found = failing(mutation.tests, folder)
    path.write_text(text, encoding="utf-8")
    return found


def failing(tests, folder):
    """Return the first of the tests, named as in a Mutation, that fails in a copy, or None."""
    tests = [f"tests/{name}" for name in tests.split()]
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-k", "not diffusers", *tests]
    environment = os.environ | {"PYTHONPATH": str(folder), "HYPOTHESIS": "first"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.M)
    if done.returncode not in (0, 1) or (done.returncode == 1) != bool(found):
        raise RuntimeError(f"pytest {' '.join(tests)} ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return found[1] if found else None


def main(names):
    """Make the named mutations, or all; return how many nobody noticed."""
    unnoticed, chosen = 0, [m for m in MUTATIONS if not names or m.name in names]
    with tempfile.TemporaryDirectory() as folder:
        copy(Path(folder))
        for tests in dict.fromkeys(mutation.tests for mutation in chosen):
            if found := failing(tests, Path(folder)):  # it would be taken for one that notices
                raise RuntimeError(f"{found} fails without any mutation")
        for mutation in chosen:
            by = killer(mutation, Path(folder))
            unnoticed += by is None
            print(f"{mutation.name} -> {by or 'NOT NOTICED'}", flush=True)
    return unnoticed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
