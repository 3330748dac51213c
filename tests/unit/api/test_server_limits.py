"""The server's own bounds, each one byte below and above; and TLS."""

from __future__ import annotations

import json
import ssl

import httpx
import pytest
import trio
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from propbot.api.connection import HEAD_BYTES_MAX
from propbot.api.replies import BODY_KIB_MAX
from propbot.kit.server_tls import server_tls
from tests.unit.api.conftest import TOKEN
from tests.unit.api.test_server import open_serving, read_all

AUTHORISED = b"Host: x\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\nContent-Type: application/json\r\n"


def head_of(size: int) -> bytes:
    """A request without a body whose head is of so many bytes."""
    start, end = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Fill: ", b"\r\n\r\n"
    return start + b"a" * (size - len(start) - len(end)) + end


def hold_of(size: int, framing: bytes) -> bytes:
    """A HOLD whose JSON is of so many bytes, most of them a reason that is too long."""
    text = b'{"mode":"HOLD","reason":"%s"}'
    body = text % (b"x" * (size - len(text) + 2))
    head = b"PATCH /api/ui/control HTTP/1.1\r\n" + AUTHORISED
    if framing == b"chunked":
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size + body + b"\r\n0\r\n\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % size + body


async def ask(serving, raw: bytes, *, part: int = 100_000) -> tuple[int, bytes]:
    """Status and body of the answer to what was sent in parts of so many bytes."""
    async with await serving.connect() as stream:
        try:
            for at in range(0, len(raw), part):
                await stream.send_all(raw[at : at + part])
        except trio.BrokenResourceError:
            pass  # it has heard enough
        return await read_answer(stream)


async def read_answer(stream) -> tuple[int, bytes]:
    """Status and body, as long as its head says: nobody has to wait until nothing more comes."""
    received = b""
    with trio.fail_after(15):
        while True:
            head, ended, body = received.partition(b"\r\n\r\n")
            if ended and len(body) >= length_of(head):
                return int(head.split()[1]), body
            data = await stream.receive_some(65536)
            assert data, f"the answer ended after {received!r}"
            received += data


def length_of(head: bytes) -> int:
    names = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return int(names[b"content-length"])


@pytest.mark.parametrize("part", [100_000, 1000], ids=["at once", "in parts"])
@pytest.mark.parametrize(("more", "status"), [(-1, 200), (0, 200), (1, 431)])
async def test_a_head_of_16_kib_is_read_and_not_a_byte_more(app, more, status, part):
    async with open_serving(app) as serving:
        got, body = await ask(serving, head_of(HEAD_BYTES_MAX + more), part=part)
    assert got == status
    if status == 431:
        assert json.loads(body)["error"]["code"] == "headers_too_large"


async def test_a_head_without_end_is_refused_while_it_comes(app):
    async with open_serving(app) as serving:
        got, _ = await ask(serving, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000, part=1000)
    assert got == 431


@pytest.mark.parametrize("framing", [b"length", b"chunked"])
@pytest.mark.parametrize(("more", "status"), [(-1, 422), (0, 422), (1, 413)])
async def test_a_body_of_64_kib_is_read_and_not_a_byte_more(app, desk, more, status, framing):
    """422: the reason is too long for anybody, but what could be read was a HOLD."""
    async with open_serving(app) as serving:
        got, body = await ask(serving, hold_of(BODY_KIB_MAX * 1024 + more, framing))
    assert got == status
    assert desk.heard == (["hold"] if status == 422 else [])
    assert json.loads(body)["error"]["code"] == ("invalid" if status == 422 else "too_large")


@pytest.mark.parametrize("framing", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
async def test_a_gigabyte_is_refused_before_it_comes(app, desk, framing):
    head = b"PATCH /api/ui/control HTTP/1.1\r\n" + AUTHORISED + framing.encode() + b"\r\n\r\n"
    piece = b"x" * 1000 if "Length" in framing else b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    async with open_serving(app) as serving:
        got, _ = await ask(serving, head + piece * 200, part=10_000)
        assert await serving.healthz() == 200
    assert got == 413
    assert desk.heard == []


async def test_a_big_body_without_a_token_is_not_waited_for(app):
    head = b"PATCH /api/ui/control HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
    async with open_serving(app) as serving:
        with trio.fail_after(2):
            got, _ = await ask(serving, head)
    assert got == 401


async def test_what_never_became_a_request_is_answered_hardened(app):
    async with open_serving(app) as serving, await serving.connect() as stream:
        await stream.send_all(b"hello\r\n\r\n")
        head = (await read_all(stream)).partition(b"\r\n\r\n")[0].lower()
    for line in (b"x-content-type-options: nosniff", b"content-security-policy: default-src 'self'"):
        assert line in head


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls(authority, tmp_path):
    made = authority.issue_cert("127.0.0.1", "localhost")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
    made.private_key_pem.write_to_path(str(key))
    return server_tls(cert, key)


def trusting(authority) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_it_serves_over_tls_and_ends_in_order(app, authority, tls):
    async with open_serving(app, tls=tls) as serving:
        assert serving.url.startswith("https://127.0.0.1:")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(verify=trusting(authority), headers=headers) as client:
            for _ in range(2):
                assert (await client.get(f"{serving.url}/api/ui/state")).status_code == 200
            assert await serving.stop() < 1


async def test_tls_older_than_1_2_is_refused(app, authority, tls):
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with open_serving(app, tls=tls) as serving:
        raw = await serving.connect()
        stream = trio.SSLStream(raw, context, server_hostname="127.0.0.1")
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(raw)


async def test_who_does_not_speak_tls_harms_nobody(app, authority, tls):
    async with open_serving(app, tls=tls) as serving:
        silent = await serving.connect()
        for raw in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\x00" * 500):
            async with await serving.connect() as stream:
                await stream.send_all(raw)
                assert not (await read_all(stream, 0.5)).startswith(b"HTTP")
        async with httpx.AsyncClient(verify=trusting(authority)) as client:
            assert (await client.get(f"{serving.url}/healthz")).status_code == 200
        assert await serving.stop() < 1
        await trio.aclose_forcefully(silent)


def test_an_encrypted_key_is_refused_and_asks_nobody(authority, tmp_path):
    made = authority.issue_cert("localhost")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(made.cert_chain_pems[0].bytes())
    private = load_pem_private_key(made.private_key_pem.bytes(), None)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")))
    with pytest.raises(ValueError, match="the key is encrypted"):
        server_tls(cert, key)
