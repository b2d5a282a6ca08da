"""A fingerprint of a step changes with all that decides its result, and with nothing else."""

import importlib
import itertools
import linecache
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest
from kedro.pipeline import Node

from vertexai_mlflow.compile import source_digest
from vertexai_mlflow.compile.fingerprint import Definitions, changed_parts, fingerprint
from vertexai_mlflow.contract.params import by_name

_NUMBERS = itertools.count()

# Node functions as people write them. Of each, the text before and after an edit, which changes what it returns.
EDITS = {
    "its own body": ("def work(x):\n    return x + 1", "1", "2"),
    "a closure": ("def scaled(by):\n    def work(x):\n        return x * by\n    return work\nwork = scaled(1)", "scaled(1)", "scaled(2)"),
    "a default": ("default = 1\ndef work(x, by=default):\n    return x * by", "default = 1", "default = 2"),
    "a keyword default": ("default = 1\ndef work(x, *, by=default):\n    return x * by", "default = 1", "default = 2"),
    "a callable object": ("class Add:\n    def __init__(self, n):\n        self.n = n\n    def __call__(self, x):\n        return x + self.n\nwork = Add(1)", "Add(1)", "Add(2)"),
    "the method of an object": ("class Add:\n    def __init__(self, n):\n        self.n = n\n    def add(self, x):\n        return x + self.n\nwork = Add(1).add", "Add(1)", "Add(2)"),
    "the class of an object": ("class Add:\n    def __call__(self, x):\n        return self.more(x)\n    def more(self, x):\n        return x + 1\nwork = Add()", "x + 1", "x + 2"),
    "a class above": ("class Base:\n    def more(self, x):\n        return x + 1\nclass Add(Base):\n    def __call__(self, x):\n        return self.more(x)\nwork = Add()", "x + 1", "x + 2"),
    "a frozen dataclass": ("from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Add:\n    n: int\n    def __call__(self, x):\n        return x + self.n\nwork = Add(1)", "Add(1)", "Add(2)"),
    "slots": ("class Add:\n    __slots__ = ('n',)\n    def __init__(self, n):\n        self.n = n\n    def __call__(self, x):\n        return x + self.n\nwork = Add(1)", "Add(1)", "Add(2)"),
    "a partial": ("from functools import partial\ndef add(n, x):\n    return n + x\nwork = partial(add, 1)", "add, 1", "add, 2"),
    "a partial of an object": ("from functools import partial\nclass Add:\n    def __init__(self, n):\n        self.n = n\n    def __call__(self, m, x):\n        return self.n + m + x\nwork = partial(Add(1), 5)", "Add(1)", "Add(2)"),
    "a decorator": ("from functools import wraps\ndef more(f):\n    @wraps(f)\n    def wrapper(x):\n        return f(x) + 1\n    return wrapper\n@more\ndef work(x):\n    return x", "+ 1", "+ 2"),
    "what a decorator is given": ("from functools import wraps\ndef more(n):\n    def decorate(f):\n        @wraps(f)\n        def wrapper(x):\n            return f(x) + n\n        return wrapper\n    return decorate\n@more(1)\ndef work(x):\n    return x", "more(1)", "more(2)"),
    "a function that it calls": ("def add(x):\n    return x + 1\ndef work(x):\n    return add(x)", "x + 1", "x + 2"),
    "a function that that calls": ("def one():\n    return 1\ndef add(x):\n    return x + one()\ndef work(x):\n    return [add(y) for y in x]", "return 1", "return 2"),
    "a constant": ("STEP = 1\ndef work(x):\n    return x + STEP", "STEP = 1", "STEP = 2"),
    "a table": ("STEPS = {'a': [1, (2, 3)]}\ndef work(x):\n    return STEPS[x]", "(2, 3)", "(2, 4)"),
    "a set": ("NAMES = {'a', 'b', 'c'}\ndef work(x):\n    return x in NAMES", "'c'", "'d'"),
    "an array": ("import numpy\nWEIGHTS = numpy.array([1.0, 2.0])\ndef work(x):\n    return WEIGHTS @ x", "2.0", "3.0"),
    "a pattern": ("import re\nNAME = re.compile('a')\ndef work(x):\n    return NAME.match(x)", "'a'", "'b'"),
    "a cached function": ("from functools import lru_cache\n@lru_cache\ndef add(x):\n    return x + 1\ndef work(x):\n    return add(x)", "x + 1", "x + 2"),
    "an enumeration": ("from enum import Enum\nclass Kind(Enum):\n    A = 1\n    B = 2\nKIND = Kind.A\ndef work(x):\n    return KIND", "KIND = Kind.A", "KIND = Kind.B"),
    "a lambda": ("work = lambda x: x + 1", "+ 1", "+ 2"),
    "a lambda in a list": ("work = [lambda x: x + 1, lambda x: x][0]", "+ 1", "+ 2"),
    "made by exec": ("space = {}\nexec('def work(x): return x + 1', space)\nwork = space['work']", "+ 1", "+ 2"),
    "the value of an enumeration": ("from enum import Enum\nclass Kind(Enum):\n    A = 1\nKIND = Kind.A\ndef work(x):\n    return KIND.value", "A = 1", "A = 2"),
    "the default of a dictionary": ("from collections import defaultdict\nD = defaultdict(lambda: 1)\ndef work(x):\n    return D[x]", "lambda: 1", "lambda: 2"),
    "a built-in function": ("from math import sqrt\ndef work(x):\n    return sqrt(x)", "from math", "from cmath"),
    "a decorator that is a class": ("from functools import update_wrapper\nclass More:\n    def __init__(self, f):\n        update_wrapper(self, f)\n        self.f = f\n    def __call__(self, x):\n        return self.f(x) + 1\n@More\ndef work(x):\n    return x", "+ 1", "+ 2"),
    "a lambda on lines of its own": ("def same(f):\n    return f\nwork = same(\n    lambda x:\n    x + 1,\n)", "+ 1", "+ 2"),
    "one of two lambdas on a line": ("A, B = lambda x: x + 1, lambda x: x + 2\nwork = A", "work = A", "work = B"),
    "a constructor": ("def made(x):\n    return x + 1\nclass Add:\n    def __new__(cls, x):\n        return made(x)\nwork = Add", "x + 1", "x + 2"),
    "an attribute of a function": ("def work(x):\n    return x * work.rate\nwork.rate = 1", "rate = 1", "rate = 2"),
    "a factory of a field": ("from dataclasses import dataclass, field\ndef made():\n    return [1]\n@dataclass\nclass Options:\n    rates: list = field(default_factory=made)\ndef work(x):\n    return Options()", "[1]", "[2]"),
    "a default that has a name": ("from dataclasses import dataclass\nRATE = 1\n@dataclass\nclass Options:\n    rate: int = RATE\ndef work(x):\n    return Options()", "RATE = 1", "RATE = 2"),
    "a validator of a field": ("from typing import Annotated\nfrom pydantic import AfterValidator, BaseModel\ndef more(n):\n    return n + 1\nclass Options(BaseModel):\n    n: Annotated[int, AfterValidator(more)] = 1\ndef work(x):\n    return Options(n=x)", "n + 1", "n + 2"),
    "the class of a field": ("from pydantic import BaseModel\nclass Inner(BaseModel):\n    n: int = 1\nclass Options(BaseModel):\n    inner: list[Inner] | None\ndef work(x):\n    return Options(inner=x)", "n: int = 1", "n: int = 2"),
    "a field of a dataclass of pydantic": ("from pydantic import Field\nfrom pydantic.dataclasses import dataclass\ndef made():\n    return [1]\n@dataclass\nclass Options:\n    rates: list = Field(default_factory=made)\ndef work(x):\n    return Options()", "[1]", "[2]"),
    "a private attribute": ("from pydantic import BaseModel, PrivateAttr\ndef made():\n    return [1]\nclass Options(BaseModel):\n    _rates: list = PrivateAttr(default_factory=made)\ndef work(x):\n    return Options()", "[1]", "[2]"),
    "a validator of a model": ("from pydantic import BaseModel, field_validator\ndef more(n):\n    return n + 1\nclass Options(BaseModel):\n    n: int\n    @field_validator('n')\n    def _more(cls, n):\n        return more(n)\ndef work(x):\n    return Options(n=x)", "n + 1", "n + 2"),
    "a default of a model": ("from pydantic import BaseModel\nRATE = 1\nclass Options(BaseModel):\n    rate: int = RATE\ndef work(x):\n    return Options()", "RATE = 1", "RATE = 2"),
    "an object that no one can take apart": ("import threading\nLOCK, STEP = threading.Lock(), 1\nTOOL = (LOCK, STEP)\ndef work(x):\n    return x + TOOL[1]", "Lock(), 1", "Lock(), 2"),
}  # fmt: skip


