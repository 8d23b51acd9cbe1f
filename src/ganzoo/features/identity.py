"""What tells nets apart that a caller holds in memory."""

from __future__ import annotations

import dis
import enum
import functools
import hashlib
import sys
import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganzoo.features.base import fingerprint

__all__ = ["identity"]

_LIBRARIES = sys.stdlib_module_names | {"ganzoo", "numpy", "torch", "torchvision"}
_CONTENT = {"_buffers", "_modules", "_parameters", "training"}  # of a net, hashed otherwise
_ASIDE = {  # of a class, what a net that is built does not compute with
    "__abstractmethods__",
    "__annotate_func__",
    "__annotations__",
    "__annotations_cache__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__init__",
    "__module__",
    "__orig_bases__",
    "__parameters__",
    "__qualname__",
    "__repr__",
    "__static_attributes__",
    "__weakref__",
    "_abc_impl",
    "extra_repr",
}
_VALUES = (type(None), bool, int, float, complex, str, bytes, range, slice)
_SWITCHES = (torch.no_grad, torch.enable_grad, torch.inference_mode)  # also as decorators
_OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)


class _UnknownError(Exception):
    """Something whose content cannot be told."""


def identity(net: nn.Module) -> str | None:
    """Return the hexadecimal SHA-256 of all that decides what a net computes.

    For the net and each of its parts that is: parameters and buffers, other attributes, and the
    code of its class, with the functions, classes and values that this uses. Of classes and
    functions of torch and other libraries of ganzoo's, it is the name.

    Returns:
        None if something cannot be told for sure, such as attributes that are objects of some
        class, or the use of other modules.
    """
    seen = _Seen()
    try:
        parts = [
            (name, seen.value(type(part)), seen.mapping(vars(part), _CONTENT))
            for name, part in net.named_modules(remove_duplicate=False)
        ]
        tensors: dict[str, Tensor] = dict(net.named_parameters(remove_duplicate=False))
        tensors |= dict(net.named_buffers(remove_duplicate=False))
        return hashlib.sha256(f"{parts} {fingerprint(tensors)}".encode()).hexdigest()
    except (_UnknownError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None  # the others are raised by tensors that have no plain content


class _Seen:
    """Plain descriptions of values, of which ``repr`` tells all."""

    def __init__(self) -> None:
        self._known: list[Any] = []  # classes and functions
        self._within: list[Any] = []  # containers

    def value(self, value: Any) -> Any:
        """Anything, or an ``_UnknownError``."""
        if type(value) in _VALUES:
            return (type(value).__name__, repr(value))
        if isinstance(value, _OF_TORCH):
            return repr(value)
        if isinstance(value, Tensor) and type(value) in (Tensor, nn.Parameter, nn.Buffer):
            return fingerprint({"": value})
        if isinstance(value, types.ModuleType) and _of_library(value.__name__):
            return value.__name__
        if isinstance(value, types.BuiltinFunctionType):
            return self._builtin(value)
        if isinstance(value, (types.MethodDescriptorType, types.WrapperDescriptorType)):
            return (value.__objclass__.__name__, value.__name__)
        if isinstance(value, (type, types.FunctionType)):
            for number, known in enumerate(self._known):
                if value is known:
                    return ("again", number)
            self._known.append(value)
            return self._class(value) if isinstance(value, type) else self._function(value)
        if any(value is outer for outer in self._within):
            raise _UnknownError
        self._within.append(value)
        found = self._container(value)
        self._within.pop()
        return found

    def mapping(self, value: Mapping[Any, Any], without: set[str]) -> Any:
        """What a mapping has, in its order."""
        return [(self.value(k), self.value(v)) for k, v in value.items() if k not in without]

    def _container(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, (tuple, list)) and _of_library(kind.__module__):
            return (kind.__name__, [self.value(each) for each in value])
        if isinstance(value, (set, frozenset)) and _of_library(kind.__module__):
            return (kind.__name__, sorted(repr(self.value(each)) for each in value))
        if isinstance(value, dict) and _of_library(kind.__module__):
            return (kind.__name__, self.mapping(value, set()))
        if isinstance(value, enum.Enum):
            return (kind.__qualname__, value.name, self.value(value.value))
        if isinstance(value, (staticmethod, classmethod)):
            return (kind.__name__, self.value(value.__func__))
        if isinstance(value, property):
            return (kind.__name__, [self.value(v) for v in (value.fget, value.fset)])
        if isinstance(value, types.MethodType) and isinstance(value.__self__, _SWITCHES):
            return (value.__name__, type(value.__self__).__name__, repr(vars(value.__self__)))
        if isinstance(value, functools.partial):
            return ("partial", [self.value(v) for v in (value.func, value.args, value.keywords)])
        if isinstance(value, types.CodeType):
            return self._code(value)
        raise _UnknownError

    def _class(self, cls: type) -> Any:
        if _of_library(cls.__module__):
            return f"{cls.__module__}.{cls.__qualname__}"
        bases = [self.value(base) for base in cls.__bases__]
        return (cls.__qualname__, bases, self.mapping(vars(cls), _ASIDE))

    def _builtin(self, function: types.BuiltinFunctionType) -> Any:
        owner = function.__self__
        if owner is not None and not isinstance(owner, (type, types.ModuleType)):
            raise _UnknownError
        return (getattr(owner, "__name__", ""), function.__qualname__)

    def _function(self, function: types.FunctionType) -> Any:
        if _of_library(function.__module__ or "") and not function.__closure__:
            return f"{function.__module__}.{function.__qualname__}"
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        closure = {name: cell.cell_contents for name, cell in cells if name != "__class__"}
        names = sorted(_globals(function.__code__) & function.__globals__.keys())
        used = {name: function.__globals__[name] for name in names}
        defaults = (function.__defaults__, function.__kwdefaults__)
        parts = (function.__code__, closure, used, defaults)
        return ("function", [self.value(part) for part in parts])

    def _code(self, code: types.CodeType) -> Any:
        _check_imports(code)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        facts = (code.co_argcount, code.co_kwonlyargcount, code.co_flags)
        return [code.co_code, names, facts, [self.value(each) for each in code.co_consts]]


def _globals(code: types.CodeType) -> set[str]:
    """Names that code, and what is defined in it, looks up among its module's globals."""
    loads = ("LOAD_GLOBAL", "LOAD_NAME")
    names = {each.argval for each in dis.get_instructions(code) if each.opname in loads}
    inner = (each for each in code.co_consts if isinstance(each, types.CodeType))
    return names.union(*map(_globals, inner))


def _check_imports(code: types.CodeType) -> None:
    """Refuse code that imports what is no library's."""
    steps = [each for each in dis.get_instructions(code) if each.opname != "EXTENDED_ARG"]
    for number, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            level = steps[number - 2].argval  # 0, or the dots of a relative import
            if level != 0 or not _of_library(step.argval):
                raise _UnknownError


def _of_library(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES
