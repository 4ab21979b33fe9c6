"""Which columns of a log are what: the label, dense features, and tables, as a SPEC's keys or a file says it.

The keys, in a SPEC or in a JSON or TOML file (where lists may be lists):

=============  ==========================================================================================
``label``      the label's column; ``none``: there is none
``threshold``  the label is 1 from this value on; without it a label is 0 or 1
``dense``      columns of dense features: names, joined by ``+``, and ranges ``I1:I13``
``transform``  of dense features: ``none`` (default) or ``log1p``: log(1 + max(x, 0))
``nonfinite``  NaN and infinities of dense features: ``refuse`` (default) or ``zero``; an empty one is 0
``sparse``     columns of tables, the same way; ``item=history`` are two columns of one table
``hot``        accesses of list columns: ``history:20``, joined by ``+``; longer lists are refused
``longer``     lists longer than that: ``refuse`` (default) or ``cut``
``rule``       values to rows: hash (default with ``rows``), first-seen (default without), modulo or as-is
``rows``       rows of all tables, or of each (``1000:50``), in their order
``seed``       of ``hash``
``null``       empty categoricals: value, skip or refuse
``integers``   of CSV: columns of tables whose values are integers, not text, joined by ``+``
=============  ==========================================================================================
"""

import json
import math
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from hotline_golden.layouts import NO_ACCESS

from ..shapes import SHAPES
from ..trace import TraceError, cause, shortened
from .values import NULLS, RULES, AsIs, FirstSeen, FirstSeenText, Hash, Modulo, Rule

#: A range of columns: a common beginning, and two numbers.
RANGE = re.compile(r"(.*?)([0-9]+):(.*?)([0-9]+)")
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,20}")
DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?(e-?[0-9]{1,2})?")


@dataclass(frozen=True)
class Schema:
    """What the module's keys say. ``tables``: the columns of each, of ``sparse``."""

    label: str | None = None
    dense: tuple[str, ...] = ()
    tables: tuple[tuple[str, ...], ...] = ()
    hot: dict[str, int] = field(default_factory=dict)
    threshold: float | None = None
    transform: str = "none"
    nonfinite: str = "refuse"
    longer: str = "refuse"
    rule: str = "first-seen"
    rows: tuple[int, ...] = ()
    seed: int = 1
    null: str = ""
    integers: tuple[str, ...] = ()

    @property
    def sparse(self) -> list[str]:
        """The columns of all tables."""
        return [name for table in self.tables for name in table]

    @property
    def columns(self) -> list[str]:
        """All columns that are read."""
        return [*([self.label] if self.label else []), *self.dense, *self.sparse]

    @property
    def nulls(self) -> str:
        """What an empty categorical becomes."""
        return self.null or ("value" if self.rule in ("hash", "first-seen") else "refuse")

    def width(self, column: str) -> int:
        """Accesses that a column has in a sample."""
        return self.hot.get(column, 1)

    def widths(self) -> list[int]:
        """Accesses of each table."""
        return [sum(map(self.width, table)) for table in self.tables]

    def rules(self, text: Sequence[bool]) -> list[Rule]:
        """A rule for each table; ``text``: whether its columns hold text."""
        return rules(self.rule, len(self.tables), self.rows, self.seed, self.nulls, text)


#: What the keys may be, for messages.
CHOICES = {"transform": ("none", "log1p"), "nonfinite": ("refuse", "zero"), "longer": ("refuse", "cut"), "rule": RULES,
           "null": ("", *NULLS)}  # fmt: skip
KEYS = ("label", "dense", "sparse", *(f.name for f in fields(Schema) if f.name not in ("label", "dense", "tables")))


def rules(
    rule: str,
    tables: int,
    sizes: Sequence[int],
    seed: int,
    null: str,
    text: Sequence[bool] | None = None,
    default: Sequence[int] = (),
) -> list[Rule]:
    """A rule for each of ``tables``. ``sizes``: of all, of each, or none given; ``default``: of each, where hashes need them.
    Raises TraceError for what does not go together."""
    if rule not in RULES:
        raise TraceError(f"unknown rule {rule!r} for categorical values: use {', '.join(RULES)}")
    if null == "value" and rule in ("modulo", "as-is"):
        raise TraceError(f"null=value is for rule=hash and rule=first-seen; rule={rule} takes skip or refuse")
    if not 0 <= seed < 1 << 64:
        raise TraceError(f"seed={seed}: 0 to 2**64 - 1 is right")
    if sizes and rule == "first-seen":
        raise TraceError("rows=... is for other rules; rule=first-seen makes tables as large as needed")
    given = list(sizes) * tables if len(sizes) == 1 else list(sizes)
    if given and len(given) != tables:
        raise TraceError(f"table sizes: {len(given)} given; one for all tables, or {tables}, are right")
    for size in given:
        if not 1 <= size < NO_ACCESS:
            raise TraceError(f"table sizes: {size}; 1 to {NO_ACCESS - 1} rows are right")
    needed = given or list(default)
    if not needed and rule in ("hash", "modulo"):
        raise TraceError(f"rule={rule} needs rows=...: of all tables, or of each")
    text = text or [False] * tables
    found: list[Rule] = []
    for table in range(tables):
        if text[table] and rule in ("modulo", "as-is"):
            raise TraceError(
                f"table {table} holds text, for which rule=hash and rule=first-seen are right, not rule={rule}"
            )
        if rule == "hash":
            found.append(Hash(needed[table], table, seed))
        elif rule == "modulo":
            found.append(Modulo(needed[table], table, seed))
        elif rule == "first-seen":
            found.append((FirstSeenText if text[table] else FirstSeen)(null))
        else:
            found.append(AsIs(given[table] if given else None))
    return found


