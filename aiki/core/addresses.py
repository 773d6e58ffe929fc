"""Own how an address is shown: host and user as they stand, whatever may be a password or a token as `***`.

It goes by the text and never by a parser: what no parser takes is just what somebody mistyped, and is about to read in
an error. Where a text can be read in two ways it hides the longer part: a password may hold `@`, `/`, `:` and `,` as
they are, so all up to the last `@` counts as one. Servers and libraries quote pieces of what they could not read, so
`hide` also strikes out the pieces of the addresses that it is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, unquote_plus

MASK: Final = "***"
PERCENT_ENCODED: Final = "%40 for @, %2F for /, %3F for ?, %23 for #"
"""What to write in a password for the signs that would end it."""
SHORTEST_PIECE: Final = 4
"""A shorter piece of a password is hidden inside addresses alone: elsewhere it would hide half of every text."""

_Span = tuple[int, int]
# One slash is enough: a path made of an address has no two in a row.
_SCHEME: Final = re.compile(r"\s*(?P<name>[A-Za-z][A-Za-z0-9+.-]*):/+")
_DATABASE: Final = re.compile(r"postgres(ql)?(\+\w+)?", re.IGNORECASE)
_NEXT_IN_LIST: Final = re.compile(r",(?=\s*[A-Za-z][A-Za-z0-9+.-]*:/)")
_PLAIN_USER: Final = re.compile(r"[^\s/?#@]*")
_BETWEEN_PIECES: Final = re.compile(r"[@:/?#,&=\s]+")
_END_OF_AUTHORITY: Final = re.compile(r"(?=[/?#])")
_QUERY: Final = re.compile(r"\?[\w.%+-]+=[^#]*")
_HIDDEN_NAME: Final = r"[\w.-]*(?:pass(?!file)|pwd|secret|token|jwt|seed|%)[\w.%-]*"
_IN_QUERY: Final = re.compile(rf"(?<=[?&]){_HIDDEN_NAME}=(?P<value>[^&]*)", re.IGNORECASE)
# libpq's manual, "Keyword/Value Connection Strings": quotes around a value, a backslash before a quote or a space.
_IN_PAIRS: Final = re.compile(
    rf"(?:^|(?<=\s)){_HIDDEN_NAME}\s*=\s*(?P<value>'(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)*)", re.IGNORECASE | re.DOTALL
)
_IS_ONE_KIND: Final = re.compile(rf"{_SCHEME.pattern}|\s*[\w.%-]+\s*=")
"""An address with a scheme, or pairs: else it may be either."""
_ADDRESS_IN_TEXT: Final = re.compile(r"\b(?:nats|tls|wss?|postgres(?:ql)?(?:\+\w+)?):/+\S+", re.IGNORECASE)
_PASSWORD_IN_TEXT: Final = re.compile(r"(://[^\s:/@]*:)[^\s/@]+@")
_PARAMETER_IN_TEXT: Final = re.compile(r"(\bpassword\s*=\s*)(?!\*)('(?:[^'\\\n]|\\.)*'|[^\s&'\"]+)", re.IGNORECASE)
_CLOSING: Final = """'"`)]}>.,;:!?…"""


def shown(address: str) -> str:
    """Return `address` (also several with commas between them, or `name=value` pairs) without its secrets."""
    return _without(address, _secrets(address))


def holds_secret(address: str) -> bool:
    """Tell whether a password or a token stands in `address`."""
    return bool(_credentials(address))


def is_cut_short(address: str) -> bool:
    """Tell whether parsers end a password in `address` too early, at a sign that had to be percent-encoded.

    They would connect to what stands behind the sign, and say so to whoever listens there.
    """
    scheme = _SCHEME.match(address)
    authority, *rest = _END_OF_AUTHORITY.split(address[scheme.end() if scheme else 0 :], maxsplit=1)
    return authority.count("@") > 1 or "@" in _QUERY.sub("", "".join(rest))


def hide(text: str, *addresses: str) -> str:
    """Return `text` without the secrets of all addresses in it, and without any piece of those of `addresses`."""
    for address in addresses:
        if (pieces := _pieces_of(address)) is not None:
            for spelled in _spellings(address):
                text = text.replace(spelled, shown(address))
            text = pieces.sub(MASK, text)
    text = _ADDRESS_IN_TEXT.sub(lambda match: _shown_in_text(match[0]), text)
    return _PARAMETER_IN_TEXT.sub(rf"\1{MASK}", _PASSWORD_IN_TEXT.sub(rf"\1{MASK}@", text))


def _shown_in_text(found: str) -> str:
    # What closes the sentence or the quotes around it is no part of the address.
    address = found.rstrip(_CLOSING)
    return shown(address) + found[len(address) :]


def _without(text: str, spans: Sequence[_Span]) -> str:
    return _replaced(text, spans, lambda _: MASK)


