"""Waveform to latents (N, E, T) and back."""

RECIPE = 2
