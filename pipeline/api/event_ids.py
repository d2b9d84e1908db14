"""The ids that a request's events get, `schemas.identity.named_event_id` of each, many at once.

An id is a SHA-1 (UUIDv5; RFC 9562, 5.5), and what a library does around each hash costs more than the hash: ids of a thousand events took
longer than reading their JSON. Here one compiled call hashes all that begin alike, and writes them as text.
"""

from collections.abc import Sequence

import numpy as np

from detectors.jit import Bytes, Hashes, Longs, entry, inner
from schemas.identity import named_event_prefix

_START = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0], np.uint32)
_U = np.uint32


def event_ids(organization_id: str, stream: str, producer_ids: Sequence[bytes], before: bytes = b"") -> list[str]:
    """The ids of events of one stream, as text, where the producer's id of each is `before` and then its own of `producer_ids`."""
    if not producer_ids:
        return []
    head = np.frombuffer(named_event_prefix(organization_id, stream) + before, np.uint8)
    ends = np.cumsum(np.fromiter(map(len, producer_ids), np.int64, len(producer_ids)))
    text = np.empty((len(producer_ids), 36), np.uint8)
    _write(head, np.frombuffer(b"".join(producer_ids) or b"\0", np.uint8), ends, _START, text)
    said = text.tobytes().decode("ascii")
    return [said[at : at + 36] for at in range(0, len(said), 36)]


def warm_up() -> None:
    """Compile, or load what was compiled: seconds the first time, so before the first request."""
    event_ids("", "", [b""])


@inner
def _compress(state: Hashes, words: Hashes) -> None:
    """SHA-1 of one block of 64 bytes, given as 16 words (FIPS 180-4, 6.1.2); `words` has room for 80."""
    for t in range(16, 80):
        x = _U(words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16])
        words[t] = _U((x << _U(1)) | (x >> _U(31)))
    a, b, c, d, e = state[0], state[1], state[2], state[3], state[4]
    for t in range(20):
        x = _U(_U((a << _U(5)) | (a >> _U(27))) + (d ^ (b & (c ^ d))) + e + _U(0x5A827999) + words[t])
        a, b, c, d, e = x, a, _U((b << _U(30)) | (b >> _U(2))), c, d
    for t in range(20, 40):
        x = _U(_U((a << _U(5)) | (a >> _U(27))) + (b ^ c ^ d) + e + _U(0x6ED9EBA1) + words[t])
        a, b, c, d, e = x, a, _U((b << _U(30)) | (b >> _U(2))), c, d
    for t in range(40, 60):
        x = _U(_U((a << _U(5)) | (a >> _U(27))) + ((b & c) | (d & (b | c))) + e + _U(0x8F1BBCDC) + words[t])
        a, b, c, d, e = x, a, _U((b << _U(30)) | (b >> _U(2))), c, d
    for t in range(60, 80):
        x = _U(_U((a << _U(5)) | (a >> _U(27))) + (b ^ c ^ d) + e + _U(0xCA62C1D6) + words[t])
        a, b, c, d, e = x, a, _U((b << _U(30)) | (b >> _U(2))), c, d
    state[0], state[1], state[2] = _U(state[0] + a), _U(state[1] + b), _U(state[2] + c)
    state[3], state[4] = _U(state[3] + d), _U(state[4] + e)


@inner
def _load(octets: Bytes, at: int, words: Hashes) -> None:
    """A block as words, most significant byte first."""
    for j in range(16):
        p = at + 4 * j
        words[j] = _U(
            (_U(octets[p]) << _U(24)) | (_U(octets[p + 1]) << _U(16)) | (_U(octets[p + 2]) << _U(8)) | _U(octets[p + 3])
        )


@inner
def _spell(state: Hashes, text: Bytes) -> None:
    """The first 16 bytes of a hash as the text of a UUID of version 5."""
    at = 0
    for j in range(16):
        octet = (state[j // 4] >> _U(24 - 8 * (j % 4))) & _U(255)
        if j == 6:
            octet = octet & _U(0x0F) | _U(0x50)
        elif j == 8:
            octet = octet & _U(0x3F) | _U(0x80)
        if j == 4 or j == 6 or j == 8 or j == 10:  # noqa: PLR1714 - numba makes no set of it
            text[at] = 45
            at += 1
        for digit in (octet >> _U(4), octet & _U(15)):
            text[at] = digit + 48 if digit < 10 else digit + 87
            at += 1


@entry
def _write(head: Bytes, tails: Bytes, ends: Longs, start: Hashes, text: Bytes) -> None:
    """For each tail the id of `head` and it, in `text`: uint8[n, 36]; a tail ends at its `ends`."""
    words, shared, state = np.zeros(80, np.uint32), start.copy(), np.empty(5, np.uint32)
    whole = len(head) // 64 * 64
    for at in range(0, whole, 64):
        _load(head, at, words)
        _compress(shared, words)
    kept = len(head) - whole
    longest, begin = 0, 0
    for i in range(len(ends)):
        longest, begin = max(longest, ends[i] - begin), ends[i]
    last = np.zeros(kept + longest + 72, np.uint8)
    last[:kept] = head[whole:]
    begin = 0
    for i in range(len(ends)):
        size = ends[i] - begin
        left = kept + size
        blocks = (left + 8) // 64 + 1
        for j in range(size):
            last[kept + j] = tails[begin + j]
        last[left] = 128
        for j in range(left + 1, 64 * blocks):
            last[j] = 0
        state[:] = shared
        for b in range(blocks):
            _load(last, 64 * b, words)
            if b == blocks - 1:
                words[15] = np.uint32(8 * (len(head) + size))
            _compress(state, words)
        _spell(state, text[i])
        begin = ends[i]
