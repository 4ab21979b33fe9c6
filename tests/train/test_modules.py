"""An embedding module in people's own models: it trains as PyTorch's embedding bags do, whatever is hot."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'hotline-accelerator[train]'")

from torch import nn  # noqa: E402

from hotline_golden.keys import splitmix64  # noqa: E402
from hotline_train.modules import HotlineEmbeddingBagCollection, TableConfig  # noqa: E402
from hotline_train.modules import collection as collection_module  # noqa: E402

from .threaded import Threaded  # noqa: E402

torch.set_num_threads(1)
DIM, BATCH = 8, 32
TABLES = [
    TableConfig("users", 500, DIM, ["user"]),
    TableConfig("items", 300, DIM, ["item", "clicked"], length=4),
    TableConfig("days", 7, DIM, ["day"], pooling="mean", length=3),
]
NAMES = ["user", "item", "clicked", "day"]


class Jagged:
    """What of a KeyedJaggedTensor is used."""

    def __init__(self, keys, values, lengths):
        self._keys, self._values, self._lengths = keys, values, lengths

    def keys(self):
        return self._keys

    def values(self):
        return self._values

    def lengths(self):
        return self._lengths


def features(r, batch=BATCH):
    """A mapping: one id each of user and item, up to four clicked, up to three days."""
    skewed = lambda n, rows: np.minimum(r.zipf(1.3, n) - 1, rows - 1)  # noqa: E731
    clicked, days = r.integers(0, 5, batch), r.integers(0, 4, batch)
    return {
        "user": torch.from_numpy(skewed(batch, 500)),
        "item": torch.from_numpy(skewed((batch, 1), 300)),
        "clicked": (torch.from_numpy(skewed(clicked.sum(), 300)), torch.from_numpy(clicked)),
        "day": (torch.from_numpy(r.integers(0, 7, days.sum())), torch.from_numpy(days)),
    }


def data(count, seed=1, batch=BATCH):
    r = np.random.default_rng(seed)
    for _ in range(count):
        sparse = features(r, batch)
        yield (
            torch.from_numpy(r.random((batch, 3), np.float32)),
            sparse,
            torch.from_numpy(r.integers(0, 2, batch)).float(),
        )


class Plain(nn.Module):
    """PyTorch's own embedding bags, in place of the collection."""

    def __init__(self, state):
        super().__init__()
        self.bags = nn.ModuleDict(
            {
                f"table {t.name}": nn.EmbeddingBag.from_pretrained(
                    state[f"embedding_bags.{t.name}.weight"].clone(), freeze=False, mode=str(t.pooling)
                )
                for t in TABLES
            }
        )

    def forward(self, sparse):
        found = {}
        for table in TABLES:
            for name in table.feature_names:
                value = sparse[name]
                if isinstance(value, tuple):
                    ids, lengths = value
                    found[name] = self.bags[f"table {table.name}"](ids, torch.cumsum(lengths, 0) - lengths)
                else:
                    found[name] = self.bags[f"table {table.name}"](value.reshape(-1, 1))
        return found


class Net(nn.Module):
    def __init__(self, embeddings, seed=2):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.top = nn.Sequential(nn.Linear(4 * DIM + 3, 16), nn.ReLU(), nn.Linear(16, 1))
        self.embeddings = embeddings

    def forward(self, dense, sparse):
        pooled = self.embeddings(sparse)
        return self.top(torch.cat([dense, *(pooled[name] for name in NAMES)], dim=1)).squeeze(1)


def collection(**more):
    options = {
        "batch_size": BATCH,
        "hot_rows": 512,
        "resident_rows": 10,
        "optimizer": "sgd",
        "learning_rate": 0.5,
    }
    return HotlineEmbeddingBagCollection(TABLES, **(options | more))


def plain_training(state, count, rate=0.5):
    net = Net(Plain(state))
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    losses = []
    for dense, sparse, label in data(count):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(net(dense, sparse), label)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net, losses


def trained(embeddings, count, rate=0.5, **options):
    net = Net(embeddings)
    optimizer = torch.optim.SGD(net.top.parameters(), lr=rate)
    losses, total = [], 0.0
    for dense, sparse, label in embeddings.batches(data(count), **options):
        loss = nn.functional.binary_cross_entropy_with_logits(net(dense, sparse), label) * sparse.share
        loss.backward()
        total += loss.item()
        if sparse.last:
            optimizer.step()
            optimizer.zero_grad()
            embeddings.step()
            losses.append(total)
            total = 0.0
    return net, losses


def check_same(embeddings, ours, theirs, losses, plain_losses):
    assert np.allclose(losses, plain_losses, rtol=1e-5, atol=1e-6)
    state = embeddings.state_dict()
    for table in TABLES:
        expected = theirs.embeddings.bags[f"table {table.name}"].weight.detach()
        assert torch.allclose(state[f"embedding_bags.{table.name}.weight"], expected, rtol=1e-4, atol=1e-6), (
            table.name
        )
    for a, b in zip(ours.top.parameters(), theirs.top.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"micro_batches": True}], ids=str)
