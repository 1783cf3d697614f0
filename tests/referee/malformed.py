"""Files that are not certificates of version 3, whatever they claim.

`MALFORMED`: (header, tensors) -> (header, tensors); the bound may be right, but a rule of the format is broken.
`RAW`: (header, tensors) -> bytes, below the level of JSON. `to_bytes` gives the digest that fits.
"""

import json
import struct

import numpy as np

from .write import digest, to_bytes

__all__ = ["MALFORMED", "RAW", "to_bytes"]


def _reshaped(name, change):
    def forge(header, tensors):
        return header, tensors | {name: np.ascontiguousarray(change(tensors[name]))}

    return forge


def _any_null(header):
    return {"null": np.zeros((header["blocks"] * header["dimension"] ** 2, 1))}


def _entry(name, index, value):
    """One entry set; a tensor without that entry stays as it is."""

    def forge(header, tensors):
        array = tensors[name].copy()
        if all(i < size for i, size in zip(index, array.shape, strict=True)):
            array[index] = value
        return header, tensors | {name: array}

    return forge


def leaf_twice(header, tensors):
    """The first leaf given twice, with all that belongs to it."""
    depth = tensors["depths"][0]
    return header, tensors | {
        name: np.concatenate([x[: depth if name in ("paths", "S") else 1], x])
        for name, x in tensors.items()
        if name in ("paths", "S", "depths", "Z")
    }


def null_invented(header, tensors):
    """A unit vector declared null for the first leaf; the bound stays as it was."""
    null, counts = _any_null(header)["null"], np.zeros(len(tensors["depths"]), np.int64)
    null[0], counts[0] = 1, 1
    return header, tensors | {"null": null, "null_counts": counts}


def null_counts_cancel(header, tensors):
    """No null columns; the counts 1, 0, ..., -1 add up to none."""
    counts = np.zeros(len(tensors["depths"]), np.int64)
    counts[0] += 1
    counts[-1] -= 1
    null = np.zeros((header["blocks"] * header["dimension"] ** 2, 0))
    return header, tensors | {"null": null, "null_counts": counts if len(counts) > 1 else counts - 1}


MALFORMED = {
    "version_2": lambda h, t: (h | {"version": 2}, t),
    "version_2.0": lambda h, t: (h | {"version": 2.0}, t),
    "version_3.0": lambda h, t: (h | {"version": 3.0}, t),
    "version_true": lambda h, t: (h | {"version": True}, t),
    "version_text": lambda h, t: (h | {"version": "3"}, t),
    "version_missing": lambda h, t: ({k: v for k, v in h.items() if k != "version"}, t),
    "task_missing": lambda h, t: ({k: v for k, v in h.items() if k != "task"}, t),
    "extra_field": lambda h, t: (h | {"proved": True}, t),
    "extra_tensor": lambda h, t: (h, t | {"lambda": np.ones(1)}),
    "tolerance_nan": lambda h, t: (h | {"tolerance": float("nan")}, t),
    "status_unknown": lambda h, t: (h | {"status": "proved"}, t),
    "verified_unknown": lambda h, t: (h | {"verified": "exactly"}, t),
    "blocks_wrong": lambda h, t: (h | {"blocks": h["blocks"] + 1}, t),
    "dimension_true": lambda h, t: (h | {"dimension": True}, t),
    "z_transposed": _reshaped("Z", lambda z: z.transpose(0, 2, 1)),
    "z_one_leaf_more": _reshaped("Z", lambda z: np.concatenate([z, z])),
    "b_long": _reshaped("b", lambda b: np.append(b, 0.0)),
    "b_missing": lambda h, t: (h, {k: v for k, v in t.items() if k != "b"}),
    "z_missing": lambda h, t: (h, {k: v for k, v in t.items() if k != "Z"}),
    "a_transposed": _reshaped("A", lambda a: a.T),
    "a_single": _reshaped("A", lambda a: a.astype("<f4")),
    "paths_float": _reshaped("paths", lambda p: p * -0.0 if p.size else p.astype(float)),
    "depths_float": _reshaped("depths", lambda d: d.astype(float)),
    "depths_negative": _reshaped("depths", lambda d: d - 1),
    "depths_too_large": _reshaped("depths", lambda d: d + 2**40),
    "leaf_twice": leaf_twice,
    "s_asymmetric": _entry("S", (0, 1, 0), 1e-30),
    "cone_asymmetric": _entry("cones", (0, 1, 0), 1e-30),
    "null_invented": null_invented,
    "null_counts_cancel": null_counts_cancel,
    "null_without_counts": lambda h, t: (h, {k: v for k, v in t.items() if k != "null_counts"} | _any_null(h)),
}


# Below the level of JSON


def _split(data):
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def _joined(entries, body):
    head = (entries if isinstance(entries, str) else json.dumps(entries)).encode()
    return struct.pack("<Q", len(head)) + head + body


def lower_given_twice(header, tensors):
    """The key "lower" first with a false value, then with the right one; the digest fits the last."""
    entries, body = _split(to_bytes(header, tensors))
    text = json.dumps(header | {"sha256": digest(header, tensors)})
    entries["__metadata__"]["certificate"] = '{"lower": 1e9, ' + text[1:]
    return _joined(entries, body)


def offsets_overlap(header, tensors):
    """Z reads the bytes of A and those that follow."""
    entries, body = _split(to_bytes(header, tensors))
    width = entries["Z"]["data_offsets"][1] - entries["Z"]["data_offsets"][0]
    start = max(entries["Z"]["data_offsets"][0] - 8, 0)
    entries["Z"]["data_offsets"] = [start, start + width]
    return _joined(entries, body)


def shape_too_large(header, tensors):
    """A shape whose product wraps around in 64 bits."""
    entries, body = _split(to_bytes(header, tensors))
    entries["cones"]["shape"] = [2**61, header["dimension"], header["dimension"]]
    return _joined(entries, body)


def header_nested(header, tensors):
    """A header that is a thousand lists deep."""
    entries, body = _split(to_bytes(header, tensors))
    entries["__metadata__"]["certificate"] = "[" * 100_000 + "]" * 100_000
    return _joined(entries, body)


def header_long_number(header, tensors):
    """A number of 100,000 digits."""
    entries, body = _split(to_bytes(header, tensors))
    entries["__metadata__"]["certificate"] = json.dumps(header)[:-1] + ', "seconds": ' + "9" * 100_000 + "}"
    return _joined(entries, body)


RAW = {
    "empty": lambda _, __: b"",
    "seven_bytes": lambda _, __: b"\0" * 7,
    "header_longer_than_file": lambda h, t: struct.pack("<Q", 2**63) + to_bytes(h, t)[8:],
    "header_not_utf8": lambda _, __: struct.pack("<Q", 4) + b"\xff\xfe{}",
    "header_not_json": lambda _, __: _joined("not JSON", b""),
    "header_a_list": lambda _, __: _joined("[]", b""),
    "header_nested": header_nested,
    "header_long_number": header_long_number,
    "truncated": lambda h, t: to_bytes(h, t)[:-8],
    "bytes_after_the_end": lambda h, t: to_bytes(h, t) + b"\0" * 8,
    "lower_given_twice": lower_given_twice,
    "offsets_overlap": offsets_overlap,
    "shape_too_large": shape_too_large,
}
