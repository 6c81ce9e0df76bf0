"""What a model's configuration cannot be trained with is refused by name."""

import json
from pathlib import Path

import pytest

from launcher.core.errors import UserError
from launcher.core.recipe import ModelChoice
from launcher.runtime.model import model_config
from launcher.storage.store import LocalStore
from tests.runtime.tiny import make_plan, write_model, write_source


def test_an_attention_that_the_model_has_not_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "base")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "gemma2"}))
    index = write_source(LocalStore(tmp_path / "cache"), "sums", 20, 0)
    for attention in ("eager", "sdpa"):
        model = ModelChoice.model_validate({"path": str(folder), "attention": attention})
        plan = make_plan([index], model, rows_per_step=2, stage_rows=[4])
        if attention == "eager":
            assert model_config(plan).model_type == "gemma2"
        else:
            with pytest.raises(UserError, match=r"model\.attention: sdpa does not compute what a gemma2 model needs"):
                model_config(plan)
