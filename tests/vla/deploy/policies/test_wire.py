"""openpi's messages."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest

from vla.deploy.policies.wire import pack, unpack

ARRAY = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2]}


def test_messages_come_back_as_they_were():
    message = {
        "prompt": "pick up the cube",
        "observation/image": np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        "nested": {"state": np.array([1.5, np.nan]), "flags": np.array([True, False])},
        "scalar": np.float32(1.5),
        "empty": np.zeros((0, 3), dtype=np.int16),
        "plain": [1, 2.5, None, True],
    }
    back = unpack(pack(message))
    assert back["prompt"] == message["prompt"] and back["plain"] == message["plain"]
    for key in ("observation/image", "empty"):
        np.testing.assert_array_equal(back[key], message[key])
        assert back[key].dtype == message[key].dtype and back[key].flags.writeable
    np.testing.assert_array_equal(back["nested"]["state"], message["nested"]["state"])
    assert back["scalar"] == np.float32(1.5) and back["scalar"].dtype == np.float32


def test_the_bytes_are_openpis():
    packed = msgpack.unpackb(pack({"x": np.zeros(2, dtype=np.float32)}))
    assert packed == {"x": ARRAY}


@pytest.mark.parametrize(
    "spoilt",
    [
        b"",
        b"\xc1",
        pack({"x": 1})[:-1],
        msgpack.packb(ARRAY | {b"data": bytes(7)}),
        msgpack.packb(ARRAY | {b"shape": [1 << 40, 1 << 40]}),
        msgpack.packb(ARRAY | {b"shape": [-2]}),
        msgpack.packb(ARRAY | {b"shape": "2"}),
        msgpack.packb(ARRAY | {b"dtype": "|O"}),
        msgpack.packb(ARRAY | {b"dtype": "V8"}),
        msgpack.packb(ARRAY | {b"dtype": "nonsense"}),
        msgpack.packb(ARRAY | {b"data": "text"}),
        msgpack.packb({b"__ndarray__": True}),
        msgpack.packb({b"__npgeneric__": True, b"data": "a", b"dtype": "<f4"}),
        msgpack.packb({"x": [0] * 5000}),
        msgpack.packb([[0] * 100] * 50),
        msgpack.packb([[[]] * 50] * 50),
        b"\xdd\x00\xff\xff\xff" * 900,
    ],
)
def test_what_is_no_message_is_a_value_error(spoilt):
    with pytest.raises(ValueError, match="not a message"):
        unpack(spoilt)


def test_random_bytes_never_do_anything_else():
    rng = np.random.default_rng(0)
    whole = pack({"state": np.zeros(4), "image": np.zeros((4, 4, 3), dtype=np.uint8)})
    for _ in range(2000):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(256)
        try:
            unpack(bytes(data))
        except ValueError as error:
            assert str(error).startswith("not a message")


def test_objects_are_not_sent():
    with pytest.raises(TypeError, match="cannot be sent"):
        pack({"x": np.array([None])})
    with pytest.raises(TypeError, match="object cannot be sent"):
        pack({"x": object()})