def read_schema(path: Path) -> dict:
    """The keys of a JSON or TOML file. Raises TraceError."""
    try:
        text = path.read_text()
        found = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as e:
        raise TraceError(f"{path}: {cause(e)}") from None
    except ValueError as e:
        raise TraceError(f"{path}: neither JSON nor, with a name that ends in .toml, TOML: {e}") from None
    if not isinstance(found, dict):
        raise TraceError(f"{path}: {type(found).__name__}; an object of keys is right: {', '.join(KEYS)}")
    return found


def schema(settings: dict, names: Sequence[str], where: str) -> Schema:
    """From keys to a schema of a log whose columns are ``names``. Values are text as in a SPEC, or lists and numbers. Raises
    TraceError, which names ``where``."""
    for key in settings:
        if key not in KEYS:
            raise TraceError(f"{where}: unknown key {shortened(str(key))}; there are {', '.join(KEYS)}")

    def wrong(key: str, right: str) -> TraceError:
        return TraceError(f"{where}: {key}={shortened(str(settings[key]))}; {right}")

    given: dict = {}
    for key, choices in CHOICES.items():
        if key in settings:
            if settings[key] not in choices:
                raise wrong(key, f"one of {', '.join(c for c in choices if c)} is right")
            given[key] = settings[key]
    if "label" in settings and settings["label"] != "none":
        given["label"] = str(settings["label"])
    if "threshold" in settings:
        if not DECIMAL.fullmatch(str(settings["threshold"])):
            raise wrong("threshold", "a number is right")
        given["threshold"] = float(settings["threshold"])
    if "seed" in settings:
        given["seed"] = whole_number(where, str(settings["seed"]))
    if "rows" in settings:
        listed = settings["rows"] if isinstance(settings["rows"], list) else str(settings["rows"]).split(":")
        given["rows"] = tuple(table_sizes(where, [str(n) for n in listed]))
        given.setdefault("rule", "hash")
    given["dense"] = tuple(c for group in _groups(settings.get("dense", ""), names, where) for c in group)
    given["tables"] = tuple(map(tuple, _groups(settings.get("sparse", ""), names, where)))
    given["integers"] = tuple(c for group in _groups(settings.get("integers", ""), names, where) for c in group)
    hot = settings.get("hot", {})
    pairs = hot.items() if isinstance(hot, dict) else [p.rpartition(":")[::2] for p in str(hot).split("+")]
    given["hot"] = {name: whole_number(where, str(number)) for name, number in pairs}
    found = Schema(**given)
    _check(found, names, where)
    return found


def table_sizes(where: str, texts: Sequence[str]) -> list[int]:
    """Numbers, or those of a known shape: ``criteo-kaggle``."""
    if len(texts) == 1 and texts[0] in SHAPES:
        return list(SHAPES[texts[0]].rows)
    return [whole_number(where, text) for text in texts]


def whole_number(where: str, text: str) -> int:
    """A whole number of up to 20 ASCII digits. Raises TraceError for anything else."""
    if not WHOLE_NUMBER.fullmatch(text):
        raise TraceError(f"{where}: {shortened(text)} is not a whole number")
    return int(text)


def at_least(spec: str, key: str, value: str, least: int) -> int:
    number = whole_number(f"trace {shortened(spec, 80)}: {key}", value)
    if not least <= number < 1 << 64:
        raise TraceError(f"trace {shortened(spec, 80)}: {key}={value}: {least} to 2**64 - 1 is right")
    return number


def decimal(spec: str, key: str, value: str) -> float:
    if not DECIMAL.fullmatch(value) or not math.isfinite(float(value)):
        raise TraceError(f"trace {shortened(spec, 80)}: {key}={shortened(value)} is not a finite number")
    return float(value)


def _groups(text, names: Sequence[str], where: str) -> list[list[str]]:
    """Columns, joined by ``+``; those joined by ``=`` are one group, and each of a range its own."""
    if isinstance(text, list):
        return [list(map(str, item)) if isinstance(item, list) else [str(item)] for item in text]
    found: list[list[str]] = []
    for item in str(text).split("+") if text else []:
        group = item.split("=")
        if len(group) == 1 and item not in names and (match := RANGE.fullmatch(item)):
            prefix, first, other, last = match.groups()
            if prefix != other or int(first) > int(last):
                raise TraceError(f"{where}: {item!r} is no range of columns; I1:I13 is one")
            found += [[f"{prefix}{n}"] for n in range(int(first), int(last) + 1)]
        else:
            found.append(group)
    return found


def _check(found: Schema, names: Sequence[str], where: str) -> None:
    there = f"there are {', '.join(names[:40])}{', ...' if len(names) > 40 else ''}"
    for column in found.columns:
        if column not in names:
            raise TraceError(f"{where}: no column {column!r}; {there}")
    for column in found.columns:
        if found.columns.count(column) > 1:
            raise TraceError(f"{where}: column {column!r} is named twice")
    if not found.tables:
        raise TraceError(f"{where}: sparse=... names no column of a table; {there}")
    for key, named in (("hot", found.hot), ("integers", found.integers)):
        for column in named:
            if column not in found.sparse:
                raise TraceError(f"{where}: {key} names {column!r}, which is no column of sparse")
    for column, number in found.hot.items():
        if number < 1:
            raise TraceError(f"{where}: hot of {column!r} is {number}; at least 1 is right")
