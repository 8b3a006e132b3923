"""Which features a manifest may ask for: the operations, their arguments, and how many values each gives.

`edge_agent/inference/worker/features.py` computes them; a test keeps the two equal. docs/features.md explains them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

MAX_VALUES: Final = 100_000
MAX_LAGS: Final = 1_000
MAX_BANDS: Final = 100
MAX_BUCKETS: Final = 2**20
_FLOAT32_MAX: Final = 3.4e38


class FeatureRuleError(ValueError):
    """A feature that cannot be computed as asked; the text names the operation and the argument."""


class Reads(StrEnum):
    """What an operation looks at."""

    INPUT = "input"
    TIMES = "times"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: `accepts` judges a value, `means` says in words what is accepted."""

    accepts: Callable[[Any], bool]
    means: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `width` gives the number of values from the arguments; `refuse` says what is wrong between them."""

    reads: Reads = Reads.INPUT
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    width: Callable[[Mapping[str, Any]], int] = lambda args: 1
    refuse: Callable[[Mapping[str, Any]], str | None] = lambda args: None


def feature_width(op: str, name: str | None, args: Mapping[str, Any]) -> int:
    """How many values the feature gives; raises FeatureRuleError if it is not one that a worker can compute."""
    operation = OPERATIONS.get(op)
    if operation is None:
        raise FeatureRuleError(f"{op!r} is no operation; there are: {', '.join(sorted(OPERATIONS))}")
    if operation.reads is Reads.INPUT and name is None:
        raise FeatureRuleError(f"{op}: input: the name of one of inputs is needed")
    if operation.reads is not Reads.INPUT and name is not None:
        raise FeatureRuleError(f"{op}: input: it reads the {operation.reads}, so it takes none")
    known = operation.arguments
    for key, value in args.items():
        if key not in known:
            raise FeatureRuleError(f"{op}: unknown argument {key!r}; there are: {', '.join(sorted(known)) or 'none'}")
        if not known[key].accepts(value):
            raise FeatureRuleError(f"{op}: {key}: {known[key].means}, not {_shown(value)}")
    for key, argument in known.items():
        if argument.required and key not in args:
            raise FeatureRuleError(f"{op}: {key} is needed: {argument.means}")
    wrong = operation.refuse(args)
    if wrong is not None:
        raise FeatureRuleError(f"{op}: {wrong}")
    return operation.width(args)


def _shown(value: Any) -> str:
    # An integer may be too long to be written out.
    plain = isinstance(value, str | float) or (isinstance(value, int) and abs(value) < 2**63)
    return repr(value)[:80] if plain else f"this {type(value).__name__}"


def _is_number(value: Any, least: float = -_FLOAT32_MAX, most: float = _FLOAT32_MAX) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _is_count(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_list(value: Any, most: int, accepts: Callable[[Any], bool]) -> bool:
    return isinstance(value, list | tuple) and 1 <= len(value) <= most and all(accepts(item) for item in value)


def _count(least: int, most: int, *, required: bool = False) -> Argument:
    return Argument(lambda value: _is_count(value, least, most), f"a whole number from {least} to {most}", required)


def _choice(*words: str) -> Argument:
    return Argument(lambda value: isinstance(value, str) and value in words, " or ".join(f'"{word}"' for word in words))


def _policy(*words: str) -> Argument:
    return Argument(
        lambda value: value in words if isinstance(value, str) else _is_number(value),
        ", ".join(f'"{word}"' for word in words) + " or a number",
    )


def _is_band(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2
    return pair and all(_is_number(edge, 0, 1e9) for edge in value) and bool(value[0] < value[1])


def _band_above_half_of_the_rate(args: Mapping[str, Any]) -> str | None:
    if "rate" in args:
        for low, high in args["bands"]:
            if high > args["rate"] / 2:
                return f"bands: {low:g} to {high:g} Hz ends above half of the rate, {args['rate'] / 2:g} Hz"
    return None


def _sizes_out_of_order(args: Mapping[str, Any]) -> str | None:
    return None if args.get("n_min", 2) <= args.get("n_max", 4) else "n_min: no more than n_max"


def _length(key: str) -> Callable[[Mapping[str, Any]], int]:
    def width(args: Mapping[str, Any]) -> int:
        given: Sequence[Any] = args[key]
        return len(given)

    return width


_MISSING: Final = {"missing": _policy("error", "drop", "mean", "zero", "previous", "linear")}
_MISSING_IN_PLACE: Final = {"missing": _policy("error", "mean", "zero", "previous", "linear")}
"""Where positions count: leaving values out would move the others."""
_ABOUT: Final = {"about": _choice("zero", "mean")} | _MISSING
_RATE: Final = {"rate": Argument(lambda value: _is_number(value, 1e-9, 1e9), "a rate in Hz")} | _MISSING_IN_PLACE
_BOOLEAN: Final = Argument(lambda value: isinstance(value, bool), "true or false")
_PLAIN: Final = Operation(arguments=_MISSING)
_CALENDAR: Final = Operation(
    Reads.TIMES,
    {"offset_hours": Argument(lambda value: _is_number(value, -24, 24), "hours from -24 to 24")},
    lambda args: 2,
)

OPERATIONS: Final[Mapping[str, Operation]] = {
    **dict.fromkeys(("mean", "min", "max", "range", "std", "median", "mad", "skewness"), _PLAIN),
    **dict.fromkeys(("last", "first", "delta", "max_abs_step", "mean_abs_step"), _PLAIN),
    **dict.fromkeys(("count", "count_missing", "rate_per_hour", "minutes_since_last"), Operation()),
    **dict.fromkeys(("peak", "rms", "crest_factor", "zero_crossings"), Operation(arguments=_ABOUT)),
    **dict.fromkeys(("dominant_frequency", "spectral_centroid", "spectral_entropy"), Operation(arguments=_RATE)),
    **dict.fromkeys(("hour", "day_of_week", "day_of_year", "month"), _CALENDAR),
    "quantile": Operation(
        arguments={"q": Argument(lambda value: _is_number(value, 0, 1), "a number from 0 to 1", required=True)} | _MISSING
    ),
    "kurtosis": Operation(arguments={"excess": _BOOLEAN} | _MISSING),
    "slope": Operation(arguments={"per": _choice("hour", "step")} | _MISSING),
    "ewma": Operation(
        arguments={"alpha": Argument(lambda value: _is_number(value, 0, 1) and value > 0, "above 0 and up to 1", required=True)}
        | _MISSING
    ),
    "values": Operation(
        arguments={"n": _count(1, MAX_VALUES, required=True)} | _MISSING_IN_PLACE, width=lambda args: int(args["n"])
    ),
    "lag": Operation(arguments={"k": _count(0, MAX_VALUES)} | _MISSING_IN_PLACE),
    "lags": Operation(
        arguments={
            "k": Argument(
                lambda value: _is_list(value, MAX_LAGS, lambda item: _is_count(item, 0, MAX_VALUES)),
                f"a list of whole numbers from 0 to {MAX_VALUES}",
                required=True,
            )
        }
        | _MISSING_IN_PLACE,
        width=_length("k"),
    ),
    "spectral_bands": Operation(
        arguments={
            "bands": Argument(
                lambda value: _is_list(value, MAX_BANDS, _is_band),
                "a list of [low, high] in Hz, low below high",
                required=True,
            ),
            "relative": _BOOLEAN,
        }
        | _RATE,
        width=_length("bands"),
        refuse=_band_above_half_of_the_rate,
    ),
    "char_ngrams": Operation(
        Reads.TEXT,
        {"n_min": _count(1, 16), "n_max": _count(1, 16), "buckets": _count(1, MAX_BUCKETS)},
        lambda args: int(args.get("buckets", 1024)),
        _sizes_out_of_order,
    ),
}