def _replaced(text: str, spans: Sequence[_Span], by: Callable[[int], str]) -> str:
    """Return `text` with each of the ordered spans replaced by what `by` returns for its length."""
    kept, done = [], 0
    for start, end in spans:
        kept += [text[done:start], by(end - start)]
        done = end
    return "".join([*kept, text[done:]])


def _secrets(address: str) -> list[_Span]:
    return _joined([*_credentials(address), *_no_ports(address)])


def _credentials(address: str) -> list[_Span]:
    """Return where the secrets stand, in order; the spans do not overlap, and none is empty."""
    found = [match.span("value") for pattern in (_IN_QUERY, _IN_PAIRS) for match in pattern.finditer(address)]
    # What looks like a pair may be a part of a password, with the `@` behind that.
    texts = [_blanked(address, _joined(found)), *([] if _IS_ONE_KIND.match(address) else [address])]
    found += [span for text in texts for start, end in _members(text) if (span := _user_info(text, start, end))]
    return _joined(found)


def _joined(spans: Iterable[_Span]) -> list[_Span]:
    joined: list[_Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        elif start < end:
            joined.append((start, end))
    return joined


def _no_ports(address: str) -> list[_Span]:
    """Return what stands where ports should and is none: a password whose host was forgotten (`nats://user:secret`)."""
    blanked = _blanked(address, _credentials(address))
    return [span for start, end in _members(blanked) for span in _no_ports_of(blanked, start, end)]


def _blanked(address: str, spans: Sequence[_Span]) -> str:
    """Return `address` with digits, which mean nothing here, in place of what is known to be secret."""
    return _replaced(address, spans, lambda length: "0" * length)


def _members(address: str) -> Iterator[_Span]:
    start = 0
    for comma in _NEXT_IN_LIST.finditer(address):
        yield start, comma.start()
        start = comma.end()
    yield start, len(address)


def _user_info(address: str, start: int, end: int) -> _Span | None:
    """Return where the secret before the last `@` of one address stands."""
    at = address.rfind("@", start, end)
    if at < 0:
        return None
    scheme = _SCHEME.match(address, start, at)
    first = scheme.end() if scheme else start
    user, colon, _ = address[first:at].partition(":")
    if not _PLAIN_USER.fullmatch(user):
        return first, at
    if colon:
        return first + len(user) + 1, at
    # A name alone is a user's for a database, and a token for NATS.
    return None if scheme and _DATABASE.fullmatch(scheme["name"]) else (first, at)


def _no_ports_of(address: str, start: int, end: int) -> Iterator[_Span]:
    scheme = _SCHEME.match(address, start, end)
    if scheme is None:
        return
    first = max(scheme.end(), address.rfind("@", start, end) + 1)
    authority = _END_OF_AUTHORITY.split(address[first:end], maxsplit=1)[0]
    for host in re.finditer(r"[^,]+", authority):
        name, colon, port = re.sub(r"^\[[^\]]*\]", lambda six: "6" * len(six[0]), host[0]).rpartition(":")
        if colon and port.strip() and not port.strip().isdecimal():
            # To the end: what follows the first `/` may still be password.
            yield first + host.start() + len(name) + 1, end
            return


@lru_cache(maxsize=32)
def _pieces_of(address: str) -> re.Pattern[str] | None:
    """Return what matches each piece of the secrets of `address`, as it stands, decoded or escaped; None without any.

    A piece that also stands in the open part of the address (`aiki:aiki@db`) is no secret that could be kept.
    """
    spans = _secrets(address)
    secrets = [address[start:end].strip("'") for start, end in spans]
    decoded = {form for secret in secrets for form in (secret, unquote(secret), unquote_plus(secret))}
    parts = decoded | {part for form in decoded for part in _BETWEEN_PIECES.split(form)}
    pieces = {spelled for part in parts for spelled in _spellings(part)}
    known = _without(address, spans).lower()
    hidden = {piece for piece in pieces if len(piece) >= SHORTEST_PIECE and piece.lower() not in known}
    if not spans:
        return None
    longest_first = sorted(hidden, key=lambda piece: (-len(piece), piece))
    # In any case: a parser may have taken it for a host, and made it small.
    return re.compile("|".join(map(_as_word, longest_first)) or r"(?!)", re.IGNORECASE)


def _spellings(text: str) -> tuple[str, str, str]:
    """Return `text` as it is, and as it stands between the quotes of Python and of JSON."""
    return text, repr(text)[1:-1], json.dumps(text)[1:-1]


def _as_word(piece: str) -> str:
    """Return a pattern for `piece` that does not match inside a longer word: `post` is not to hide in `postgres`."""
    before = r"(?<!\w)" if piece[0].isalnum() else ""
    return before + re.escape(piece) + (r"(?!\w)" if piece[-1].isalnum() else "")
