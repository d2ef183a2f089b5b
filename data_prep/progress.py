"""How far the making is: utterances, hours of audio, their rate and the time left."""

import time

from tqdm.auto import tqdm

FORM = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} utterances, {elapsed}{postfix}"


class Progress:
    """A line on the screen; what an earlier run made counts as done, and not for the rate.

    total: utterances of all corpora.
    """

    def __init__(self, total):
        self.bar = tqdm(total=total, bar_format=FORM)
        self.start, self.made, self.seconds = None, 0, 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def skip(self, shard, there):
        """Count a shard that is there already; return whether it is."""
        self.bar.set_description(shard.corpus, refresh=False)
        if there:
            self.bar.update(len(shard.items))
        elif self.start is None:
            self.start = time.monotonic()
        return there

    def add(self, shard, seconds):
        """Count a shard just made, and the seconds of audio in it."""
        self.start = self.start or time.monotonic()
        self.made, self.seconds = self.made + len(shard.items), self.seconds + seconds
        took = time.monotonic() - self.start
        left = (self.bar.total - self.bar.n - len(shard.items)) * took / self.made
        rate, clock = self.seconds / max(took, 1e-9), self.bar.format_interval(max(left, 0))
        self.bar.set_postfix_str(f"{self.seconds / 3600:.2f} h made at {rate:.1f} x real time, {clock} left", refresh=False)
        self.bar.update(len(shard.items))
