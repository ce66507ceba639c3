"""Words that are never right in code, messages and pages, and docstrings that say nothing, are found here.

`make check` also runs pydocstyle's rules through ruff. Both keep the texts in plain technical English.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = (
    "connectors",
    "docs",
    "messaging",
    "migrations",
    "operations",
    "schemas",
    "shop",
    "sinks",
    "stack",
    "streams",
)
CODE = [path for room in (*PRODUCT, "bench", "tests") for path in sorted((ROOT / room).rglob("*.py"))]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

# Each has a plain replacement: again, no one, any, resumed, continues, release, repair, distinguish, in advance.
BANNED = re.compile(
    r"\b(anew|nobody|whoever|gone on with|goes? on with|going on with|lets? go|letting go|by the way|of one's own"
    r"|what is owed|pretends?|beforehand|told apart|tells? apart|in the name of|mend(?:s|ed|ing)?)\b",
    re.IGNORECASE,
)
STRINGS = (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
QUESTION = re.compile(r"(What|How|Which|Who|Whose|Where|Whether)\b")
REFERENCE_ALONE = re.compile(r"(See|As) `[\w.]+`\.?$")


def test_no_text_has_a_word_that_is_never_right():
    assert len(CODE) > 300 and len(PAGES) > 20
    found = [
        f"{name(path)}:{line}: {word}"
        for path in [*CODE, *PAGES]
        if path != Path(__file__) and BANNED.search(path.read_text())
        for line, text in texts(path)
        for word in BANNED.findall(text)
    ]
    assert found == []


def test_a_docstring_says_what_its_subject_does():
    found = [
        f"{name(path)}:{line}: {text.splitlines()[0]}"
        for path in CODE
        for line, text in docstrings(path)
        if QUESTION.match(text) or REFERENCE_ALONE.match(text)
    ]
    assert found == []


def name(path: Path) -> str:
    """The path of a file within the repository."""
    return path.relative_to(ROOT).as_posix()


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """The docstrings of a module, its classes and its functions, each with the line of its subject."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a page without its code; of a module its comments, docstrings and, outside of tests, its messages."""
    if path.suffix == ".md":
        for number, text in enumerate(path.read_text().split("\n"), 1):
            yield number, re.sub(r"`[^`]*`", "", text)
        return
    data = path.is_relative_to(ROOT / "tests")  # names of tenants and the like
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT or (
            " " in token.string and token.type in STRINGS and (not data or token.line.lstrip().startswith('"""'))
        ):
            for number, text in enumerate(token.string.split("\n"), token.start[0]):
                yield number, text
