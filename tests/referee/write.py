"""Certificates of version 3 as plain data: a header and arrays, read and written without the package."""

import hashlib
import json
import struct

import numpy as np

_TYPES = {"F64": "<f8", "I64": "<i8", "F32": "<f4", "I32": "<i4"}


def read(path):
    """(header, tensors) of a certificate that can be trusted to be well formed."""
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    entries, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    header = json.loads(entries.pop("__metadata__")["certificate"])
    tensors = {}
    for name, entry in entries.items():
        start, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(body[start:end], _TYPES[entry["dtype"]]).reshape(entry["shape"]).copy()
    return header, tensors


def digest(header, tensors):
    """SHA-256 of the header without its own entry, then of every tensor in the order of names."""
    total = hashlib.sha256(json.dumps({k: v for k, v in header.items() if k != "sha256"}, sort_keys=True).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        total.update(f"{name}:{array.dtype.str}:{array.shape};".encode() + array.tobytes())
    return total.hexdigest()


def to_bytes(header, tensors):
    """The file's bytes, with the digest that fits."""
    header = header | {"sha256": digest(header, tensors)}
    names = {np.dtype(code).str: name for name, code in _TYPES.items()}
    entries, body = {"__metadata__": {"certificate": json.dumps(header)}}, b""
    for name in sorted(tensors):
        part = np.ascontiguousarray(tensors[name]).tobytes()
        offsets = [len(body), len(body) + len(part)]
        entries[name] = {
            "dtype": names[tensors[name].dtype.str],
            "shape": list(tensors[name].shape),
            "data_offsets": offsets,
        }
        body += part
    head = json.dumps(entries).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + body


def write(path, header, tensors):
    """Write a certificate, right or forged, with a digest that fits."""
    with open(path, "wb") as file:
        file.write(to_bytes(header, tensors))
