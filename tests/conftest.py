"""What every test shares: no window is opened, two threads, and the reasons of skipped tests listed at the end."""

from collections import Counter

import matplotlib
import torch

matplotlib.use("Agg")  # not by the environment: MPLBACKEND would reach the kernels and hide their figures
torch.set_num_threads(2)


def pytest_terminal_summary(terminalreporter):
    """List why tests were skipped, a line each."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("skipped, and why")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} x {reason}")