def imported(folder: Path, source: str) -> ModuleType:
    """A module of this source; every one has the same name, and a file of its own."""
    file = folder / f"nodes_{next(_NUMBERS)}.py"
    file.write_text(source)
    spec = spec_from_file_location("edited", file)
    module = module_from_spec(spec)
    sys.modules["edited"] = module
    spec.loader.exec_module(module)
    return module


def of(module: ModuleType, inputs="x", **definitions) -> tuple[str, str]:
    return fingerprint([Node(module.work, inputs, "y", name="work")], Definitions(Path("/project"), **definitions))


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_of_what_decides_the_result_changes_the_fingerprint(what, tmp_path):
    source, before, after = EDITS[what]
    assert before in source
    first, why = of(imported(tmp_path, source))
    assert why == ""
    assert of(imported(tmp_path, source))[0] == first
    edited, _why = of(imported(tmp_path, source.replace(before, after)))
    assert changed_parts(first, edited) == ["code"]


# Of what cannot be taken apart, the whole module counts.
@pytest.mark.parametrize("what", [what for what in EDITS if what != "an object that no one can take apart"])
def test_an_edit_of_another_function_changes_nothing(what, tmp_path):
    source, before, _after = EDITS[what]
    first, _why = of(imported(tmp_path, source))
    other = "OTHER = 1\ndef unrelated(x):\n    return x + OTHER\n\n"
    assert of(imported(tmp_path, other + source))[0] == first
    assert before in source


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import threading\nclass Add:\n    def __init__(self):\n        self.lock = threading.Lock()\n    def __call__(self, x):\n        return x\nwork = Add()", "lock"),
        ("def made(file):\n    def work(x):\n        return file.read()\n    return work\nwork = made(open(__file__))", "TextIOWrapper"),
        ("from functools import partial\ndef add(numbers, x):\n    return next(numbers)\nwork = partial(add, (n for n in range(3)))", "generator"),
    ],
)  # fmt: skip
def test_state_that_cannot_be_seen_is_said(source, names, tmp_path):
    text, why = of(imported(tmp_path, source))
    assert text.startswith("unknown-")
    assert why == f"its code cannot be compared ({names})"


