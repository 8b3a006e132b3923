"""The quantities of configuration: numbers that may be written with a unit, each as the type of a field."""

from collections.abc import Callable
from typing import Annotated, Any

from edge_agent.units import parse_duration, parse_optional_duration, parse_optional_number, parse_size


class Unit:
    """Lets pydantic read text with a unit for a number, without this module importing pydantic."""

    def __init__(self, parse: Callable[[object], object]) -> None:
        self._parse = parse

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self._parse, handler(source))


Duration = Annotated[float, Unit(parse_duration)]
"""Seconds; in configuration also `"250ms"`, `"30s"`, `"10min"`, `"2h"`, `"7d"`."""
OptionalDuration = Annotated[float | None, Unit(parse_optional_duration)]
"""Seconds, or None; in configuration also `"none"`."""
OptionalNumber = Annotated[float | None, Unit(parse_optional_number)]
"""A number, or None; in configuration also `"none"`."""
Size = Annotated[int, Unit(parse_size)]
"""Bytes; in configuration also `"64KiB"`, `"512MiB"`, `"2GiB"`, `"1MB"`."""
