"""A Python object → what decides its behaviour, as data that can be hashed: source, closure, defaults, state.

Functions and classes of the project are followed into the functions, classes, modules and values that they name. What
they find in another way (``getattr``, a registry) is not seen. Installed packages count by name only.
"""

import ast
import copyreg
import dataclasses
import enum
import importlib.util
import inspect
import os
import sys
import sysconfig
import textwrap
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache, partial
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

_CACHED_FUNCTION = type(lru_cache(lambda: None))
_PLAIN = (bool, int, float, complex, bytes, type(None), type(...), range, slice)
# Not all of these paths: the one of data is the environment's own folder, which may be the project's.
_INSTALLED = tuple(
    f"{Path(sysconfig.get_paths()[name]).resolve()}{os.sep}"
    for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
)


class CannotTell(Exception):
    """What decides an object's behaviour cannot be seen: a lock, an open file, a connection."""


class Describer:
    """Describes objects for one hash. An object that is met again is described as a reference to the first time.

    Args:
        root: the project's folder, which may be another one on the next machine.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        # The objects are kept too, because the id of one that is gone may be given to another.
        self._described: dict[int, tuple[int, Any]] = {}

    def describe(self, value: Any) -> Any:
        """Describe any object.

        Returns:
            Lists, texts and numbers: the same ones for what behaves alike, in any process and on any machine.

        Raises:
            CannotTell: naming the type that cannot be described.
        """
        if isinstance(value, enum.Enum):
            return ["enum", _name_of(type(value)), value.name, self.describe(value.value)]
        if type(value) in _PLAIN:
            return [type(value).__name__, repr(value)]
        if isinstance(value, str | PurePath):
            return [type(value).__name__, f"{value}/".replace(f"{self._root}/", "/")]
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
            # Each by itself, because references to what has come before would depend on the order.
            items = (Describer(Path(self._root)).describe(item) for item in value)
            return [type(value).__name__, *sorted(map(repr, items))]
        if type(value) in (dict, OrderedDict, MappingProxyType):
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
            owner_text = None if isinstance(owner, ModuleType) else self.describe(owner)
            return ["built in", value.__module__, value.__qualname__, owner_text]
        if isinstance(value, partial):
            return ["partial", *map(self.describe, (value.func, value.args, value.keywords))]
        if isinstance(value, property | classmethod | staticmethod):
            functions = [getattr(value, name, None) for name in ("fget", "fset", "fdel", "__func__")]
            return [type(value).__name__, *map(self.describe, functions)]
        if isinstance(value, _CACHED_FUNCTION):
            return ["cached", self.describe(value.__wrapped__)]
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
        state = [self.describe(cell.cell_contents) for cell in function.__closure__ or () if _is_filled(cell)]
        attributes = {name: value for name, value in vars(function).items() if name != "__wrapped__"}
        state += map(self.describe, (function.__defaults__, function.__kwdefaults__, attributes))
        if is_installed(function.__code__.co_filename):
            return ["function", function.__module__, function.__qualname__, state]
        names = sorted(_names_in(function.__code__))
        used = [[name, self._global(function, name)] for name in names if name in function.__globals__]
        source = _source_of(function.__code__)
        text = source if isinstance(source, str) else ""
        imported = self._imported_in(text, function.__code__.co_filename, _package_of(function))
        # The source of a lambda may end too early, or be that of two.
        code = _bytecode_of(function.__code__) if function.__name__ == "<lambda>" else []
        return ["function", source, code, state, used, imported]

    def _global(self, function: FunctionType, name: str) -> Any:
        """What a function finds under a global name; if that cannot be told, the module that makes it."""
        value = function.__globals__[name]
        return self._or_text_of(value, [function.__code__.co_filename, *_files_that_have(value)])

    def _or_text_of(self, value: Any, files: Iterable[str]) -> Any:
        """Describe an object; if that cannot be done, the text of the files that make it."""
        described = len(self._described)
        try:
            return self.describe(value)
        except CannotTell:
            # What was described on the way is not in the result.
            self._described = dict(list(self._described.items())[:described])
            return ["made in", *map(_text_of, files)]

    def _class(self, class_: type) -> Any:
        file = getattr(sys.modules.get(class_.__module__), "__file__", None)
        if not file or is_installed(file):
            return ["class", _name_of(class_)]
        members = [
            [name, self._or_text_of(member, [file])]
            for name, member in vars(class_).items()
            if isinstance(member, FunctionType | staticmethod | classmethod) or not name.startswith(("__", "_abc_"))
        ]
        members += [[name, self._or_text_of(maker, [file])] for name, maker in _makers_of_fields(class_)]
        bases = [self.describe(base) for base in (type(class_), *class_.__bases__)]
        try:
            source = inspect.getsource(class_)
        except (OSError, TypeError):  # it is in no file
            source = ""
        return ["class", class_.__qualname__, source, bases, members]

    def _module(self, module: ModuleType) -> Any:
        """A module of the project, and those of its modules that it imports."""
        file = getattr(module, "__file__", None)
        if not file or is_installed(file):
            return ["module", module.__name__]
        package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
        return ["module", _text_of(file), self._imported_in(_text_of(file), file, package)]

    def _imported_in(self, source: str, file: str, package: str) -> list[Any]:
        """The modules of the project that a text imports; their text alone if they have not been imported yet."""
        described = []
        for name in _modules_imported_in(source, file, package):
            module = sys.modules.get(name)
            module_file = getattr(module, "__file__", None) if module else _file_of(name)
            if module_file and not is_installed(module_file):
                described.append([name, self.describe(module) if module else _text_of(module_file)])
        return described


def _makers_of_fields(class_: type) -> list[tuple[str, Any]]:
    """What makes the values of fields of a dataclass or a pydantic model: factories, validators, classes of objects."""
    factories = [
        (name, item.default_factory)
        for name, item in vars(class_).get("__dataclass_fields__", {}).items()
        if item.default_factory is not dataclasses.MISSING
    ]
    of_pydantic = [vars(class_).get(name, {}) for name in ("__pydantic_fields__", "__private_attributes__")]
    return [*factories, *(item for fields in of_pydantic for item in fields.items())]


def _name_of(class_: type) -> str:
    return f"{class_.__module__}.{class_.__qualname__}"


@cache
def is_installed(file: str) -> bool:
    """Whether code belongs to Python or to an installed package; all other code is the project's, or beside it."""
    return file.startswith("<frozen ") or str(Path(file).resolve()).startswith(_INSTALLED)