@pytest.mark.parametrize("edited", ["consts", "helping", "client"])
def test_what_a_module_imports_by_name_counts(tmp_path, monkeypatch, edited):
    """`from consts import RATE` leaves no module behind, and a client that holds a lock is made in another module."""
    monkeypatch.syspath_prepend(tmp_path)
    sources = {
        "consts": "RATE = 1\n", "helping": "from consts import RATE\ndef f(x):\n    return x * RATE\n",
        "client": "import threading\nclass C:\n    def __init__(self, n):\n        self.n, self.lock = n, threading.Lock()\nCLIENT = C(1)\n",
    }  # fmt: skip
    node = "import helping\nfrom client import CLIENT\ndef work(x):\n    return helping.f(x) + CLIENT.n\n"
    texts = []
    for edit in (False, True):
        for name, source in sources.items():
            changed = source.replace("RATE = 1", "RATE = 2").replace("x * RATE", "x + RATE").replace("C(1)", "C(2)")
            (tmp_path / f"{name}.py").write_text(changed if edit and name == edited else source)
            sys.modules.pop(name, None)
        clear_caches()
        texts.append(of(imported(tmp_path, node))[0])
    assert changed_parts(*texts) == ["code"]
    for name in sources:
        sys.modules.pop(name, None)


def clear_caches() -> None:
    """Files are read once in a process, and here they change."""
    for name in ("_text_of", "_source_in", "_modules_imported_in"):
        getattr(source_digest, name).cache_clear()
    linecache.clearcache()
    importlib.invalidate_caches()


