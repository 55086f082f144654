"""The words of Dockerfiles and of their RUN lines: quotes, variables, `&&`. Pure.

A small part of the shell, read strictly: what would need a real shell (pipes, redirections, command
substitution, subshells) raises `ShellSyntaxError`, so that a build never does half of what a line says.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_SEPARATORS = ("&&", "||", ";", "|", ">", "<", "&", "(", ")", "\n")
_REFUSED = {
    "||": "an alternative (||)",
    "|": "a pipe",
    ">": "a redirection",
    "<": "a redirection",
    "&": "a background process",
    "(": "a subshell",
    ")": "a subshell",
}
_REFERENCE = re.compile(r"\$(?:(?P<bare>\w+)|\{(?P<name>\w+)(?P<operator>:?[-+?])?(?P<word>[^{}]*)\})")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


class ShellSyntaxError(ValueError):
    """A construct that only a shell could run; the message names it."""


@dataclass(frozen=True)
class ShellCommand:
    """One simple command: its words, and the variables assigned before them."""

    words: tuple[str, ...]
    assignments: tuple[tuple[str, str], ...] = ()


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Removes quotes and escapes and fills in `$name`, `${name}`, `${name:-word}`, `${name:+word}`.

    An unset variable is empty, as in Docker. Raises ShellSyntaxError for an unclosed quote.
    """
    out: list[str] = []
    quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        if quote == "'":
            position += 1
            quote = "" if char == "'" else quote
            if char != "'":
                out.append(char)
        elif char == "\\" and position + 1 < len(text):
            following = text[position + 1]
            out.append(following if not quote or following in '"\\$`' else char + following)
            position += 2
        elif char == "$":
            value, position = _variable(text, position, variables)
            out.append(value)
        elif char == quote or (not quote and char in "'\""):
            quote = "" if quote else char
            position += 1
        else:
            out.append(char)
            position += 1
    if quote:
        raise ShellSyntaxError(f"a quote ({quote}) that is not closed")
    return "".join(out)


def _variable(text: str, position: int, variables: Mapping[str, str]) -> tuple[str, int]:
    if text.startswith("$(", position):
        raise ShellSyntaxError("a command substitution, $(…)")
    found = _REFERENCE.match(text, position)
    if found is None:
        return "$", position + 1
    name, operator, word = found["bare"] or found["name"], found["operator"] or "", found["word"] or ""
    value = variables.get(name)
    given = value is not None and (value != "" or not operator.startswith(":"))
    if not operator:
        if word:
            raise ShellSyntaxError(f"the substitution {found[0]}")
        return value or "", found.end()
    if operator.endswith("?") and not given:
        raise ShellSyntaxError(f"{name}, which is not set and has no default")
    if operator.endswith("+"):
        return (expand(word, variables) if given else ""), found.end()
    return (value or "") if given else expand(word, variables), found.end()


def split(text: str) -> list[str]:
    """Splits at unquoted blanks; quotes, escapes and variables stay as written."""
    return [token for token, is_operator in _tokens(text, operators=False) if not is_operator]


def commands(text: str, variables: Mapping[str, str]) -> list[ShellCommand]:
    """The simple commands of a line joined by `&&`, `;` or line ends, expanded with `variables`.

    Raises ShellSyntaxError for whatever else joins them.
    """
    if re.search(r"(?<!\\)`", re.sub(r"'[^']*'", "", text)):
        raise ShellSyntaxError("a command substitution, `…`")
    found: list[ShellCommand] = []
    current: list[str] = []
    for token, is_operator in [*_tokens(text, operators=True), (";", True)]:
        if not is_operator:
            current.append(token)
        elif token in _REFUSED:
            raise ShellSyntaxError(_REFUSED[token])
        elif current:
            found.append(_command(current, variables))
            current = []
    return found


def _command(raw: list[str], variables: Mapping[str, str]) -> ShellCommand:
    assignments: list[tuple[str, str]] = []
    while raw and (assignment := _ASSIGNMENT.fullmatch(raw[0])):
        assignments.append((assignment[1], expand(assignment[2], variables)))
        raw = raw[1:]
    return ShellCommand(tuple(expand(word, variables) for word in raw), tuple(assignments))


def _tokens(text: str, *, operators: bool) -> list[tuple[str, bool]]:
    tokens: list[tuple[str, bool]] = []
    word = ""
    position = 0
    while position < len(text):
        operator = _operator(text, position) if operators else ""
        if operator or text[position].isspace():
            if word:
                tokens.append((word, False))
                word = ""
            if operator:
                tokens.append((operator, True))
            position += len(operator) or 1
            continue
        end = _piece(text, position)
        word += text[position:end]
        position = end
    return [*tokens, (word, False)] if word else tokens


def _operator(text: str, position: int) -> str:
    return next((symbol for symbol in _SEPARATORS if text.startswith(symbol, position)), "")


def _piece(text: str, position: int) -> int:
    """The end of the quoted string, escape, reference or character that starts here."""
    char = text[position]
    if char == "\\":
        return min(position + 2, len(text))
    if char == "'":
        end = text.find("'", position + 1)
    elif char == '"':
        closing = re.compile(r'(?:\\.|[^"\\])*"', re.DOTALL).match(text, position + 1)
        end = closing.end() - 1 if closing else -1
    elif text.startswith("$(", position):
        raise ShellSyntaxError("a command substitution, $(…)")
    elif char == "$" and (reference := _REFERENCE.match(text, position)):
        return reference.end()
    else:
        return position + 1
    if end < 0:
        raise ShellSyntaxError(f"a quote ({char}) that is not closed")
    return end + 1
