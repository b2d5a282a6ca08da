"""From Python 3.14 on, annotations are evaluated when a class has all its attributes: they must not mean another thing then."""

import ast
from pathlib import Path

import pytest
from running import ROOT, SOURCE

MODULES = [
    *SOURCE.rglob("*.py"),
    *(ROOT / "src").rglob("*.py"),
]


def shadowed(source: str) -> list[str]:
    """Find names in annotations that a class itself has as methods, properties or values."""
    problems = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        own = {part.name for part in node.body if isinstance(part, ast.FunctionDef | ast.ClassDef)}
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
        own |= {part.target.id for part in fields if part.value is not None and isinstance(part.target, ast.Name)}
        methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
        annotations = [part.annotation for part in fields]
        annotations += [
            argument.annotation for method in methods for argument in method.args.args if argument.annotation
        ]
        annotations += [method.returns for method in methods if method.returns]
        for annotation in annotations:
            names = {part.id for part in ast.walk(annotation) if isinstance(part, ast.Name)}
            problems += [f"{node.name}: {name}" for name in names & own]
    return problems


def test_a_name_that_the_class_takes_is_found():
    assert shadowed("class A:\n    x: Annotated[int, size]\n    def size(self): ...") == ["A: size"]
    assert shadowed("class A:\n    x: Annotated[int, size]\n    def length(self): ...") == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: "/".join(Path(path).parts[-2:]))
def test_no_annotation_names_an_attribute_of_its_own_class(path):
    assert shadowed(path.read_text()) == []
