"""Tokenizers of several kinds, built from nothing: what real ones do at the borders of turns, they do too."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TURN_TOKENS = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>",
               "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "[TOOL_CALLS]"]
LETTERS = [chr(letter) for letter in range(32, 127)]
# Rendered chats: what a tokenizer is trained on, it merges, across the borders of turns too.
TEXTS = ["Assistant:\nAda has seven apples.\n\nUser:\nHow many?", "<|assistant|>\nIt is 7.",
         "user\nassistant\n\n hello", "<think>\n\n</think>\n\nAnswer [/INST] It is", "model\nIt is",
         "  two  blanks\n\n\nlines"] * 4


def _wrapped(backend: Tokenizer, **tokens: str) -> PreTrainedTokenizerFast:
    """Return it with the tokens of all styles, and a first token of its own wherever it adds special ones."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>",
                                        clean_up_tokenization_spaces=False, **tokens)
    tokenizer.add_tokens(TURN_TOKENS, special_tokens=True)
    # As Qwen has them: tokens, but not special.
    tokenizer.add_tokens(["<think>", "</think>", "<tool_call>", "</tool_call>"])
    first = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)])
    trims = isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel)  # as Llama 3 and GPT-2 have it
    tokenizer.backend_tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=True), first]) if trims else first
    return tokenizer


def _byte_bpe(*, split: bool, prefix: bool = False) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=split)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<s>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return _wrapped(backend)


def _unigram() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    backend.train_from_iterator(TEXTS, trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False,
        initial_alphabet=LETTERS))
    return _wrapped(backend, unk_token="<unk>")


def _sentencepiece_bpe() -> PreTrainedTokenizerFast:
    """As Llama 2 has it: a blank before each stretch of text, and bytes for what it does not know."""
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    backend.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", "<s>", "</s>", *fallback], show_progress=False,
        initial_alphabet=LETTERS))
    return _wrapped(backend, unk_token="<unk>")


def _wordpiece() -> PreTrainedTokenizerFast:
    """As BERT has it: lower case, and white space is no token at all."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(TEXTS, trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=["[UNK]", "<s>", "</s>"], show_progress=False, initial_alphabet=LETTERS))
    return _wrapped(backend, unk_token="[UNK]")


KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level BPE": lambda: _byte_bpe(split=True),
    "byte-level BPE with a prefix blank": lambda: _byte_bpe(split=True, prefix=True),
    "BPE that merges across borders": lambda: _byte_bpe(split=False),
    "Unigram with a prefix blank": _unigram, "SentencePiece BPE": _sentencepiece_bpe, "WordPiece": _wordpiece}


@cache
def _trained(kind: str) -> PreTrainedTokenizerFast:
    return KINDS[kind]()


@cache
def tokenizer_of(kind: str, template: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer of a kind with a chat template. Not to be changed."""
    tokenizer = deepcopy(_trained(kind))
    tokenizer.chat_template = template
    return tokenizer