@pytest.mark.parametrize("more", [{}, {"cold_rows": "copied"}, {"frozen": 5}, {"resident_rows": 0}], ids=str)
def test_a_model_trains_as_with_pytorchs_embedding_bags(options, more):
    embeddings = collection(**more)
    start = embeddings.state_dict()
    ours, losses = trained(embeddings, 40, **options)
    assert len(losses) == 40
    check_same(embeddings, ours, *plain_training(start, 40)[:1], losses, plain_training(start, 40)[1])
    assert not all(torch.equal(start[k], v) for k, v in embeddings.state_dict().items()), "something has been learnt"
    embeddings.close()


@pytest.mark.parametrize("late", ["main", "coming", "rows", "all"])
def test_streams_that_are_late_change_nothing(monkeypatch, late):
    first = collection()
    expected = trained(first, 20)[1]
    state = first.state_dict()
    first.close()
    names = ("main", "coming", "rows") if late == "all" else (late,)
    device = Threaded(dict.fromkeys(names, 0.002))
    monkeypatch.setattr(collection_module, "device_for", lambda name: device)
    # The model itself is not on these streams: it waits until what it looks up is there.
    work = collection_module.HotlineEmbeddingBagCollection._look_up

    def looked_up(self, batch):
        found = work(self, batch)
        device.synchronise()
        return found

    monkeypatch.setattr(collection_module.HotlineEmbeddingBagCollection, "_look_up", looked_up)
    second = collection()
    assert trained(second, 20)[1] == expected
    assert all(torch.equal(a, b) for a, b in zip(second.state_dict().values(), state.values(), strict=True))
    second.close()
    device.close()


def test_features_go_in_as_they_are_too():
    """In place of an embedding bag collection, with one line more: the step of the rows."""
    embeddings = collection()
    start = embeddings.state_dict()
    net, losses = Net(embeddings), []
    optimizer = torch.optim.SGD(net.top.parameters(), lr=0.5)
    for dense, sparse, label in data(20):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(net(dense, sparse), label)
        loss.backward()
        optimizer.step()
        embeddings.step()
        losses.append(loss.item())
    plain, plain_losses = plain_training(start, 20)
    check_same(embeddings, net, plain, losses, plain_losses)
    ((dense, sparse, label),) = data(1, seed=9)
    with torch.no_grad():
        assert torch.allclose(net(dense, sparse), plain(dense, sparse), atol=1e-5), "evaluation changes nothing"
    embeddings.close()


def test_a_keyed_jagged_tensor_is_taken():
    embeddings = collection()
    ((_, sparse, _),) = data(1)
    keys = ["day", "user", "clicked", "item"]
    flat = {
        k: v if isinstance(v, tuple) else (v.reshape(-1), torch.ones(BATCH, dtype=torch.int64))
        for k, v in sparse.items()
    }
    keyed = Jagged(keys, torch.cat([flat[k][0] for k in keys]), torch.cat([flat[k][1] for k in keys]))
    with torch.no_grad():
        a, b = embeddings(keyed), embeddings(sparse)
    assert a.keys() == NAMES and torch.equal(a.values(), b.values()) and a.values().shape == (BATCH, 4 * DIM)
    assert torch.equal(a.to_dict()["day"], a["day"]) and list(a) == NAMES
    embeddings.close()


def test_a_state_goes_on_where_it_was_whatever_is_hot():
    first = collection(optimizer="rowwise-adagrad", learning_rate=0.05)
    trained(first, 12)
    kept = first.state_dict()
    assert {k for k in kept if k.startswith("embedding_bags.")} == {
        f"embedding_bags.{t.name}.{what}" for t in TABLES for what in ("weight", "optimizer")
    }
    second = collection(optimizer="rowwise-adagrad", learning_rate=0.05, frozen=2, resident_rows=0)
    second.load_state_dict(kept)
    a, b = (trained(e, 8)[1] for e in (first, second))
    assert np.allclose(a, b, rtol=1e-5)
    with pytest.raises(RuntimeError, match=r"embedding_bags.users.weight is \[3, 8\], not \[500, 8\]"):
        second.load_state_dict(kept | {"embedding_bags.users.weight": torch.zeros(3, 8)})
    with pytest.raises(RuntimeError, match="Missing key.*embedding_bags.users.weight"):
        second.load_state_dict({k: v for k, v in kept.items() if "users" not in k})
    first.close()
    second.close()


def one_table(**more):
    table = TableConfig("ids", **({"num_embeddings": 16, "embedding_dim": DIM, "feature_names": ["id"]} | more))
    return HotlineEmbeddingBagCollection([table], batch_size=8, hot_rows=512, resident_rows=0)


