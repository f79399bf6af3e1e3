"""The flags of a task's settings: those that are given replace the preset's values, whichever preset it is."""

from typing import Annotated, Any, TypedDict, cast

import tyro
from tyro.constructors import MISSING, ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from experiments.training.settings import Settings
from experiments.training.task import Task


def settings_flags(task: Task[Any]) -> type[dict[str, Any]]:
    """Type of a dictionary of the task's settings, each with its type, in which a setting may be missing.

    tyro reads a command line into it and leaves out what the line does not have. The preset therefore need not be known
    before the line is read, and None stays a value of its own. The help of a flag has the value of every preset.
    """
    kind = type(next(iter(task.presets.values())))
    spec = ConstructorRegistry.get_struct_spec(StructTypeInfo.make(kind, MISSING, in_union_context=False))
    assert isinstance(spec, StructConstructorSpec)  # noqa: S101 - settings are a dataclass, which tyro knows
    fields = {field.name: _flag(field, task) for field in spec.fields}
    return cast("type[dict[str, Any]]", TypedDict(kind.__name__, fields, total=False))  # type: ignore[operator]  # mypy takes no computed fields


def _flag(field: StructFieldSpec, task: Task[Any]) -> Any:
    text = field.helptext() if callable(field.helptext) else field.helptext
    hint = f"(default: {_defaults(field.name, task)})"
    return Annotated[field.type, tyro.conf.arg(help=" ".join((text or "").split()), help_behavior_hint=hint)]


def _defaults(name: str, task: Task[Any]) -> str:
    """``100`` where all presets have this value, and otherwise ``paper 100, demo 30``."""
    values = {preset: _words(settings, name) for preset, settings in task.presets.items()}
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return ", ".join(f"{preset} {value}" for preset, value in values.items())


def _words(settings: Settings, name: str) -> str:
    """The value as it is typed; an empty list of values, which is a flag with nothing after it, is shown as ()."""
    value = getattr(settings, name)
    return " ".join(map(str, value)) or "()" if isinstance(value, tuple) else str(value)
