"""What the study of priors says beside its main comparison is what its records say."""

import pandas

from rovolad_lib.lab import asides

NONE = pandas.DataFrame()
USUAL = {"seed": 0, "sampler": "ddpm", "without": None, "takes": "every", "budget": 1.0, "steps": 4}


def row(variant="robot", frechet=2.0, parts=None, similarity=0.5, **named):
    made = {f"parameters.{k}": v for k, v in (USUAL | named | {"variant": variant}).items()}
    made |= {"metrics.frechet": frechet, "metrics.speaker_similarity": similarity}
    return made | {f"parts.{k}.mel_distance": v for k, v in (parts or {}).items()}


def test_both_baselines_name_all_that_was_tried_at_one_seed_the_best_first():
    rows = [row(), row(sampler="ddim", frechet=1.5), row("robot_vp", 3.0), row("robot_x0", 0.1), row(seed=1, frechet=9)]
    rows += [row("gaussian", 4.0), row("gaussian, schedule linear, scale 0.5", 5.0)]
    rows += [row("gaussian", 0.1, budget=8.0), row("gaussian", 0.1, without="ann")]
    assert asides.lines(pandas.DataFrame(rows), NONE) == [
        "searched for gaussian, seed 0: gaussian 4.00, gaussian, schedule linear, scale 0.5 5.00",
        "searched for robot, seed 0: robot, ddim 1.50, robot 2.00, robot_vp 3.00",
    ]
    assert asides.lines(pandas.DataFrame(rows[:1]), NONE) == []


def test_left_out_speakers_are_paired():
    rows = [
        row(variant, frechet * k, similarity=0.5 * k, without=name)
        for variant, frechet in (("robot_x0", 2.0), ("gaussian_x0", 4.0)) for name, k in (("ann", 1.0), ("bob", 1.5))
    ]  # fmt: skip
    anchors = pandas.DataFrame([row("real", 0.5, similarity=1.0, without=w) for w in ("ann", "bob", "cid", None)])
    assert asides.lines(pandas.DataFrame([*rows, row()]), anchors) == [
        "speakers never heard, each left out once: frechet real 0.50, robot_x0 2.50, gaussian_x0 5.00; "
        "speaker similarity gaussian_x0 0.62, robot_x0 0.62, real 1.00; robot_x0 / gaussian_x0 0.50 (0.50 to 0.50)"
    ]
    assert asides.lines(pandas.DataFrame(rows[:2]), NONE) == []


def test_few_speakers_stand_beside_many_for_voices_heard_and_never_heard():
    parts = {"few": {"seen voice, said text": 1.0, "unseen voice, seen text": 3.0}, "many": {"seen voice, said text": 2.0}}
    parts["many"] |= {"seen voice, seen text": 4.0, "unseen voice, seen text": 1.5}
    rows = [row(seed=s, takes=t, frechet=f, parts=parts[t]) for t, f in (("few", 8.0), ("many", 2.0)) for s in range(2)]
    assert asides.lines(pandas.DataFrame(rows), NONE) == [
        "as many minutes of few speakers and of many: frechet few 8.00, many 2.00, few / many 4.00 (4.00 to 4.00); "
        "mel distance of seen voices few 1.00, many 3.00, few / many 0.33 (0.33 to 0.33); "
        "mel distance of unseen voices few 3.00, many 1.50, few / many 2.00 (2.00 to 2.00)"
    ]
    assert asides.lines(pandas.DataFrame(rows[:2]), NONE) == []
