"""Damage to a file: its bytes, or what its format holds; all of it drawn from a seed.

Byte damage is what disks, networks and editors do. Structure damage is what an attacker does: the
file still parses, and what it holds is of another type, claims terabytes, or is no text at all.
"""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

# 2**31 and 2**63 end integers of C, 1e400 is infinite as JSON, 2**200 is larger than any.
NUMBERS = [
    0,
    -1,
    1,
    255,
    256,
    2**31,
    2**63,
    2**200,
    -(2**63),
    0.5,
    1e308,
    float("nan"),
    float("inf"),
]
TEXTS = ["", "\0", "\ud800", "[/x]", "[red]car", "\x1b]0;title\x07\x1b[2J", "../../x", "/dev/zero",
         "x" * 70_000, "a\nb", "<script>", "|`|", "NaN", "é" * 9]  # fmt: skip
DEEP = 3000  # more than Python's stack takes
Damage = Callable[[Random, bytes], bytes]


def value(random: Random) -> Any:
    """Something that was not meant to stand there."""
    kinds = [None, True, [], {}, [[]], {"a": 1}, *NUMBERS, *TEXTS]
    return random.choice(kinds)


def damaged_bytes(random: Random, content: bytes) -> bytes:
    """One to three flips, cuts, repeats or insertions."""
    data = bytearray(content)
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(data) + 1)
        length = random.choice((1, 1, 2, 4, 8, 64, 1000))
        kind = random.randrange(6)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[place : place + length] = random.randbytes(length)
        elif kind == 2:
            del data[place : place + length]
        elif kind == 3:
            data[place:place] = data[place : place + length] * random.choice((1, 2, 50))
        elif kind == 4:
            data[place : place + length] = random.choice((b"\0", b"\xff", b"\x7f")) * length
        elif random.random() < 0.3:
            del data[place:]
    return bytes(data)


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below `node`."""
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    here = [(node, key) for key in keys]
    return [*here, *(place for key in keys for place in _places(node[key]))]


def damaged_values(random: Random, values: Any) -> Any:
    """JSON values with one or two of them replaced, removed, repeated, renamed or buried."""
    for _ in range(random.randint(1, 2)):
        places = _places(values)
        if not places:
            return value(random)
        container, key = random.choice(places)
        kind = random.randrange(6)
        if kind <= 2:
            container[key] = value(random)
        elif kind == 3:
            del container[key]
        elif kind == 4 and isinstance(container, dict):
            container[random.choice(TEXTS)] = container.pop(key)
        elif isinstance(container, list):
            container += [container[key]] * random.choice((1, 100))
        else:
            container[key] = [container[key]]
    return values


def _text(values: Any) -> bytes:
    return json.dumps(values).encode("utf-8", "surrogatepass")


def damaged_json(random: Random, content: bytes) -> bytes:
    if random.random() < 0.05:
        return b"[" * DEEP + content + b"]" * DEEP
    return _text(damaged_values(random, json.loads(content)))


def damaged_lines(random: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    place = random.randrange(len(lines))
    lines[place] = damaged_json(random, lines[place]) + b"\n"
    return b"".join(lines)


def damaged_toml(random: Random, content: bytes) -> bytes:
    """One or two values replaced, or keys renamed."""
    text = content.decode()
    for _ in range(random.randint(1, 2)):
        found = list(re.finditer(r"^([\w.-]+) = (.+)$", text, re.MULTILINE))
        if not found:
            break
        one = random.choice(found)
        kind = random.randrange(8)
        new = json.dumps(value(random)).replace("null", "{}").replace("NaN", "nan")
        new = new.replace("Infinity", "inf")
        if kind == 0:
            text = text[: one.start()] + text[one.end() :]
        elif kind == 1:
            text = text[: one.start(1)] + random.choice(("x", "'[/x]'", "a.b")) + text[one.end(1) :]
        elif kind == 2:
            text = text[: one.start(2)] + "[" * DEEP + "]" * DEEP + text[one.end(2) :]
        elif kind == 3 and re.search(r"\d", one[2]):
            # Another number in the same shape, so that the types hold.
            number = str(random.choice([n for n in NUMBERS if n == n and abs(n) < 1e300]))
            text = (
                text[: one.start(2)] + re.sub(r"\d+", number, one[2], count=1) + text[one.end(2) :]
            )
        else:
            text = text[: one.start(2)] + new + text[one.end(2) :]
    return text.encode("utf-8", "surrogatepass")


def damaged_zip(random: Random, content: bytes) -> bytes:
    """A zip archive with one member damaged, gone, renamed or twice; checksums are right."""
    source = zipfile.ZipFile(io.BytesIO(content))
    out = io.BytesIO()
    names = source.namelist()
    chosen, kind = random.choice(names), random.randrange(6)
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        warnings.simplefilter("ignore")  # a name that stands twice
        for name in names:
            data = source.read(name)
            if name == chosen:
                if kind == 0:
                    continue
                if kind == 1:
                    name = random.choice((f"../{name}", f"{name}x", "x.npy", "a/b"))
                elif kind == 2:
                    target.writestr(zipfile.ZipInfo(name), data)
                elif kind == 3 and data.startswith(b"\x93NUMPY"):
                    data = _claiming_npy(random, data)
                else:
                    data = damaged_bytes(random, data)
            # Without the time of day.
            target.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _claiming_npy(random: Random, data: bytes) -> bytes:
    shape = random.choice(
        ("(1099511627776,)", "(-1, 4)", "(4, 4096, 4096, 4096)", "()", "(0,)", "x")
    )
    kind = random.choice(("|u1", "|O", "<f8", "<U99999", "|V0"))
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + data[-64:]


def damaged_tensors(random: Random, content: bytes) -> bytes:
    """A safetensors file with another header in front of the same bytes."""
    (size,) = struct.unpack("<Q", content[:8])
    header, rest = json.loads(content[8 : 8 + size]), content[8 + size :]
    kind = random.randrange(5)
    names = [name for name in header if name != "__metadata__"]
    if kind == 0:  # a tensor of terabytes
        one = header[random.choice(names)]
        one["shape"], one["data_offsets"] = [2**20, 2**20], [0, 2**42]
    elif kind == 1:
        return struct.pack("<Q", random.choice((0, 2**40, 2**63, size - 1, size + 1))) + content[8:]
    elif kind == 2 and "__metadata__" in header:
        key = random.choice(list(header["__metadata__"]))
        inner = header["__metadata__"][key]
        header["__metadata__"][key] = (
            damaged_json(random, inner.encode()).decode("utf-8", "surrogateescape")
            if inner.startswith("{")
            else str(value(random))
        )
    elif kind == 3:
        header = damaged_values(random, header)
    else:
        return content[: 8 + size] + damaged_bytes(random, rest)
    # As compact as safetensors writes it, so that equal values are an equal file.
    text = json.dumps(header, separators=(",", ":")).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + rest


def damaged_text(random: Random, content: bytes) -> bytes:
    """One line replaced, removed or repeated."""
    lines = content.splitlines(keepends=True)
    place = random.randrange(len(lines))
    new = random.choice((*TEXTS, "a b", "a.png b.png", "/x/a.png", "\ufeff")).encode(
        errors="replace"
    )
    lines[place : place + 1] = random.choice(([new], [], [lines[place], new], [lines[place]] * 99))
    return b"".join(lines)


def damaged_npy(random: Random, content: bytes) -> bytes:
    return _claiming_npy(random, content)


def damaged_statement(random: Random, content: bytes) -> bytes:
    """An envelope with another payload; the signature is the old one."""
    envelope = json.loads(content)
    payload = damaged_json(random, base64.b64decode(envelope["payload"]))
    return _text(envelope | {"payload": base64.b64encode(payload).decode()})


def damaged_png(random: Random, content: bytes) -> bytes:
    """Another size, depth or kind in IHDR, with the right checksum."""
    data = bytearray(content)
    place, form = random.choice(((16, ">I"), (20, ">I"), (24, ">B"), (25, ">B"), (28, ">B")))
    number = random.choice((0, 1, 3, 16, 255) if form == ">B" else (0, 1, 60_000, 2**20, 2**31 - 1))
    struct.pack_into(form, data, place, number)
    if random.random() < 0.5:
        struct.pack_into(">I", data, 16, 60_000)
        struct.pack_into(">I", data, 20, 60_000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


STRUCTURES: dict[str, Damage] = {
    "json": damaged_json,
    "lines": damaged_lines,
    "npy": damaged_npy,
    "statement": damaged_statement,
    "text": damaged_text,
    "toml": damaged_toml,
    "zip": damaged_zip,
    "tensors": damaged_tensors,
    "png": damaged_png,
}


def damaged(random: Random, content: bytes, kind: str) -> bytes:
    """`content` with damage of either sort; never equal to it."""
    while True:
        structure = STRUCTURES.get(kind)
        use = structure if structure and random.random() < 0.6 else damaged_bytes
        new = use(random, content)
        if new != content:
            return new
