"""Recipes, files and tokenizers for tests of preparation: as small as they can be, in the real formats."""

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from launcher.core.recipe import Recipe
from launcher.core.source_index import SourceIndex
from launcher.data.packed import PackedSplit, Split
from launcher.data.tokenizer import train_tokenizer
from launcher.storage.store import Store

TEXTS = ["What is the sum of one and two? It is three, of course.", "user assistant system hello world again",
         "Ada has seven apples and gives away four.\nHow many are left?\n\nThree."] * 3

CHATML = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
LLAMA_3 = ("{{ bos_token }}{% for m in messages %}<|head|>{{ m['role'] }}<|body|>\n\n{{ m['content'] | trim }}<|eot|>"
           "{% endfor %}{% if add_generation_prompt %}<|head|>assistant<|body|>\n\n{% endif %}")
ZEPHYR = ("{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
          "{% if add_generation_prompt %}<|assistant|>\n{% endif %}")
MISTRAL = ("{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
           "{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
           "{% for m in turns %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
           "{{ raise_exception('roles must alternate') }}{% endif %}{% if m['role'] == 'user' %}"
           "[INST] {{ (system if loop.first else '') + m['content'] }} [/INST]"
           "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}")
LLAMA_2 = ("{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['content'] }} {{ eos_token }}"
           "{% else %}{{ bos_token }}[INST] {{ m['content'] }} [/INST]{% endif %}{% endfor %}")
FORGETS_THOUGHTS = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if loop.last %}{{ m['content'] }}{% else %}"
                    "{{ m['content'].split('</think>')[-1] }}{% endif %}<|im_end|>\n{% endfor %}")
DROPS_EARLIER = "{% for m in messages[-2:] %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
SHOUTS = CHATML.replace("{{ m['content'] }}", "{{ m['content'] | upper }}")
NEVER_ENDS = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"

ADDED = ["<|im_start|>", "<|im_end|>", "<|head|>", "<|body|>", "<|eot|>"]


def chat_tokenizer(template: str | None, *, post_processor: str | None = None) -> PreTrainedTokenizerFast:
    """Return a tokenizer with `<s>`, `</s>` and the usual turn tokens; `post_processor` may write a first token."""
    from tokenizers import processors

    tokenizer = train_tokenizer(TEXTS, 400)
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    tokenizer.add_tokens(ADDED, special_tokens=True)
    tokenizer.chat_template = template
    byte_level = processors.ByteLevel(trim_offsets=True)  # as Llama 3 and GPT-2 have it
    first = [processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)])]
    tokenizer.backend_tokenizer.post_processor = processors.Sequence(
        [byte_level, *(first if post_processor == "bos" else [])])
    return tokenizer


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a file of JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def recipe_for(sources: dict[str, dict[str, Any] | Path], *, sequence_length: int = 64,
               tokenizer: dict[str, Any] | None = None, **fields: Any) -> Recipe:
    """Return a recipe over sources; only what preparation looks at matters."""
    described = {name: {"path": str(source)} if isinstance(source, Path) else {**source, "path": str(source["path"])}
                 for name, source in sources.items()}
    return Recipe.model_validate({
        "name": "tiny", "sequence_length": sequence_length, "sources": described, "batch": {"rows": 2},
        "model": {"init": {"architecture": "llama"}, "tokenizer": tokenizer or {"train": {"vocab_size": 320}}},
        "stages": [{"name": "s", "length": {"steps": 1}, "mix": {next(iter(described)): 1}}], **fields})


def documents_of(store: Store, index: SourceIndex, split: Split = "train") -> dict[int, tuple[list[int], list[bool]]]:
    """Return tokens and labels of each packed document by its index in the source."""
    found: dict[int, tuple[list[int], list[bool]]] = {}
    packed = PackedSplit(store, index, split)
    for number in range(packed.rows):
        row = packed.row(number)
        starts = [place for place, position in enumerate(row.positions) if position == 0]
        for document, start, end in zip(row.documents, starts, [*starts[1:], len(row.tokens)], strict=True):
            found[int(document)] = (row.tokens[start:end].tolist(), row.supervised[start:end].tolist())
    return found


def contents(store: Store, prefix: str = "") -> dict[str, bytes]:
    """Return all objects of a store but remembered hashes, which depend on the clock, and leases, on who worked."""
    return {key: store.get(key) for key in store.list(prefix) if not key.startswith(("hashes/", "leases/"))}
