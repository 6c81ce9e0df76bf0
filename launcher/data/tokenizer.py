"""The run's tokenizer: trained on the sources, or taken from a model's directory.

Decides its files, which lie in the cache under `tokenizer/<fingerprint>/` as transformers writes and reads them; the
facts beside them, `tokenizer/<fingerprint>.json`, are put last and say that the files are complete. Which tokenizer a
recipe means is `data.identity`.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from launcher.core.errors import UserError
from launcher.core.source_index import TokenizerFacts
from launcher.data.model_files import TOKENIZER_FILES
from launcher.data.rendering.chat_templates import missing_tokens
from launcher.data.rendering.templating import Template
from launcher.storage.store import Store

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, END, TURN = "<|pad|>", "<|end|>", "<|turn|>"
"""The special tokens of a trained tokenizer. One token ends a turn and a text alike, so generation knows one stop."""

TEMPLATE_FILE = "chat_template.jinja"
CHAT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|turn|>' + message['role'] + '\\n' + message['content'] + '<|end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|turn|>assistant\\n' }}
{%- endif %}
"""


def stored_facts(store: Store, fingerprint: str) -> TokenizerFacts | None:
    """Return the facts of a tokenizer in the cache, or None."""
    try:
        return TokenizerFacts.from_json(store.get(_facts_key(fingerprint)))
    except KeyError:
        return None


def stored_tokenizer(store: Store, fingerprint: str) -> "PreTrainedTokenizerFast":
    """Return a tokenizer in the cache, ready to use."""
    return load_tokenizer(stored_folder(store, fingerprint))


def stored_folder(store: Store, fingerprint: str) -> Path:
    """Return the folder of a tokenizer in the cache."""
    # All of them: a copy on this node has what was asked for, and no more.
    for key in store.list(f"tokenizer/{fingerprint}/"):
        store.local(key)
    return store.local(f"tokenizer/{fingerprint}/tokenizer.json").parent


def store_trained(store: Store, fingerprint: str, texts: Iterable[str], vocab_size: int,
                  template: str | None = None) -> TokenizerFacts:
    """Train a tokenizer on texts and put it into the cache. The same texts in the same order give the same files."""
    with TemporaryDirectory() as folder:
        train_tokenizer(texts, vocab_size).save_pretrained(folder)
        return store_copied(store, fingerprint, Path(folder), template)


def store_copied(store: Store, fingerprint: str, folder: Path, template: str | None = None) -> TokenizerFacts:
    """Copy a tokenizer's files into the cache, with a chat template in place of its own if one is given.

    Raises UserError if they are not a fast tokenizer's, or it lacks a token that the template writes.
    """
    tokenizer = load_tokenizer(folder)
    files = {name: (folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).is_file()}
    if template is not None:
        _check_template(tokenizer, template)
        tokenizer.chat_template = template
        # transformers prefers this file to a template in tokenizer_config.json.
        files[TEMPLATE_FILE] = template.encode()
    facts = _facts(tokenizer, fingerprint)
    for name, data in files.items():
        store.put(f"tokenizer/{fingerprint}/{name}", data)
    store.put(_facts_key(fingerprint), facts.to_json().encode())
    return facts


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> "PreTrainedTokenizerFast":
    """Return a byte-level BPE with a chat template. Digits stay single, so that sums can be learnt."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence([  # pyright: ignore[reportAttributeAccessIssue]
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    backend.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[PAD, END, TURN], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, pad_token=PAD,
                                        clean_up_tokenization_spaces=False)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """Return the tokenizer in a folder, without torch. Raises UserError if there is none, or it cannot be read."""
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").is_file():
        raise UserError(f"{folder}: has no tokenizer.json; load the tokenizer in transformers and save it again with "
                        "save_pretrained, which writes one")
    try:
        with _no_advice():
            return PreTrainedTokenizerFast.from_pretrained(folder)
    except Exception as error:  # tokenizers raises bare Exception for whatever it cannot parse
        raise UserError(f"{folder}: the tokenizer cannot be read ({error}); check tokenizer.json and "
                        "tokenizer_config.json") from None


def _check_template(tokenizer: "PreTrainedTokenizerFast", template: str) -> None:
    missing = missing_tokens(template, (str(token) for token in tokenizer.added_tokens_decoder.values()))
    if missing:
        raise UserError(f"model.chat_template writes {', '.join(missing)}, which the tokenizer does not have as single "
                        "tokens; add them to it (and rows to the model's embedding), or take another template: plain "
                        "needs none")


def _facts(tokenizer: "PreTrainedTokenizerFast", fingerprint: str) -> TokenizerFacts:
    ids: dict[str, Any] = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}
    return TokenizerFacts(fingerprint=fingerprint, vocab_size=len(tokenizer), turn_end=_turn_end(tokenizer),
                          chat_template=bool(tokenizer.chat_template), **ids)


def _turn_end(tokenizer: "PreTrainedTokenizerFast") -> int | None:
    """Return the first token that ends a turn, which need not be the eos token: Gemma's is not."""
    if not tokenizer.chat_template:
        return None
    ends = Template(tokenizer).ends
    ids: list[int] = tokenizer.encode(ends[-1].strip(), add_special_tokens=False) if ends else []
    return ids[0] if ids else None


def _facts_key(fingerprint: str) -> str:
    return f"tokenizer/{fingerprint}.json"


@contextmanager
def _no_advice() -> Iterator[None]:
    """Silence the warning that the files name another class: all that is needed of it is in tokenizer.json."""
    logger = logging.getLogger("transformers.tokenization_utils_base")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
