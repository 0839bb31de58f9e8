"""What one value of a recipe may be: numbers that are no switches, within their bounds."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError


def _no_switch(value: Any) -> Any:
    """Refuse true and false where a number is meant: an option typed without its value is `true`."""
    if isinstance(value, bool):
        raise PydanticCustomError("no_number", "Input should be a number, not a switch; give it a value")
    return value


def _number(value: Any) -> Any:
    """Read a typed number as YAML does: 1.00 is a fraction, which a union would take for the whole number 1."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


def _ratio(value: Any) -> Any:
    """Read a fraction that is written as one: 1/16."""
    if isinstance(value, str) and (parts := re.fullmatch(r"\s*(\d+)\s*/\s*([1-9]\d*)\s*", value)):
        return int(parts[1]) / int(parts[2])
    return value


Int = Annotated[int, BeforeValidator(_no_switch)]
Float = Annotated[float, BeforeValidator(_no_switch), Field(allow_inf_nan=False)]

PositiveInt = Annotated[Int, Field(gt=0)]
NonNegativeInt = Annotated[Int, Field(ge=0)]
PositiveFloat = Annotated[Float, Field(gt=0)]
NonNegativeFloat = Annotated[Float, Field(ge=0)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
PositiveFraction = Annotated[Float, Field(gt=0, le=1)]
Share = Annotated[PositiveFraction, BeforeValidator(_ratio)]
"""As PositiveFraction; 1/16 may be written as such."""
StepsOrFraction = Annotated[PositiveInt | PositiveFraction, BeforeValidator(_number)]
CountOrFraction = StepsOrFraction
SpanOrNone = Annotated[NonNegativeInt | Fraction, BeforeValidator(_number)]
"""As StepsOrFraction, and 0 for none."""
SizeSetting = PositiveInt | tuple[PositiveInt, PositiveInt]

Mean = Annotated[Float, Field(ge=0, le=1)]
Deviation = Annotated[Float, Field(gt=0, le=1)]
StatisticsSetting = (
    Literal["own", "imagenet"] | tuple[tuple[Mean, Mean, Mean], tuple[Deviation, Deviation, Deviation]]
)
