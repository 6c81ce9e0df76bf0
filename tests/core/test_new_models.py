"""New models are described by fields that exist, in shapes that fit."""

import pytest

from launcher.core.new_models import FIELDS, attentions, init_problems

GOOD = {"architecture": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}


def test_a_good_description_has_no_problem() -> None:
    assert list(init_problems(GOOD)) == []


@pytest.mark.parametrize(("change", "field", "fragment"), [
    ({"architecture": "lama"}, "architecture", "llama"),
    ({"architecture": ["llama"]}, "architecture", "is none that"),
    ({"hidden_sise": 64}, "hidden_sise", "hidden_size"),
    ({"hidden_size": 0}, "hidden_size", "at least 1"),
    ({"hidden_size": "64"}, "hidden_size", "whole number"),
    ({"hidden_size": True}, "hidden_size", "whole number"),
    ({"num_hidden_layers": 10**30}, "num_hidden_layers", "more than 10000"),
    ({"vocab_size": 2**31}, "vocab_size", "than any model has"),
    ({"hidden_size": 66}, "hidden_size", "not a multiple of num_attention_heads 4"),
    ({"num_key_value_heads": 3}, "num_attention_heads", "not a multiple of num_key_value_heads 3"),
])
def test_what_transformers_would_swallow_is_refused(change: dict[str, object], field: str, fragment: str) -> None:
    problems = dict(init_problems(GOOD | change))
    assert fragment in problems[field]


def test_the_table_holds_for_the_installed_transformers() -> None:
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    for architecture, fields in FIELDS.items():
        known = CONFIG_MAPPING[architecture].__dataclass_fields__
        assert [field for field in fields if field not in known] == [], architecture
        model = AutoModelForCausalLM._model_mapping[CONFIG_MAPPING[architecture]]
        assert model._supports_sdpa == ("sdpa" in attentions({"architecture": architecture})), architecture
