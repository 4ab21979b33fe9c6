"""The tutorial's two models, as a reader would run them, train the same."""

import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'hotline-accelerator[train]'")

PAGE = Path(__file__).parents[2] / "docs" / "your-model.md"


def log(batches=40, size=256):
    r = np.random.default_rng(1)
    found = []
    for _ in range(batches):
        sparse = {
            "user": r.zipf(1.2, size) % 20_000,
            "item": r.zipf(1.3, size) % 5_000,
            "hour": r.integers(0, 24, size),
        }
        dense, label = (
            torch.from_numpy(r.random((size, 4), np.float32)),
            torch.from_numpy(r.integers(0, 2, size)).float(),
        )
        found.append((dense, {name: torch.from_numpy(ids[:, None]) for name, ids in sparse.items()}, label))
    return found


def test_the_tutorials_models_train_the_same():
    plain, hotline = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    scope = {"log": log()}
    begin = "model = Model()\n"
    exec(plain.split(begin)[0], scope)
    torch.manual_seed(3)
    start = scope["Model"]()
    weights = {name: value.clone() for name, value in start.state_dict().items()}
    plain = plain.replace(begin, "model = Model()\nmodel.load_state_dict(weights)\n")
    scope["weights"] = weights
    exec(plain, scope)
    expected = scope["model"].state_dict()

    as_tables = {f"tables.embedding_bags.{name}.weight": weights[f"tables.{name}.weight"] for name in scope["ROWS"]}
    rest = {name: value for name, value in weights.items() if not name.startswith("tables.")}
    begin = "model = HotlineModel()\n"
    assert begin in hotline
    scope["weights"] = rest | as_tables
    exec(hotline.replace(begin, begin + "model.load_state_dict(weights)\n"), scope)
    found = scope["model"].state_dict()
    for name, value in expected.items():
        table = re.fullmatch(r"tables\.(\w+)\.weight", name)
        ours = found[f"tables.embedding_bags.{table[1]}.weight" if table else name]
        assert torch.allclose(ours, value, rtol=1e-4, atol=1e-6), name
        assert not torch.equal(value, weights[name]), "something has been learnt"
