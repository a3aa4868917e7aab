"""The kinds of options that the command line takes, and how each is shown in its help."""

from collections.abc import Callable
from typing import Annotated

import tyro
from tyro.constructors import PrimitiveConstructorSpec


def _whole_number(words: list[str]) -> int:
    try:
        return int(words[0])
    except ValueError:
        raise ValueError(f"must be a whole number, got {words[0]!r}.") from None


def _number(words: list[str]) -> float:
    try:
        return float(words[0])
    except ValueError:
        raise ValueError(f"must be a number, got {words[0]!r}.") from None


def _optional(kind: type, metavar: str, parsed: Callable) -> PrimitiveConstructorSpec:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=parsed,
        is_instance=lambda value: value is None or isinstance(value, kind),
        str_from_instance=lambda value: ["" if value is None else str(value)],
    )


_Int, _Float = _optional(int, "N", _whole_number), _optional(float, "X", _number)
_Text = tyro.conf.arg(help_behavior_hint="")
Count = Annotated[int | None, _Int, _Text]
Number = Annotated[float | None, _Float, _Text]
Text = Annotated[str, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
Names = Annotated[str, tyro.conf.arg(metavar="NAME,...", help_behavior_hint="")]
Numbers = Annotated[str, tyro.conf.arg(metavar="NUMBER,...", help_behavior_hint="")]
Folder = Annotated[str, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")]
Address = Annotated[str, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="")]
Width = Annotated[str, tyro.conf.arg(metavar="N|auto", help_behavior_hint="")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff, _Text]