def test_modules_of_the_project_are_followed_and_installed_ones_are_not(tmp_path, monkeypatch):
    (tmp_path / "helping").mkdir()
    (tmp_path / "helping/__init__.py").write_text("from . import deep\n")
    (tmp_path / "helping/deep.py").write_text("def add(x):\n    return x + 1\n")
    (tmp_path / "helping/late.py").write_text("STEP = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    source = "import json\nimport helping\ndef work(x):\n    from helping.late import STEP\n    return json.dumps(helping.deep.add(x) + STEP)\n"
    texts = set()
    for edit in ("", "deep", "late"):
        if edit:
            file = tmp_path / f"helping/{edit}.py"
            file.write_text(file.read_text() + "# edited\n")
        # A process of its own, because a module is imported once.
        program = dedent(f"""
            import sys
            from pathlib import Path
            sys.path[:0] = {sys.path!r}
            from kedro.pipeline import Node
            from vertexai_mlflow.compile.fingerprint import Definitions, fingerprint
            space = {{"__name__": "nodes", "__package__": ""}}
            file = {str(tmp_path / "nodes.py")!r}
            Path(file).write_text({source!r})
            exec(compile(Path(file).read_text(), file, "exec"), space)
            print(fingerprint([Node(space["work"], "x", "y", name="n")], Definitions(Path("/project"))))
        """)
        texts.add(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert len(texts) == 3


def test_it_is_the_same_in_every_process_and_in_every_folder(tmp_path):
    source = "from pathlib import Path\nHERE = Path(__file__).parent / 'x'\nNAMES = {'a', 'b', 'c', 'd'}\ndef work(x):\n    return HERE, NAMES\n"
    texts = set()
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "nodes.py").write_text(source)
        program = dedent(f"""
            import sys
            from pathlib import Path
            sys.path[:0] = [{str(folder)!r}, *{sys.path!r}]
            from kedro.pipeline import Node
            from vertexai_mlflow.compile.fingerprint import Definitions, fingerprint
            import nodes
            print(fingerprint([Node(nodes.work, "x", "y", name="n")], Definitions(Path({str(folder)!r}))))
        """)
        texts.add(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert len(texts) == 1, texts


@pytest.mark.parametrize("taken", ["params:a", "params:a.rate", "params:a.depth", "parameters"])
@pytest.mark.parametrize("edit", [("= 0.1", "= 0.2"), ("depth: int", "depth: float"), ("n + 1", "n + 2")])
def test_the_class_that_kedro_makes_of_a_parameter_counts_for_all_that_take_a_part_of_it(taken, edit, tmp_path):
    source = (
        "from pydantic import BaseModel, field_validator\ndef work(x):\n    return x\nclass Model(BaseModel):\n"
        "    depth: int\n    rate: float = 0.1\n    @field_validator('depth')\n    def _more(cls, n):\n        return n + 1\n"
    )
    parameters = by_name({"a": {"depth": 3}, "b": 4})
    before, after = (
        of(module, taken, parameters=parameters, types={"a": module.Model})
        for module in (imported(tmp_path, source), imported(tmp_path, source.replace(*edit)))
    )
    assert before[1] == after[1] == ""
    assert changed_parts(before[0], after[0]) == ["parameters"]


def test_a_class_changes_nothing_for_those_who_take_other_parameters(tmp_path):
    source = (
        "from dataclasses import dataclass\ndef work(x):\n    return x\n@dataclass\nclass Model:\n    depth: int = 1\n"
    )
    module, parameters = imported(tmp_path, source), by_name({"a": {"depth": 3}, "ab": 4})
    without, _why = of(module, "params:ab", parameters=parameters)
    assert of(module, "params:ab", parameters=parameters, types={"a": module.Model})[0] == without


PARAMETERS = {"a": {"b": 1, "c": {"d": 2}}, "with.dot": 3, "list": [1, {"x": 1}], "other": 4}


@pytest.mark.parametrize(
    ("name", "change", "counts"),
    [
        ("params:a.b", {"a": {"b": 9, "c": {"d": 2}}}, True),
        ("params:a", {"a": {"b": 1, "c": {"d": 9}}}, True),
        ("params:a.c.d", {"a": {"b": 9, "c": {"d": 2}}}, False),
        ("params:with.dot", {"with.dot": 9}, True),
        ("params:list", {"list": [1, {"x": 2}]}, True),
        ("params:other", {"other": 4.0}, True),
        ("params:other", {"other": True}, True),
        ("parameters", {"other": 9}, True),
    ],
)  # fmt: skip
def test_parameters_are_compared_under_the_names_that_kedro_gives_them(name, change, counts, tmp_path):
    module = imported(tmp_path, "def work(x):\n    return x")
    before, _why = of(module, name, parameters=by_name(PARAMETERS))
    after, _why = of(module, name, parameters=by_name({**PARAMETERS, **change}))
    assert changed_parts(before, after) == (["parameters"] if counts else [])


def test_a_parameter_that_only_a_hook_adds_cannot_be_compared(tmp_path):
    text, why = of(imported(tmp_path, "def work(x):\n    return x"), "params:late", parameters=by_name(PARAMETERS))
    assert text.split("-")[1] == "unknown"
    assert why == "its parameters cannot be compared ('late', which no file has)"


def test_resolvers_classes_and_uploaded_data_count(tmp_path):
    module = imported(tmp_path, "def work(*x):\n    return x")
    one, two = (imported(tmp_path, f"def twice(n):\n    return n * {n}\nclass Days:\n    n = {n}\n") for n in (2, 3))

    def text(resolver=one.twice, class_=one.Days, sha="1"):
        return of(
            module, ["params:rate", "days"], parameters={"rate": "⟦twice⟧"}, entry={"days": ["days", {}]}.get,
            resolvers={"twice": resolver}, class_of={"days": class_}.get, uploaded={"days": sha},
        )[0]  # fmt: skip

    assert changed_parts(text(), text(resolver=two.twice)) == ["parameters"]
    assert changed_parts(text(), text(class_=two.Days)) == ["catalog entries"]
    assert changed_parts(text(), text(sha="2")) == ["catalog entries"]
    assert changed_parts(text(), text()) == []
