"""How far the making is: utterances, hours of audio, their rate and the time left."""

import time

from tqdm.auto import tqdm

FORM = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} utterances, {elapsed}{postfix}"


class Progress:
    """A line on the screen; what an earlier run made counts as done, and not for the rate.

    total: utterances of all corpora.
    """

    def __init__(self, total):
        self.bar, self.start, self.made, self.seconds = tqdm(total=total, bar_format=FORM), 0.0, 0, 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def skip(self, shard, there):
        """Count a shard that is there already; return whether it is."""
        self.bar.set_description(shard.corpus, refresh=False)
        self.bar.update(len(shard.items) if there else 0)
        if not self.made:
            self.start = time.monotonic()
        return there

    def add(self, shard, seconds):
        """Count a shard just made, and the seconds of audio in it."""
        self.made, self.seconds = self.made + len(shard.items), self.seconds + seconds
        took = max(time.monotonic() - self.start, 1e-3)  # some clocks are coarse
        left = self.bar.format_interval((self.bar.total - self.bar.n - len(shard.items)) * took / self.made)
        rate = self.seconds / took
        self.bar.set_postfix_str(f"{self.seconds / 3600:.2f} h made at {rate:.1f} x real time, {left} left", refresh=False)
        self.bar.update(len(shard.items))
