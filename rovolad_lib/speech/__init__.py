"""Waveforms and tables; knows no model."""

RECIPE = 1
