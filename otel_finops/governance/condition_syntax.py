"""Reading conditions (CEL) before they are stored: every fault with its position, the types of everything, and what it costs at most.

CEL itself tells of a wrong name or type only when the expression meets it, which may be the first time that something is to be stopped.
What is understood here is the part of CEL that conditions on calls need; it is a part in which everything has a type that is known
beforehand, so that little is left that can fail later. Evaluating is left to a library (`governance.conditions`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from itertools import pairwise
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import CONDITION_CHARS_MAX, CONDITION_DEPTH_MAX, CONDITION_ITEMS_MAX, CONDITION_STEPS_MAX

Simple: TypeAlias = Literal["bool", "int", "double", "string"]
_SIMPLE: Final[tuple[Simple, ...]] = get_args(Simple)
_NUMBERS: Final[tuple[Simple, ...]] = ("int", "double")


class ListOf(NamedTuple):
    """A list of values of one type, of so many at most."""

    item: Type
    items: int


class Record(NamedTuple):
    """Named fields."""

    name: str
    fields: Mapping[str, Simple | Tags]


class Tags(NamedTuple):
    """Texts by any key; a key that is not there is an empty text."""

    name: str


Type: TypeAlias = Simple | ListOf | Record | Tags


class Checked(NamedTuple):
    """What is known of a condition that was read.

    Attributes:
        fields: (root, field) of everything that it asks for; the field of a list as a whole is "".
        tags: keys of tags that it asks for.
        patterns: regular expressions as they are written, with their positions and how often each can be asked for one call; only who
            compiles them knows their faults.
        steps: at most so many operations are done to evaluate it.
    """

    fields: frozenset[tuple[str, str]]
    tags: frozenset[str]
    patterns: tuple[tuple[int, str, int], ...]
    steps: int


class ConditionFault(BadInput):
    """A condition that cannot be taken; the message has the position (characters from 1) and the reason."""


def check(source: str, roots: Mapping[str, Type], elsewhere: Mapping[str, str]) -> Checked:
    """Read a condition.

    Args:
        roots: what it may ask for, by name.
        elsewhere: names that people try and that are somewhere else, with where.

    Raises:
        ConditionFault: it does not compile, asks for what is not there, says no yes or no, or is too large or takes too long.
    """
    if len(source) > CONDITION_CHARS_MAX:
        raise fault(CONDITION_CHARS_MAX, f"a condition has at most {CONDITION_CHARS_MAX} characters, this one has {len(source)}")
    return _Reader(source, roots, elsewhere).read()


def fault(at: int, reason: str) -> ConditionFault:
    """A fault at a character, counted from 0."""
    return ConditionFault(f"condition, position {at + 1}: {reason}")


# --- tokens ----------------------------------------------------------------------------------------------------------

Kind: TypeAlias = Literal["name", "int", "double", "text", "sign", "end"]
_TOKEN: Final = re.compile(
    r"(?P<space>(?:\s|//[^\n]*)+)"
    r"|(?P<text>[rR]?(?:\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'))"
    r"|(?P<double>(?:\d+\.\d+|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)"
    r"|(?P<int>0x[0-9a-fA-F]+|\d+)"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]])",
    re.ASCII,
)


class Token(NamedTuple):
    """A piece of the text."""

    kind: Kind
    text: str
    at: int


def tokens_of(source: str) -> list[Token]:
    """The pieces, and one for the end."""
    found, at = list[Token](), 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise fault(at, _strange(source, at))
        if match.lastgroup != "space":
            found.append(Token(match.lastgroup, match[0], at))  # type: ignore[arg-type]  # the groups are the kinds
        at = match.end()
    for before, after in pairwise(found):
        if after.at == before.at + len(before.text) and {before.kind, after.kind} <= {"name", "int", "double", "text"}:
            raise fault(after.at, _joined(before, after))
    return [*found, Token("end", "", len(source))]


def _strange(source: str, at: int) -> str:
    sign = source[at]
    if sign in "\"'":
        return "this text does not end; close it with the same sign, in the same line"
    said = {"=": "compare with ==", "&": "`and` is &&", "|": "`or` is ||", "{": "maps are not for conditions"}.get(sign)
    return f"{sign!r} means nothing here" + (f"; {said}" if said else "")


def _joined(before: Token, after: Token) -> str:
    if before.kind == "name" and after.kind == "text":
        return "bytes are not for conditions; leave the b away" if before.text in ("b", "B") else "a sign is missing in front of the text"
    return (
        "a sign is missing here"
        if before.kind != "text" or after.kind != "text"
        else "texts of three quotation marks are not for conditions"
    )


# --- reading ---------------------------------------------------------------------------------------------------------

_WORDS: Final = frozenset((
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
    "namespace", "return", "var", "void", "while",
))  # fmt: skip
_COMPARE: Final = frozenset(("==", "!=", "<", "<=", ">", ">=", "in"))
_TEXT_TESTS: Final = frozenset(("startsWith", "endsWith", "contains", "matches"))
_MACROS: Final = ("all", "exists", "exists_one", "filter", "map")
_NO_NULL: Final = "nothing is null here: what is not known is '' (texts), 0 (numbers) or false; compare with that"
_INT_MAX: Final = 2**63 - 1


class _Reader:
    """One pass over the tokens; every method reads one kind of expression and returns its type."""

    def __init__(self, source: str, roots: Mapping[str, Type], elsewhere: Mapping[str, str]) -> None:
        self._tokens = tokens_of(source)
        self._next = 0
        self._roots = roots
        self._elsewhere = elsewhere
        self._bound: dict[str, Type] = {}
        self._fields: set[tuple[str, str]] = set()
        self._tags: set[str] = set()
        self._patterns: list[tuple[int, str, int]] = []
        self._depth = 0
        self._times = 1
        self._steps = 0

    def read(self) -> Checked:
        said = self._expression()
        token = self._peek()
        if token.kind != "end":
            raise fault(token.at, f"{token.text!r} is one too many; combine conditions with && or ||")
        if said != "bool":
            raise fault(0, f"a condition says yes or no (bool), this says {_worded(said)}; compare it with something")
        if self._steps > CONDITION_STEPS_MAX:
            raise fault(
                0, f"it could take {self._steps} steps, more than {CONDITION_STEPS_MAX}; shorten its lists, or what is done with each item"
            )
        return Checked(frozenset(self._fields), frozenset(self._tags), tuple(self._patterns), self._steps)

    # tokens

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        self._steps += self._times
        return token

    def _taken(self, *signs: str) -> Token | None:
        token = self._peek()
        return self._take() if token.kind in ("sign", "name") and token.text in signs else None

    def _expect(self, sign: str, why: str) -> Token:
        token = self._peek()
        if token.kind != "sign" or token.text != sign:
            raise fault(token.at, f"{sign!r} is missing {why}")
        return self._take()

    # expressions, from those that bind least

    def _expression(self) -> Type:
        self._depth += 1
        if self._depth > CONDITION_DEPTH_MAX:
            raise fault(self._peek().at, f"nested deeper than {CONDITION_DEPTH_MAX} brackets")
        at = self._peek().at
        said = self._either()
        if self._taken("?"):
            self._must("bool", said, at, "in front of ? stands a condition")
            yes = self._expression()
            between = self._expect(":", "of a ? b : c")
            no = self._expression()
            if yes != no:
                raise fault(between.at, f"both sides of : must be of one type, not {_worded(yes)} and {_worded(no)}")
            said = yes
        self._depth -= 1
        return said

    def _either(self) -> Type:
        return self._logic("||", lambda: self._logic("&&", self._relation))

    def _logic(self, sign: str, part: Callable[[], Type]) -> Type:
        at = self._peek().at
        said = part()
        while (token := self._taken(sign)) is not None:
            self._must("bool", said, at, f"on the left of {sign} stands a condition")
            at = self._peek().at
            said = part()
            self._must("bool", said, at, f"on the right of {token.text} stands a condition")
        return said

    def _relation(self) -> Type:
        left = self._sum()
        while (token := self._taken(*_COMPARE)) is not None:
            right = self._sum()
            if (trouble := _incomparable(token.text, left, right)) is not None:
                raise fault(token.at, trouble)
            left = "bool"
        return left

    def _sum(self) -> Type:
        return self._arithmetic(("+", "-"), lambda: self._arithmetic(("*", "/", "%"), self._signed))

    def _arithmetic(self, signs: tuple[str, ...], part: Callable[[], Type]) -> Type:
        left = part()
        while (token := self._taken(*signs)) is not None:
            right = part()
            if (trouble := _incalculable(token.text, left, right)) is not None:
                raise fault(token.at, trouble)
        return left

    def _signed(self) -> Type:
        token = self._taken("!", "-")
        if token is None:
            return self._member()
        while self._taken(token.text):
            pass
        at = self._peek().at
        said = self._member()
        if token.text == "!":
            return self._must("bool", said, at, "after ! stands a condition")
        if said not in _NUMBERS:
            raise fault(at, f"after - stands a number, not {_worded(said)}")
        return said

    def _member(self) -> Type:
        path, said = self._peek().text, self._primary()
        while (token := self._taken(".", "[")) is not None:
            if token.text == "[":
                said, path = self._tag(said, token.at), f"{path}[]"
                continue
            name = self._take()
            if name.kind != "name":
                raise fault(name.at, "after . stands a name")
            said = self._method(said, name) if self._peek().text == "(" else self._field(said, path, name)
            path = f"{path}.{name.text}"
        return said

    def _primary(self) -> Type:
        token = self._take()
        if token.kind in ("int", "double", "text"):
            return _literal(token)
        if token.kind == "name":
            return self._named(token)
        if token.text == "(":
            said = self._expression()
            self._expect(")", f"for the bracket at position {token.at + 1}")
            return said
        if token.text == "[":
            return self._list(token)
        raise fault(token.at, "something is missing at the end" if token.kind == "end" else f"{token.text!r} cannot stand here")

    def _named(self, token: Token) -> Type:
        name = token.text
        if name in ("true", "false"):
            return "bool"
        if name == "null":
            raise fault(token.at, _NO_NULL)
        if self._peek().text == "(":
            return self._function(token)
        if (said := self._bound.get(name) or self._roots.get(name)) is not None:
            if isinstance(said, ListOf):
                self._fields.add((name, ""))
            return said
        raise fault(token.at, f"there is no {name!r}{_near(name, [*self._roots, *self._bound])}")

    def _list(self, bracket: Token) -> Type:
        items: list[Type] = []
        while not self._taken("]"):
            at = self._peek().at
            items.append(self._expression())
            if items[-1] not in _SIMPLE or items[-1] != items[0]:
                raise fault(at, "a list has texts, numbers of one kind (2 or 2.0) or truths, and all of them alike")
            if len(items) > CONDITION_ITEMS_MAX:
                raise fault(at, f"a list has at most {CONDITION_ITEMS_MAX} items")
            if self._peek().text != "]":
                self._expect(",", "between the items of a list")
        if not items:
            raise fault(bracket.at, "a list without anything in it")
        return ListOf(items[0], len(items))

    # fields, functions

    def _field(self, of: Type, path: str, name: Token) -> Type:
        if isinstance(of, Tags):
            self._tags.add(name.text)
            return "string"
        whole = f"{path}.{name.text}"
        if not isinstance(of, Record):
            raise fault(name.at, f"there is no {name.text!r} of {_worded(of)}")
        if (said := of.fields.get(name.text)) is not None:
            self._fields.add((of.name, name.text))
            return said
        if (where := self._elsewhere.get(f"{of.name}.{name.text}")) is not None:
            raise fault(name.at, f"there is no field {whole}: {where}")
        raise fault(name.at, f"there is no field {whole}{_near(name.text, of.fields)}; {of.name} has {', '.join(of.fields)}")

    def _tag(self, of: Type, at: int) -> Type:
        key = self._peek()
        if isinstance(of, Record):
            raise fault(at, f"fields are named with a dot: {of.name}.NAME")
        if not isinstance(of, Tags):
            raise fault(at, "only tags are found by [..]; of a list ask with .exists(x, ..)")
        if key.kind != "text" or "\\" in key.text:
            raise fault(key.at, "write the tag's key as a plain text: tags['team']")
        self._take()
        self._expect("]", "after the tag's key")
        self._tags.add(key.text.lstrip("rR")[1:-1])
        return "string"

    def _arguments(self) -> list[tuple[int, Type]]:
        self._expect("(", "of a function")
        given: list[tuple[int, Type]] = []
        while not self._taken(")"):
            given.append((self._peek().at, self._expression()))
            if self._peek().text != ")":
                self._expect(",", "between arguments")
        return given

    def _function(self, name: Token) -> Type:
        if name.text == "has":
            raise fault(name.at, f"has() is of no use: {_NO_NULL}")
        if name.text not in _FUNCTIONS:
            raise fault(name.at, f"there is no function {name.text}(){_near(name.text, _FUNCTIONS)}; there are {', '.join(_FUNCTIONS)}")
        given = [said for _, said in self._arguments()]
        takes, gives = _FUNCTIONS[name.text]
        if len(given) != 1 or not (given[0] in takes or ("list" in takes and isinstance(given[0], ListOf))):
            raise fault(name.at, f"{name.text}() takes one of {', '.join(takes)}")
        return gives

    def _method(self, of: Type, name: Token) -> Type:
        if name.text in _MACROS:
            return self._macro(of, name)
        if name.text in _TEXT_TESTS and of == "string":
            return self._text_test(name)
        if name.text == "size" and (of == "string" or isinstance(of, ListOf)):
            if self._arguments():
                raise fault(name.at, "size() of something takes nothing more")
            return "int"
        known = (*sorted(_TEXT_TESTS), "size") if of == "string" else (*_MACROS, "size") if isinstance(of, ListOf) else ()
        has = f"; it has {', '.join(f'{one}()' for one in known)}" if known else ""
        raise fault(name.at, f"there is no {name.text}() of {_worded(of)}{_near(name.text, known)}{has}")

    def _text_test(self, name: Token) -> Type:
        pattern = self._tokens[self._next + 1]
        given = self._arguments()
        if [said for _, said in given] != ["string"]:
            raise fault(name.at, f"{name.text}() takes one text")
        if name.text == "matches":
            if pattern.kind != "text" or self._tokens[self._next - 2] != pattern:
                raise fault(given[0][0], "the regular expression must be written out as one text")
            self._patterns.append((pattern.at, pattern.text, self._times))
        return "bool"

    def _macro(self, of: Type, name: Token) -> Type:
        if not isinstance(of, ListOf):
            raise fault(name.at, f"{name.text}() is for lists, not for {_worded(of)}")
        if self._bound:
            raise fault(name.at, f"{name.text}() within another one: that takes too long")
        self._expect("(", f"of {name.text}()")
        bound = self._take()
        if bound.kind != "name" or bound.text in _WORDS or bound.text in self._roots:
            raise fault(bound.at, f"{name.text}() first takes a new name for the item: {name.text}(x, ..)")
        self._expect(",", f"after the name in {name.text}()")
        at = self._peek().at
        self._bound[bound.text], self._times = of.item, max(of.items, 1)
        said = self._expression()
        self._bound.clear()
        self._times = 1
        self._expect(")", f"of {name.text}()")
        if name.text == "map":
            if said not in _SIMPLE:
                raise fault(at, f"map() makes texts, numbers or truths, not {_worded(said)}")
            return ListOf(said, of.items)
        self._must("bool", said, at, f"{name.text}() takes a condition")
        return of if name.text == "filter" else "bool"

    @staticmethod
    def _must(wanted: Simple, said: Type, at: int, why: str) -> Type:
        if said != wanted:
            raise fault(at, f"{why}, not {_worded(said)}")
        return wanted


_FUNCTIONS: Final[dict[str, tuple[tuple[str, ...], Type]]] = {
    "size": (("string", "list"), "int"),
    "double": (("int", "double"), "double"),
    "int": (("int", "double"), "int"),
    "string": (("int", "double", "string"), "string"),
}


def _literal(token: Token) -> Type:
    if token.kind == "int" and int(token.text, 0 if token.text.startswith("0x") else 10) > _INT_MAX:
        raise fault(token.at, "whole numbers end at 9223372036854775807")
    if token.kind == "double" and float(token.text) == float("inf"):
        raise fault(token.at, "this number is too large")
    return "string" if token.kind == "text" else "int" if token.kind == "int" else "double"


def _incomparable(sign: str, left: Type, right: Type) -> str | None:
    """Why two things cannot be compared so."""
    if sign == "in":
        if isinstance(right, Tags):
            return f"a tag that a call does not bear is an empty text: write tags['team'] != ''; {_NO_NULL}"
        if not isinstance(right, ListOf):
            return f"after `in` stands a list, not {_worded(right)}"
        return None if left == right.item else f"{_worded(left)} is never in a list of {_worded(right.item)}"
    if left in _NUMBERS and right in _NUMBERS:
        return None
    if left == right and (left == "string" or (left == "bool" and sign in ("==", "!="))):
        return None
    return f"{_worded(left)} cannot be compared with {_worded(right)} by {sign}"


def _incalculable(sign: str, left: Type, right: Type) -> str | None:
    """Why one cannot reckon so."""
    if left == right == "string" and sign == "+":
        return None
    if left not in _NUMBERS or right not in _NUMBERS:
        return f"{sign} is for numbers{', and + for texts' if sign == '+' else ''}, not for {_worded(left)} and {_worded(right)}"
    if left != right:
        return f"{sign} takes two numbers of one kind: write 2.0 in place of 2, or double(..) around the whole number"
    return f"% is for whole numbers, not for {_worded(left)}" if sign == "%" and left != "int" else None


_WORDED: Final[dict[Simple, str]] = {
    "bool": "a truth (bool)", "int": "a whole number (int)", "double": "a decimal number (double)", "string": "a text (string)",
}  # fmt: skip


def _worded(said: Type) -> str:
    if isinstance(said, ListOf):
        return "a list"
    if isinstance(said, Record):
        return f"{said.name} as a whole"
    if isinstance(said, Tags):
        return "the tags as a whole"
    return _WORDED[said]


def _near(name: str, known: Mapping[str, object] | list[str] | tuple[str, ...]) -> str:
    found = get_close_matches(name, list(known), n=1)
    return f"; is {found[0]!r} meant?" if found else ""
