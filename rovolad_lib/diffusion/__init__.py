"""The mathematics of diffusion: schedules, priors, targets, samplers and guidance; no network and no file."""

RECIPE = 1  # raised when the numbers of this package change, so that old runs are not taken for new ones
