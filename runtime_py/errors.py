"""The one error type that every folder raises. Imports nothing, so that all may import it."""


class SdkError(Exception):
    """What a user did, what was expected, and what to do about it.

    Subclasses set `id`, a stable kebab-case name that programs may match on (also in `--json`).
    """

    id = "sdk-error"

    def __init__(self, given: str, *, expected: str = "", hint: str = "") -> None:
        super().__init__(given)
        self.given = given
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.given]
        if self.expected:
            lines.append(f"expected: {self.expected}")
        if self.hint:
            lines.append(f"try: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self):  # type: ignore[no-untyped-def]  # keyword-only fields need help to cross processes
        return _rebuild, (type(self), self.given, self.expected, self.hint)

    def to_dict(self) -> dict[str, str]:
        return {"id": self.id, "given": self.given, "expected": self.expected, "hint": self.hint}


def _rebuild(kind: type[SdkError], given: str, expected: str, hint: str) -> SdkError:
    return kind(given, expected=expected, hint=hint)


class UnknownName(SdkError):
    """A name that a registry does not have; lists the known ones and the nearest."""

    id = "unknown-name"


def unknown_name(what: str, given: str, known: "list[str]") -> UnknownName:
    """The error for `given`, which is not one of the `known` names of `what`."""
    from difflib import get_close_matches  # here, because nothing else needs it

    near = get_close_matches(given.lower(), known, n=2, cutoff=0.5)
    return UnknownName(
        f"unknown {what} {given!r}",
        expected=f"one of {', '.join(known)}",
        hint=f"did you mean {' or '.join(near)}?" if near else "",
    )


class MissingExtra(SdkError):
    """A package that an optional part of the product needs is not installed."""

    id = "missing-extra"


def missing_extra(package: str, extra: str, needed_for: str) -> MissingExtra:
    """The error of an absent `package`, which the option `extra` of this project brings."""
    return MissingExtra(
        f"{needed_for} needs the package {package!r}, which is not installed",
        hint=f"pip install 'edge-sdk[{extra}]'",
    )
