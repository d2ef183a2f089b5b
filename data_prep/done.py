"""What earlier runs made, so that an interrupted or repeated run makes nothing twice."""

import hashlib
import json

from rovolad_lib.speech import RECIPE


class Done:
    """The results of jobs, appended to a file as they come.

    path: a file of lines `{"key", "duration", "verdict"}`, where a key stands for a recording as it is now and its
    words; force: forget them all.
    """

    def __init__(self, path, force=False):
        self.path, self.results = path, {}
        if force:
            path.unlink(missing_ok=True)
        if path.is_file():
            for line in path.read_text(encoding="utf-8").split("\n"):
                if line.endswith("}"):  # a run killed while writing leaves half a line
                    result = json.loads(line)
                    self.results[result.pop("key")] = result

    def get(self, job):
        """Return the result of a job whose files are all there, else None."""
        result = self.results.get(self._key(job))
        files = [job.data / name for name in (job.path, job.robot_path, job.align_path)]
        return result if result and all(file.is_file() for file in files) else None

    def add(self, job, result):
        """Note the result of a job."""
        key = self._key(job)
        self.results[key] = result
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write("\n" + json.dumps({"key": key, **result}))

    def _key(self, job):
        said = job.utterance
        state = said.path.stat() if said.path.is_file() else None
        fingerprint = [RECIPE, said.corpus, said.speaker, said.id, said.text, said.language, said.start, said.end]
        fingerprint += [state.st_size, state.st_mtime_ns] if state else []
        return hashlib.sha1(json.dumps(fingerprint).encode()).hexdigest()