def test_any_64_bits_become_rows_by_hash_or_dictionary():
    ids = torch.tensor([2**62, -5, 2**62, 7])
    hashed = one_table(ids="hash")
    weights = hashed.state_dict()["embedding_bags.ids.weight"]
    rows = [splitmix64(splitmix64(i % 2**64) ^ 0) % 16 for i in ids.tolist()]
    with torch.no_grad():
        assert torch.equal(hashed({"id": ids})["id"], weights[rows])
    first, second = one_table(ids="dictionary"), one_table(ids="dictionary")
    weights = first.state_dict()["embedding_bags.ids.weight"]
    with torch.no_grad():
        assert torch.equal(first({"id": ids})["id"], weights[[0, 1, 0, 2]])
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        assert torch.equal(second({"id": ids.flip(0)})["id"], weights[[2, 0, 1, 0]])
        with pytest.raises(ValueError, match="feature id: more than 16 different ids for table ids: make it larger"):
            for n in range(3):
                second({"id": torch.arange(8) + 100 * n})
    for made in (hashed, first, second):
        made.close()


NO_ITEM = {"user": [1]}
BAD = [
    (NO_ITEM, "feature item is missing; there are user"),
    ([1, 2], "features must be a KeyedJaggedTensor or a mapping by name, not list"),
    (
        {"clicked": (torch.arange(5), torch.tensor([5]))},
        "feature clicked, sample 0: 5 ids, more than its length of 4",
    ),
    (
        {"clicked": (torch.arange(3), torch.tensor([2]))},
        "feature clicked: lengths add up to 2, but there are 3 values",
    ),
    ({"user": torch.tensor([500])}, "feature user, value 0: id 500 is not a row of table users, which has 500"),
    ({"user": torch.tensor([-1])}, "feature user, value 0: id -1 is not a row"),
    ({"user": torch.tensor([0.5])}, "ids and lengths must be integers, not float32"),
    ({"user": torch.tensor([1, 2])}, "has 1 samples, user has 2"),
]


@pytest.mark.parametrize("bad, message", BAD, ids=[message[:40] for _, message in BAD])
def test_features_that_are_not_as_told_are_refused_wherever_they_come(bad, message):
    embeddings = collection()
    right = {
        "user": torch.tensor([1]),
        "item": torch.tensor([1]),
        "clicked": torch.tensor([[1, 2]]),
        "day": torch.tensor([3]),
    }
    wrong = bad if isinstance(bad, list) or bad == NO_ITEM else right | bad
    with pytest.raises(ValueError, match=message), torch.no_grad():
        embeddings(wrong)
    with pytest.raises(ValueError, match=message):
        list(embeddings.batches([(None, wrong, None)]))
    embeddings.close()


def test_misuse_says_what_is_right():
    embeddings = collection()
    with pytest.raises(RuntimeError, match=r"step\(\) needs a forward and a backward pass"):
        embeddings.step()
    stale = None
    for n, (_, sparse, _) in enumerate(embeddings.batches(data(4))):
        if n == 1:
            with pytest.raises(RuntimeError, match="while it is the one that batches"):
                embeddings(stale)
            with pytest.raises(RuntimeError, match="has others under way"):
                embeddings(features(np.random.default_rng(1)))
            break
        embeddings(sparse)
        with pytest.raises(RuntimeError, match="a batch goes through the module once"):
            embeddings(sparse)
        stale = sparse
    embeddings.close()
    with pytest.raises(ValueError, match="batch 0 has 33 samples, more than batch_size=32"):
        list(collection().batches(data(1, batch=33)))
    with pytest.raises(ValueError, match=r"all tables must have one embedding_dim, not \[4, 8\]"):
        HotlineEmbeddingBagCollection([*TABLES, TableConfig("x", 4, 4, ["y"])], batch_size=4)
    with pytest.raises(ValueError, match="a feature name occurs twice"):
        HotlineEmbeddingBagCollection([*TABLES, TableConfig("x", 4, DIM, ["user"])], batch_size=4)
    with pytest.raises(ValueError, match="table x: num_embeddings must be at least 1, not 0"):
        TableConfig("x", 0, 4, ["y"])


def test_what_the_data_raises_comes_when_its_batch_is_due_and_skipped_batches_change_nothing():
    def broken():
        yield from data(3)
        raise OSError("the disk is gone")

    embeddings = collection()
    before = embeddings.state_dict()
    seen = 0
    with pytest.raises(OSError, match="the disk is gone"):
        for _ in embeddings.batches(broken()):
            seen += 1
    assert seen >= 1
    after = embeddings.state_dict()
    assert all(torch.equal(a, after[k]) for k, a in before.items())
    embeddings.close()
