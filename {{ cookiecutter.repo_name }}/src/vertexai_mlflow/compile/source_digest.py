"""A Python object → what decides its behaviour, as data that can be hashed: source, closure, defaults, state.

Functions and classes of the project are followed into what they call, as far as names tell: functions, classes, modules
and values that they refer to. Installed packages are known by name, because the lock decides their code.
"""

import ast
import copyreg
import enum
import importlib.util
import inspect
import os
import sys
import sysconfig
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

_PLAIN = (bool, int, float, complex, bytes, type(None), type(...), range, slice)
_INSTALLED = tuple({f"{Path(path).resolve()}{os.sep}" for path in sysconfig.get_paths().values()})


class CannotTell(Exception):
    """What decides an object's behaviour cannot be seen: a lock, an open file, a connection."""


class Describer:
    """Describes objects for one hash; of an object that comes twice, the second description is a reference.

    Args:
        root: the project's folder, which may be another one on the next machine.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        # Kept, because the number of an object that is gone may be given to another one.
        self._described: dict[int, tuple[int, Any]] = {}

    def describe(self, value: Any) -> Any:
        """Describe any object.

        Returns:
            Lists, texts and numbers: the same ones for what behaves alike, in any process and on any machine.

        Raises:
            CannotTell: naming the type that cannot be described.
        """
        if isinstance(value, enum.Enum):
            return ["enum", _name_of(type(value)), value.name]
        if type(value) in _PLAIN:
            return [type(value).__name__, repr(value)]
        if isinstance(value, str | PurePath):
            return [type(value).__name__, str(value).replace(self._root, "")]
        if id(value) in self._described:
            return ["again", self._described[id(value)][0]]
        self._described[id(value)] = (len(self._described), value)
        try:
            return self._describe_once(value)
        except RecursionError:
            raise CannotTell(type(value).__name__) from None

    def _describe_once(self, value: Any) -> Any:
        if type(value) in (list, tuple):
            return [type(value).__name__, *map(self.describe, value)]
        if type(value) in (set, frozenset):
            return [type(value).__name__, *sorted(map(repr, map(self.describe, value)))]
        if isinstance(value, Mapping) and type(value).__module__ in ("builtins", "collections", "types"):
            return [type(value).__name__, *([self.describe(key), self.describe(item)] for key, item in value.items())]
        if isinstance(value, ModuleType):
            return self._module(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            return ["method", self.describe(value.__func__), self.describe(value.__self__)]
        if isinstance(value, BuiltinFunctionType):
            owner = value.__self__
            return ["built in", value.__qualname__, None if isinstance(owner, ModuleType) else self.describe(owner)]
        if isinstance(value, partial):
            return ["partial", *map(self.describe, (value.func, value.args, value.keywords))]
        if isinstance(value, property | classmethod | staticmethod):
            functions = [getattr(value, name, None) for name in ("fget", "fset", "fdel", "__func__")]
            return [type(value).__name__, *map(self.describe, functions)]
        if wrapped := getattr(value, "__wrapped__", None):  # functools.lru_cache
            return ["wrapped", _name_of(type(value)), self.describe(wrapped)]
        return self._object(value)

    def _object(self, value: Any) -> Any:
        """An object as pickle would take it apart: its class and its state."""
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            parts = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception as error:  # a class may raise anything
            raise CannotTell(type(value).__name__) from error
        if isinstance(parts, str):
            return ["global", parts]
        items = [list(part) if isinstance(part, Iterator) else part for part in parts]
        return ["object", self.describe(type(value)), *map(self.describe, items)]

    def _function(self, function: FunctionType) -> Any:
        own = [self.describe(cell.cell_contents) for cell in function.__closure__ or () if _is_filled(cell)]
        own += [self.describe(function.__defaults__), self.describe(function.__kwdefaults__)]
        if is_installed(function.__code__.co_filename):
            return ["function", function.__module__, function.__qualname__, own]
        names = sorted(_names_in(function.__code__))
        used = [[name, self._global(function, name)] for name in names if name in function.__globals__]
        imported = [_text_of(file) for file in _files_imported_in(function.__code__, _package_of(function))]
        return ["function", _source_of(function.__code__), own, used, imported]

    def _global(self, function: FunctionType, name: str) -> Any:
        """What a function finds under a global name; if that cannot be told, the module that makes it."""
        try:
            return self.describe(function.__globals__[name])
        except CannotTell:
            return _text_of(function.__code__.co_filename)

    def _class(self, class_: type) -> Any:
        file = getattr(sys.modules.get(class_.__module__), "__file__", None)
        if not file or is_installed(file):
            return ["class", _name_of(class_)]
        members = [
            [name, self._member(member, file)]
            for name, member in vars(class_).items()
            if isinstance(member, FunctionType) or not name.startswith(("__", "_abc_"))
        ]
        bases = [self.describe(base) for base in class_.__bases__]
        try:
            source = inspect.getsource(class_)
        except (OSError, TypeError):  # it was made in another way than in a file
            source = ""
        return ["class", class_.__qualname__, source, bases, members]

    def _member(self, member: Any, file: str) -> Any:
        """What a class has under a name; if that cannot be told, the module that makes it."""
        try:
            return self.describe(member)
        except CannotTell:
            return _text_of(file)

    def _module(self, module: ModuleType) -> Any:
        """A module of the project, and those of its modules that it imports."""
        file = getattr(module, "__file__", None)
        if not file or is_installed(file):
            return ["module", module.__name__]
        used = {id(value): value for value in vars(module).values() if isinstance(value, ModuleType)}
        for value in vars(module).values():
            other = sys.modules.get(getattr(value, "__module__", None) or "")
            if other is not None and other is not module:
                used[id(other)] = other
        modules = sorted(used.values(), key=lambda other: other.__name__)
        return ["module", _text_of(file), *map(self.describe, modules)]


def _name_of(class_: type) -> str:
    return f"{class_.__module__}.{class_.__qualname__}"


@cache
def is_installed(file: str) -> bool:
    """Whether code is of Python or an installed package, and not what people edit: of the project, or beside it."""
    return file.startswith("<frozen ") or str(Path(file).resolve()).startswith(_INSTALLED)


@cache
def _text_of(file: str) -> str:
    path = Path(file)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


@cache
def _source_of(code: CodeType) -> Any:
    try:
        return inspect.getsource(code)
    except (OSError, TypeError):
        return [code.co_code.hex(), *map(repr, _constants_in(code))]


def _is_filled(cell: Any) -> bool:
    """Whether a variable of a closure has a value by now."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _package_of(function: FunctionType) -> str:
    """The package that relative imports in a function start from."""
    module = function.__module__ or ""
    return module if hasattr(sys.modules.get(module), "__path__") else module.rpartition(".")[0]


def _names_in(code: CodeType) -> set[str]:
    """The names that a function may look up as globals, also in functions inside of it."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names_in, inner))


def _constants_in(code: CodeType) -> Iterator[Any]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _constants_in(constant)
        else:
            yield constant


@cache
def _files_imported_in(code: CodeType, package: str) -> tuple[str, ...]:
    """The project's files of modules that a function imports in its body."""
    source = _source_of(code)
    if not isinstance(source, str) or "import" not in source:
        return ()
    try:
        nodes = list(ast.walk(ast.parse(textwrap.dedent(source))))
    except SyntaxError:  # a lambda in the middle of an expression
        return ()
    files = {file for node in nodes for name in _imports_of(node, package) if (file := _file_of(name))}
    return tuple(sorted(files))


def _imports_of(node: ast.AST, package: str) -> Iterable[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    module = ".".join([*parents, *filter(None, [node.module])])
    return [module, *(f"{module}.{alias.name}" for alias in node.names)]


def _file_of(module: str) -> str | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None
    is_edited = spec and spec.has_location and spec.origin and not is_installed(spec.origin)
    return spec.origin if spec and is_edited else None
