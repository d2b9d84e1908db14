"""The file of a bundle: three lines, then its parts one after another, each one zstd frame.

    driftlock evidence 2
    {"anomaly":...,"key":<public key, hex>,"parts":[[name, bytes, sha256 hex], ...],"v":2}
    <Ed25519 signature of a tag and the second line, hex>

Every byte is under the signature: the second line directly, each part by its sha256, the rest by having one spelling only.
The same content and key give the same bytes (with the same zstd).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.errors import DriftlockError

FIRST_LINE = b"driftlock evidence 2\n"
PARTS = ("anomaly", "usage", "settings", "state", "events", "ledger")
MAX_PART_BYTES = 256 << 20

_TAG = b"driftlock.evidence.2\n"
_LEVEL = 6
_CHANGED = 4
"""A first line with more bytes changed than these is that of another file."""


class NotABundle(DriftlockError):
    """The file is no evidence bundle."""


@dataclass(frozen=True)
class Opened:
    """A bundle as it lies in its file. `parts`: content by name, of those that are as the manifest says; `faults` by part."""

    manifest: Mapping[str, Any]
    key: str
    parts: Mapping[str, bytes]
    faults: Mapping[str, str]


def seal(parts: Mapping[str, bytes], about: Mapping[str, Any], key: Ed25519PrivateKey) -> bytes:
    """The bytes of a bundle: `parts` has each of PARTS, `about` what the manifest says besides."""
    packed = [zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(parts[name]) for name in PARTS]
    listed = [[name, len(data), hashlib.sha256(data).hexdigest()] for name, data in zip(PARTS, packed, strict=True)]
    public = key.public_key().public_bytes_raw().hex()
    manifest = orjson.dumps({**about, "key": public, "parts": listed, "v": 2}, option=orjson.OPT_SORT_KEYS)
    signature = key.sign(_TAG + manifest).hex().encode()
    return FIRST_LINE + manifest + b"\n" + signature + b"\n" + b"".join(packed)


def unseal(data: bytes) -> Opened:
    """What a file holds and what is wrong with it, part by part. `NotABundle` where it is none at all."""
    lines = data.split(b"\n", 3)
    strange = sum(a != b for a, b in zip(data, FIRST_LINE, strict=False))
    if len(lines) < 4 or strange > _CHANGED:
        raise NotABundle("this is no evidence bundle: `driftlock evidence export` makes one")
    faults: dict[str, str] = {}
    if strange:
        faults["first line"] = "it was changed, or is of another release's format"
    try:
        manifest = orjson.loads(lines[1])
        key = str(manifest["key"])
        listed = [(str(name), int(size), str(digest)) for name, size, digest in manifest["parts"]]
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    except (ValueError, KeyError, TypeError) as error:
        faults["manifest"] = f"it can't be read: {' '.join(str(error).split())[:100]}"
        return Opened({}, "", {}, faults)
    if not _signed(public, lines[1], lines[2]):
        faults["signature"] = "manifest and signature do not belong together: one of them was changed"
    if tuple(name for name, _, _ in listed) != PARTS:
        faults["manifest"] = f"it must list {', '.join(PARTS)}"
        return Opened(manifest, key, {}, faults)
    return Opened(manifest, key, _unpack(listed, lines[3], faults), faults)


def _unpack(listed: list[tuple[str, int, str]], body: bytes, faults: dict[str, str]) -> dict[str, bytes]:
    """The parts that are as the manifest lists them; what is wrong with the others is added to `faults`."""
    parts: dict[str, bytes] = {}
    at = 0
    for name, size, digest in listed:
        packed = body[at : at + max(size, 0)]
        at += max(size, 0)
        if len(packed) != size or hashlib.sha256(packed).hexdigest() != digest:
            faults[name] = "its bytes are not those that were signed"
            continue
        try:
            if 0 <= zstandard.frame_content_size(packed) <= MAX_PART_BYTES:
                parts[name] = zstandard.ZstdDecompressor().decompress(packed)
            else:
                faults[name] = f"it would unpack to more than {MAX_PART_BYTES} bytes, or does not say its size"
        except zstandard.ZstdError as error:
            faults[name] = f"it can't be unpacked: {error}"
    if at != len(body):
        faults["end"] = f"{len(body) - at} bytes follow the last part" if at < len(body) else "it is cut off"
    return parts


def _signed(public: Ed25519PublicKey, manifest: bytes, signature: bytes) -> bool:
    try:
        raw = bytes.fromhex(signature.decode("ascii"))
        if raw.hex().encode() != signature:  # another spelling of the same bytes
            return False
        public.verify(raw, _TAG + manifest)
    except (InvalidSignature, ValueError):
        return False
    return True
