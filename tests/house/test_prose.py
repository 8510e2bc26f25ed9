"""No measured number is typed into prose, and prose has one sentence a line (diffs stay readable).

A number that a run produced is glued from it, so that it cannot go stale.
"""

import re

import pytest

from tests.repo import figure_texts, markdown

# A fence with a language, or with none, holds code; one with a directive mostly holds prose.
FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,}|:{3,}) *(?P<info>.*)$")
CODE_DIRECTIVES = ("{code", "{literalinclude", "{raw", "{bibliography", "{eval-rst")
OPTION = re.compile(r"^:[\w-]+:(?: .*)?$")

MATH_ROLE = re.compile(r"\{math\}`([^`]+)`")
NOT_PROSE = [
    re.compile(r"\A---\n.*?^---$", re.M | re.S),  # front matter
    re.compile(r"\{[\w:-]+\}(`+)[^`]+\1"),  # a role, {glue:text} and {given} among them
    re.compile(r"(`+)[^`]+\1"),  # inline code
    re.compile(r"(?<=\])\([^)\s]*\)"),  # the target of a link
    re.compile(r"\bhttps?://\S+"),
    re.compile(r"</?[a-zA-Z][^>]*>"),  # an HTML tag, with the sizes in it
]
GIVEN_BLOCK = re.compile(r"<!-- given -->.*?<!-- /given -->", re.S)

NUMBER_OF_A_THING = re.compile(
    r"\b(?:Python|NumPy|Keras|TensorFlow|Jupyter Book|CC BY|version|v) ?\d+(?:\.\d+)+"
    r"|\b(?i:Chapter|Section|Figure|Table|Equation|Exercise|Lab) \d+\.\d+"
    r"|\barXiv:\d{4}\.\d+|\b10\.\d{4,}/\S+"
)
DECIMAL = re.compile(
    # 0.3, .3, 0.3e-2 and, with a unit stuck to it, 0.3s; but not 1.0.4
    r"(?<![\w.])(?:\d*\.\d+(?:e[-+−]?\d+)?(?!\d|\.\d)|\d+e[-+−]?\d+(?!\w))"
    r"|(?<!\d)10(?:\^\{?[-−]?\d|[⁻⁰¹²³⁴⁵⁶⁷⁸⁹])"
    r"|\d(?:\s|\\,|~)?\\?%|\d per ?cent\b",
    re.I,
)

SENTENCE_END = re.compile(r"[.!?][)\"”*_]* +[*_]*[A-Z]")
# Before a full stop that ends no sentence: a short form, an initial, the number of a list's item.
SHORT_FORM = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|al|Figs?|Eqs?|Sec|Ch|Dr|no|pp?|[A-Z])|^ *\d+)$"
)


def blank(match: re.Match) -> str:
    """Fill a match with dots, line by line, so that what follows keeps its line."""
    return re.sub(r"[^\n]", "·", match[0])


def prose(text: str) -> str:
    """Blank what is not prose: code, options, roles, targets of links, tags.

    The lines keep their place. What stands in a directive is prose, so is its title and so is
    mathematics.
    """
    lines = []
    open_fences: list[tuple[str, bool]] = []  # the characters that close it, whether it is code
    for line in text.split("\n"):
        fence = FENCE.match(line.strip())
        closes = fence and not fence["info"] and open_fences
        if closes and fence["fence"].startswith(open_fences[-1][0]):
            open_fences.pop()
            line = ""
        elif open_fences and open_fences[-1][1]:
            line = ""
        elif fence:
            info = fence["info"]
            is_code = not info.startswith("{") or info.startswith(CODE_DIRECTIVES)
            open_fences.append((fence["fence"], is_code))
            line = "" if is_code else info
        elif OPTION.match(line.strip()):
            line = ""
        lines.append(line)
    text = MATH_ROLE.sub(r" \1 ", "\n".join(lines))
    for pattern in NOT_PROSE:
        text = pattern.sub(blank, text)
    return text


def typed_numbers(text: str) -> list[str]:
    """Find decimals and percentages that neither a run produced nor a role marks as given."""
    text = NUMBER_OF_A_THING.sub(blank, prose(text))
    return [
        f"line {number}: {match[0].strip()!r} in {line.strip()!r}"
        for number, line in enumerate(text.split("\n"), start=1)
        for match in DECIMAL.finditer(line)
    ]