@cache
def _text_of(file: str) -> str:
    path = Path(file)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _source_of(code: CodeType) -> Any:
    return _source_in(code, code.co_filename)


@cache
def _source_in(code: CodeType, _file: str) -> Any:
    """The source of code in a file. Python calls two lambdas equal that stand in two files on one line."""
    try:
        return inspect.getsource(code)
    except (OSError, TypeError):
        return _bytecode_of(code)


def _bytecode_of(code: CodeType) -> list[str]:
    return [code.co_code.hex(), *code.co_names, *map(repr, _constants_in(code))]


def _files_that_have(value: Any) -> list[str]:
    """The project's modules in which an object has a name."""
    modules = [(module, getattr(module, "__file__", None)) for module in list(sys.modules.values())]
    edited = [(module, file) for module, file in modules if file and not is_installed(file)]
    return sorted({file for module, file in edited if any(item is value for item in vars(module).values())})


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
def _modules_imported_in(source: str, file: str, package: str) -> tuple[str, ...]:
    """The names of what a text imports, sorted: modules, and what may be modules in packages."""
    if "import" not in source:
        return ()
    try:
        tree = ast.parse(textwrap.dedent(source))
    except SyntaxError:  # the text is a part of an expression, or cannot be taken out of its indentation
        tree = ast.parse(_text_of(file))
    return tuple(sorted({name for node in ast.walk(tree) for name in _imports_of(node, package)}))


def _imports_of(node: ast.AST, package: str) -> Iterable[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    module = ".".join([*parents, *filter(None, [node.module])])
    return [module, *(f"{module}.{alias.name}" for alias in node.names)]


def _file_of(module: str) -> str | None:
    """The file of a module that has not been imported; packages around it are."""
    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # importing runs any code
        return None
    return spec.origin if spec and spec.has_location else None
