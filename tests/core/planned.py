"""Recipes and prepared sizes for scenarios about plans."""

from launcher.core.planning import plan
from launcher.core.recipe import Recipe
from launcher.core.run_plan import RunPlan
from launcher.core.source_index import Prepared, SourceIndex, SplitIndex, TokenizerFacts

TEMPLATE = {"zero_optimization": {"stage": 3}}


def recipe(sources, stages, **more) -> Recipe:
    """Return a recipe; a source is its fields or None, a stage leaves out what is usual."""
    stages = [{"name": f"s{i}", "learning_rate": 1e-3, **stage} for i, stage in enumerate(stages)]
    return Recipe.model_validate({
        "name": "r", "sequence_length": 100, "batch": {"rows": 6}, "stages": stages,
        "model": {"init": {"architecture": "llama"}, "tokenizer": {"train": {}}},
        "sources": {name: {"path": f"{name}.jsonl", **(fields or {})} for name, fields in sources.items()}, **more})


def prepared(sizes, holdout=0) -> Prepared:
    """Return what preparation might have found: rows, (rows, tokens) or (rows, tokens, documents), of each source."""
    facts = TokenizerFacts(fingerprint="t", vocab_size=300, bos=None, eos=1, pad=None, chat_template=False)
    return Prepared(tokenizer=facts, sources={name: _index(name, size, holdout) for name, size in sizes.items()})


def _index(name, size, holdout):
    rows, tokens, documents = (*size, size[0])[:3] if isinstance(size, tuple) else (size, size * 100, size)
    train = SplitIndex(rows=rows, documents=documents, tokens=tokens, supervised_tokens=tokens // 2)
    held = SplitIndex(rows=holdout, documents=holdout, tokens=holdout * 100, supervised_tokens=holdout * 50)
    return SourceIndex(source=name, fingerprint=f"f-{name}", sequence_length=100, train=train, holdout=held, read=rows)


def planned(sizes, stages, **more) -> RunPlan:
    """Return the exact plan of stages over sources of these sizes."""
    return plan(recipe(dict.fromkeys(sizes), stages, **more), prepared(sizes), TEMPLATE)
