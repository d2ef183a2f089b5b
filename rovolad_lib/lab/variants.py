"""The named runs of the study of priors: what each changes, and which two of them differ in one suspected cause."""

GAUSSIAN = {"prior": "gaussian", "mapped": "none", "voice": "off"}  # as people run it: nothing of the robot in its mean
# the first attempt: a line without noise from one space to another, padding unhidden, nothing aligned
FIRST = {
    "prior": "robot", "noise": 0.0, "target": "x0", "mapped": "robot", "voice": "off", "condition": "off", "align": "none",
    "mask": "off", "robots": "one", "ae": "separate",
}  # fmt: skip
# name -> fields of lab.setting.Setting, and steps, which take the place of the notebook's parameters
VARIANTS = {
    "robot": {"prior": "robot"},
    "robot_only": {"prior": "robot", "condition": "off"},
    "robot_linear": {"prior": "robot", "align": "linear"},
    "robot_none": {"prior": "robot", "align": "none"},
    "robot_raw": {"prior": "robot", "mapped": "robot"},
    "robot_affine": {"prior": "robot", "mapped": "affine"},
    "robot_separate": {"prior": "robot", "ae": "separate"},
    "robot_gmax": {"prior": "robot", "path": "gmax"},
    "robot_vp": {"prior": "robot", "path": "vp"},
    "control": {"prior": "robot", "end": "zero"},
    "one_shot": {"prior": "robot", "times": "start", "steps": 1},
    "mixed": {"prior": "mixed"},
    "both": {"prior": "both"},
    "noise_0": {"prior": "robot", "target": "x0", "noise": 0.0},
    "noise_0.1": {"prior": "robot", "target": "x0", "noise": 0.1},
    "noise_0.5": {"prior": "robot", "target": "x0", "noise": 0.5},
    "noise_1": {"prior": "robot", "target": "x0", "noise": 1.0},
    "robot_x0": {"prior": "robot", "target": "x0"},
    "control_x0": {"prior": "robot", "end": "zero", "target": "x0"},
    "gaussian": GAUSSIAN,
    "gaussian_x0": GAUSSIAN | {"target": "x0"},
    "gaussian_linear": GAUSSIAN | {"align": "linear"},
    "gaussian_none": GAUSSIAN | {"align": "none"},
    "gaussian_alone": GAUSSIAN | {"condition": "off"},
    "first": FIRST,
    "first_gaussian": FIRST | GAUSSIAN | {"condition": "on", "noise": None, "target": "preconditioned"},
    "first_rates": FIRST | {"robots": "many"},
    "first_aligned": FIRST | {"robots": "many", "align": "dtw"},
    "first_noise": FIRST | {"noise": 1.0},
    "first_shared": FIRST | {"ae": "shared"},
    "first_affine": FIRST | {"ae": "shared", "mapped": "affine"},
}
HEADLINES = ("robot", "robot_x0", "robot_only", "gaussian", "gaussian_x0", "first", "first_gaussian")
MAIN = "spoken_digits"  # the study's main corpus
AT_LENGTH = (*HEADLINES, "control", "mixed", "both")  # whose steps and diversity are measured too, on the main corpus
# question -> pairs of runs, the second without the suspected cause and otherwise the first
CAUSES = {
    "no alignment": (("first_rates", "first_aligned"), ("robot_none", "robot"), ("gaussian_none", "gaussian")),
    "a leak: no noise": (("first", "first_noise"), ("noise_0", "noise_1")),
    "a leak: one rate": (("first", "first_rates"),),
    "the robot is a poor mean": (("first_shared", "first_affine"), ("robot_raw", "robot_affine"), ("robot_raw", "robot")),
    "two spaces": (("first", "first_shared"), ("robot_separate", "robot")),
    "the prior itself": (
        ("first", "first_gaussian"),
        ("robot", "control"),
        ("robot", "gaussian"),
        ("robot_x0", "control_x0"),
        ("robot_x0", "gaussian_x0"),
    ),
    "the target": (("robot", "robot_x0"), ("control", "control_x0"), ("gaussian", "gaussian_x0")),
    "robot not given": (("robot_only", "robot"),),
}
