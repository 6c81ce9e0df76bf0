"""What is prepared in the benchmarks of preparation: sources, found or made up, and a tokenizer and recipe for them."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

from launcher.core.recipe import Recipe
from launcher.data.tokenizer import train_tokenizer

LENGTH, VOCABULARY = 1024, 8000
# TRL learns answers only where a template marks them; the launcher renders the same text without looking at the marks.
TEMPLATE = ("{% for message in messages %}{{ '<|turn|>' + message['role'] + '\n' }}"
            "{% if message['role'] == 'assistant' %}"
            "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}{% else %}"
            "{{ message['content'] + '<|end|>' }}{% endif %}{{ '\n' }}{% endfor %}")


def words(seed: int) -> Iterator[str]:
    """Yield texts of 50 to 400 words, frequent words more often."""
    draw = random.Random(seed)
    lexicon = ["".join(draw.choices("etaoinshrdlucmfwypvbgkjqxz", range(26, 0, -1), k=draw.randint(2, 10)))
               for _ in range(20_000)]
    weights = [1 / rank for rank in range(10, 20_010)]
    while True:
        yield " ".join(draw.choices(lexicon, weights, k=int(min(400, max(50, draw.lognormvariate(5, 0.7))))))


def write_stand_ins(folder: Path) -> dict[str, Path]:
    text = words(0)
    chats = ([{"role": "user", "content": next(text)[:60]}, {"role": "assistant", "content": next(text)}]
             for _ in range(16_000))
    prompts = ({"prompt": next(text)[:240], "completion": next(text)[:290]} for _ in range(7_500))
    paths = {"chat": folder / "chats.jsonl", "prompt": folder / "prompts.jsonl"}
    paths["chat"].write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    paths["prompt"].write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    return paths


def find_sources(data: Path | None, folder: Path) -> dict[str, Path]:
    if data is None:
        return write_stand_ins(folder)
    return {"chat": (data / "medquad.jsonl").absolute(), "prompt": (data / "gsm8k.jsonl").absolute()}


def write_tokenizer(paths: list[Path], folder: Path) -> Path:
    """Train a tokenizer on the beginning of each file."""
    texts = (line for path in paths for line in path.read_text(encoding="utf-8").split("\n")[:2000])
    tokenizer = train_tokenizer(texts, VOCABULARY)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder / "tokenizer")
    return folder / "tokenizer"


def write_recipe(paths: dict[str, Path], tokenizer: Path, folder: Path) -> Path:
    recipe = Recipe.model_validate({
        "name": "preparing", "sequence_length": LENGTH, "batch": {"rows": 8},
        # medquad has questions without an answer: TRL keeps them, here they are counted and left out.
        "sources": {name: {"path": str(path), "max_unlearnable": 0.5} for name, path in paths.items()},
        "model": {"init": {"architecture": "llama"}, "tokenizer": {"path": str(tokenizer)}},
        "stages": [{"name": "only", "length": {"steps": 1}, "mix": dict.fromkeys(paths, 1)}]})
    (folder / "recipe.json").write_text(recipe.to_json())
    (folder / "sources.json").write_text(json.dumps({name: str(path) for name, path in paths.items()}))
    return folder / "recipe.json"


def write_large(path: Path, size: int) -> None:
    """Write a source of this many bytes: the same thousands of texts, each time with another number."""
    if path.exists() and path.stat().st_size >= size:
        return
    text = words(1)
    block = [(next(text)[:200], json.dumps(next(text))) for _ in range(20_000)]
    unfinished, number, written = path.with_suffix(".unfinished"), 0, 0
    with unfinished.open("w") as file:
        while written < size:
            lines = "".join(f'{{"prompt": "{number + place}: {prompt}", "completion": {completion}}}\n'
                            for place, (prompt, completion) in enumerate(block))
            number, written = number + len(block), written + file.write(lines)
    unfinished.rename(path)
