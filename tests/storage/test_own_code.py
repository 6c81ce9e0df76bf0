"""Which files of a checkout are launcher's own code."""

import launcher.storage.own_code as own_code
from launcher.storage import shipped


def test_all_of_the_package_and_its_top_folders_is_code_and_what_python_makes_is_not():
    kept, left_out = own_code.own_code()
    assert left_out == []
    assert {"launcher/cli/main.py", "launcher/quickstart/sums.jsonl", "slurm/train.sbatch", "ds_configs/zero3.json",
            "recipes/quickstart/quickstart.yaml"} <= set(kept)
    assert all(file.is_file() for file in kept.values())
    assert not any("__pycache__" in name or name.startswith("tests") for name in kept)


def test_what_is_hidden_or_large_or_a_secret_or_leads_elsewhere_is_left_out_and_told(tmp_path, monkeypatch):
    package = tmp_path / "launcher"
    (package / "__pycache__").mkdir(parents=True)
    for name in ("a.py", "tokens.py", ".env", "host.pem", "hf_token.txt", "mine.env", "example.env",
                 "__pycache__/a.pyc", "data.bin"):
        (package / name).write_text("x" * (100 if name == "data.bin" else 1))
    (package / "linked").symlink_to(tmp_path)
    monkeypatch.setattr(own_code, "LARGEST_FILE", 50)
    for module in (own_code, shipped):
        monkeypatch.setattr(module, "PACKAGE", package)
    kept, left_out = own_code.own_code()
    assert set(kept) == {"launcher/a.py", "launcher/tokens.py", "launcher/example.env"}
    names = sorted(line.split(":")[0].rpartition("/")[2] for line in left_out)
    assert names == [".env", "data.bin", "hf_token.txt", "host.pem", "linked", "mine.env"]


def test_an_installed_package_is_not_copied(tmp_path, monkeypatch):
    (tmp_path / "launcher/slurm").mkdir(parents=True)
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "launcher")
    assert own_code.own_code() == ({}, [])
