"""How a decoder's tokenizer puts a text, or a pair of texts, into one sequence that is read forwards.

Tokenizers of decoders put nothing at a text's end, and nothing between two. Here an end of text (its `eos_token`)
stands behind every text, where all of it has been read, and a line break between two, as in running text; or an end
of text there too, where the vocabulary has no line break. What a tokenizer puts before a text stays.
"""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from xstilts.common.errors import UserError

#: What `packed` writes into tokenizer_config.json: what is to be read of a whole text stands at its end.
_READ_AT = "read_at"


def packed(tokenizer: PreTrainedTokenizerBase, where: str) -> PreTrainedTokenizerBase:
    """A tokenizer that packs texts so, pads on the right, and saves as any other. Raises UserError."""
    if reads_at_end(tokenizer):
        return tokenizer
    if tokenizer.eos_token_id is None:
        raise UserError(f"{where} has no end of text; name its `eos_token` in tokenizer_config.json")
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    at = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
    lines = tokenizer("\n", add_special_tokens=False)["input_ids"]
    end = [tokenizer.eos_token_id]
    parts = {"end": end, "between": lines if lines and tokenizer.unk_token_id not in lines else end}
    before = ["before"] if at else []
    if at:
        parts["before"] = whole[:at]
    core = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    core.no_padding()
    core.no_truncation()
    core.post_processor = TemplateProcessing(
        single=[*before, "$A", "end"], pair=[*before, "$A", "between", "$B", "end"],
        special_tokens=[{"id": name, "ids": ids, "tokens": tokenizer.convert_ids_to_tokens(ids)}
                        for name, ids in parts.items()],
    )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=core, model_max_length=tokenizer.model_max_length, padding_side="right",
        bos_token=tokenizer.bos_token, eos_token=tokenizer.eos_token, unk_token=tokenizer.unk_token,
        pad_token=tokenizer.pad_token or tokenizer.eos_token,
        model_input_names=["input_ids", "attention_mask"], **{_READ_AT: "end"},
    )  # fmt: skip


def reads_at_end(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether what is to be read of a whole text stands behind it, and not before it as BERT's CLS token does."""
    return bool(tokenizer.init_kwargs.get(_READ_AT) == "end")
