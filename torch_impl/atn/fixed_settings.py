"""Settings of a module that its parameters and its checks were made for."""

from typing import Any, ClassVar

from torch import nn


class FixedSettings(nn.Module):
    """A module that refuses another value for a setting of `_fixed` once it has one, and a module for a property."""

    _fixed: ClassVar[frozenset[str]] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute.

        Raises
        ------
        AttributeError
            `name` is one of `_fixed`, and `value` is not what it has; or `name` is a property that cannot be set.
        TypeError, ValueError
            `name` is a property, and `value` is none of its values.
        """
        if isinstance(value, nn.Module) and isinstance(getattr(type(self), name, None), property):
            # torch would register a module under the name of the property, which no one would ever read.
            object.__setattr__(self, name, value)
            return
        if name in type(self)._fixed and name in self.__dict__:  # noqa: SLF001 - of its own class
            now = self.__dict__[name]
            if type(value) is not type(now) or value != now:
                raise AttributeError(
                    f"{name} must stay {now!r}, with which this {type(self).__name__} was made, got {value!r}; "
                    "make another module"
                )
        super().__setattr__(name, value)