def crowded_lines(text: str) -> list[str]:
    """Find lines on which a second sentence begins; headings and tables may have them."""
    return [
        f"line {number}: {line.strip()!r}"
        for number, line in enumerate(prose(text).split("\n"), start=1)
        if not line.lstrip().startswith(("#", "|"))
        for end in SENTENCE_END.finditer(line)
        if not SHORT_FORM.search(line[: end.start()])
    ]


def test_no_measured_number_is_typed_into_prose():
    texts = markdown()
    # README.md is shown where roles are not known: there, comments mark what is given.
    texts["README.md"] = GIVEN_BLOCK.sub(blank, texts["README.md"])
    texts |= figure_texts()
    found = [f"{where}, {fault}" for where, text in texts.items() for fault in typed_numbers(text)]
    remedy = (
        "Glue what was measured ({glue:text}`name`), mark what was not ({given}`0.1`, "
        "in README.md <!-- given --> ... <!-- /given -->):"
    )
    assert not found, "\n".join([remedy, *found])


def test_one_sentence_a_line():
    found = [
        f"{where}, {fault}" for where, text in markdown().items() for fault in crowded_lines(text)
    ]
    assert not found, "\n".join(["Begin each sentence on a line of its own:", *found])


@pytest.mark.parametrize(
    "text",
    [
        "The loss is 0.0312.",
        "The loss is .05 at the end.",
        "It falls to 1e-8.",
        "It falls to 3e−2.",
        "It falls to 2·10⁻³.",
        "It falls to $3\\times10^{-2}$.",
        "It takes 0.3s.",
        "Of the units 95 % are dead.",
        "Of the units 95% are dead.",
        "Of the units 95 percent are dead.",
        "About $95\\,\\%$ remains.",
        "About {math}`0.03` remains, as `code` says.",
        "$$\nL = 0.03\n$$",
        "```{math}\nL = 0.03\n```",
        "```{admonition} At 0.03\nText.\n```",
        ":::{exercise}\n:label: a\nReach 0.03.\n:::",
        "````{note}\n```python\nx = 1\n```\nIt is 0.03.\n````",
        "```python\nx = 1\n```\nIt is 0.03.",
        "[the loss of 0.03](a.md)",
        "| k | loss |\n|---|---|\n| 5 | 0.03 |",
        "`a` 0.03 `b`",
    ],
)
def test_the_lint_sees_a_typed_number(text):
    assert len(typed_numbers(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "There are 5000 digits of 28 × 28 pixels, 5,000 in all.",
        "The loss is {glue:text}`loss:.3f`.",
        "The rate is {given}`0.1`, and {given}`95 %` stay.",
        "Write `rate=0.1` or ``rate=0.2``.",
        "```python\nrate = 0.1\n```",
        "```\nrate = 0.1\n```",
        "```{code-block} python\nrate = 0.1\n```",
        "```{image} a.png\n:width: 95%\n```",
        "See [it](https://example.org/a/0.1) and https://example.org/v0.1 .",
        "Jupyter Book 1.0.4 and Python 3.11, on 2026-11-03.",
        "As in Section 2.1, exercise 1.1, and in arXiv:2404.16014.",
        '<img width="50%">',
        "---\nversion: 0.1\n---\nText.",
        "1. One.\n2. Two.",
    ],
)
def test_the_lint_spares_what_was_not_measured(text):
    assert typed_numbers(text) == []


def test_the_lint_names_the_line():
    assert typed_numbers("One.\n```\n0.1\n```\nIt is 0.03.")[0].startswith("line 5: '0.03'")


@pytest.mark.parametrize(
    "text",
    ["One. Two.", "One? Two!", "(One.) *Two.*", "- One `a`. Two.", "```{note} One. Two.\n```"],
)
def test_the_lint_sees_two_sentences_on_a_line(text):
    assert len(crowded_lines(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "One.\nTwo.",
        "1. One.",
        "One, e.g. Two, by B. A. Olshausen et al. In one line.",
        "# One. Two.",
        "| One. Two. |",
        "```\nOne. Two.\n```",
        "One `a. B` two.",
    ],
)
def test_the_lint_spares_one_sentence(text):
    assert crowded_lines(text) == []
