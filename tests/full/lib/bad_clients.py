"""usage: bad_clients.py PORT MODEL

Attacks the server at that port of this machine in every way at once. Prints "ready" when all idle connections stand;
"stop" on stdin ends the attacks, but for the idle connections, and prints {kind: {what came of it: how often}} as JSON. Any
other line lets those clients vanish that a full server has kept out till then, and prints the same. The end of stdin ends it.
What comes of a request is its status, "vanished" where the client meant to, or what went wrong.
"""
import asyncio
import collections
import contextlib
import json
import random
import re
import resource
import socket
import struct
import sys

IDLE, SLOW_READERS, VANISHING, ATTACK_S = 2000, 50, 500, 60
RETRY_S = 5  # when the server is full
LONG_BODY = 100_000_000
JUNK = bytes(1 << 16)
outcomes = collections.defaultdict(collections.Counter)
port = 0
model = ""


def post(body, path=b"/v1/completions", head=b""):
    return b"POST %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s" % (path, head, len(body), body)


def completion(**fields):
    return post(json.dumps({"model": model, "stream": True, "ignore_eos": True, **fields}).encode())


async def connect(receive_buffer=0):
    client = socket.socket()
    client.setblocking(False)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=client)


async def status_of(reader):
    """Of the next answer, with its head."""
    head = await reader.readuntil(b"\r\n\r\n")
    return int(re.match(rb"HTTP/1\.1 (\d{3}) ", head).group(1)), head


def reset(writer):
    """Ends a connection as a machine that lost its power does, when something is sent to it."""
    with contextlib.suppress(OSError):  # the server was faster
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def count(kind, attack, *arguments):
    """Runs an attack once."""
    try:
        outcome = await attack(*arguments)
    except asyncio.CancelledError:
        outcomes[kind]["unfinished"] += 1
        raise
    except asyncio.IncompleteReadError as error:
        outcome = f"closed without an answer after {len(error.partial)} bytes"
    except (OSError, ValueError, AttributeError) as error:
        outcome = f"{type(error).__name__}: {error}"
    outcomes[kind][str(outcome)] += 1
    return outcome


async def again_and_again(kind, pause_s, attack, *arguments):
    while True:
        await count(kind, attack, *arguments)
        await asyncio.sleep(random.uniform(0.5, 1.5) * pause_s)


async def idle(number, standing):
    reader, writer = await connect()
    if number % 4 == 0:  # some have asked once
        writer.write(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    standing.add(number)
    if len(standing) == IDLE:
        standing.add("told")
        print("ready", flush=True)
    await reader.read()
    writer.close()
    return "closed"


async def read_slowly():
    """An answer of many bytes to few tokens."""
    reader, writer = await connect(receive_buffer=2048)
    try:
        writer.write(completion(prompt="One by one", max_tokens=16, logprobs=5))
        received = b""
        while part := await reader.read(1):
            received += part
            await asyncio.sleep(0.01 if len(received) < 12 else 1)
            if len(received) == 12 and not received.endswith(b" 200"):
                return int(received[-3:])
        return 200
    finally:
        reset(writer)


async def vanish(abrupt):
    """Once, in the midst of an answer, however often it is told to come back."""
    while True:
        reader, writer = await connect()
        writer.write(completion(prompt="Once", max_tokens=1000))
        status, _ = await status_of(reader)
        if status == 200:
            await reader.readuntil(b"data: ")
            if abrupt:
                reset(writer)
            writer.close()
            return "vanished"
        writer.close()
        outcomes["vanishes"][str(status)] += 1
        await asyncio.sleep(random.uniform(0.5, 1) * RETRY_S)


async def vanish_all(within_s):
    clients = VANISHING - outcomes["vanishes"]["vanished"]

    async def later(number):
        await asyncio.sleep(within_s * number / clients)
        await count("vanishes", vanish, number % 2 == 0)

    await asyncio.gather(*(later(number) for number in range(clients)))


async def vanish_at_once():
    _, writer = await connect()
    writer.write(completion(prompt="Never mind", max_tokens=1000))
    await writer.drain()
    writer.close()
    return "vanished"


async def ask(request):
    """That nothing but one answer comes to it, and then the end where it is no sound HTTP."""
    reader, writer = await connect()
    try:
        writer.write(request)
        status, head = await status_of(reader)
        if b"connection: close" in head.lower():
            rest = await reader.read()
            if b"HTTP/1.1 " in rest:
                return f"{status} and a second answer"
        return status
    finally:
        writer.close()


async def send_long_body(chunked):
    reader, writer = await connect()
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % LONG_BODY
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n" + length + b"\r\n\r\n")
    answer = asyncio.ensure_future(status_of(reader))

    async def send():
        part = b"%x\r\n%s\r\n" % (len(JUNK), JUNK) if chunked else JUNK
        for _ in range(LONG_BODY // len(JUNK)):
            writer.write(part)
            await writer.drain()

    sending = asyncio.ensure_future(send())
    try:
        return (await answer)[0]
    except ConnectionError:  # its answer had come, but we were still sending when it closed
        return "cut off"
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        reset(writer)


async def send_slowly(start, part):
    reader, writer = await connect()
    answer = asyncio.ensure_future(status_of(reader))
    writer.write(start)
    try:
        while not answer.done():
            writer.write(part)
            await asyncio.wait([answer], timeout=1)
        return (await answer)[0]
    finally:
        answer.cancel()
        writer.close()


HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n"
NEXT = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
SMUGGLING = [
    HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!" + NEXT,
    HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + NEXT,
    HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + NEXT,
    HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + NEXT,
    HEAD + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}" + NEXT,
    HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + NEXT,
    HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + NEXT,
    HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + NEXT,
    HEAD + b" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    HEAD + b"X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: -1\r\n\r\n" + NEXT,
    HEAD + b"Content-Length: +5\r\n\r\nhello" + NEXT,
    HEAD + b"Content-Length: 0x5\r\n\r\nhello" + NEXT,
    HEAD + b"Content-Length: 5, 5\r\n\r\nhello" + NEXT,
    HEAD + b"Content-Length: 18446744073709551621\r\n\r\nhello" + NEXT,
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n" + NEXT,
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n" + NEXT,
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n" + NEXT,
    b"GET /health HTTP/1.1\r\n\r\n" + NEXT,
    b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + NEXT,
    b"GET /health HTTP/1.1\nHost: a\r\rX: y\r\n\r\n" + NEXT,
    b"GET /health HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n" + NEXT,
    b"GET  /health\x00 HTTP/1.1\r\nHost: a\r\n\r\n" + NEXT,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + b"\r\n\r\n" + NEXT,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NEXT,
]
DEEP = [b"[" * 1_000_000, b'{"prompt":' * 100_000, b'{"prompt":"a","metadata":' + b"[" * 1000 + b"]" * 1000 + b"}",
        b'{"messages":[{"role":"user","content":' + b'[{"type":' * 5000]
NOT_UTF8 = [b'{"prompt":"\xff\xfe"}', b'{"prompt":"\xc0\xaf"}', b'{"prompt":"\xed\xa0\x80"}', b'{"prompt":"\xf5\x80\x80\x80"}',
            b'{"prompt":"\\ud800"}', b'{"\xff":1,"prompt":"a"}', b"\xff\xfe{\x00}\x00", b'{"prompt":"a\xe2\x82']
LONG_JUNK = b'{"prompt":"' + b"a b" * 5_000_000 + b'"}'  # within the limit, far beyond every context


async def one_of(shapes, path=None):
    shape = random.choice(shapes)
    return await ask(post(shape, path) if path else shape)


def attacks():
    paths = b"/v1/completions", b"/v1/chat/completions"
    return [
        *([("reads a byte a second", RETRY_S, read_slowly)] * SLOW_READERS),
        *([("slow header", 1, send_slowly, b"GET /health HTTP/1.1\r\nX: ", b"a")] * 50),
        *([("slow body", 1, send_slowly, HEAD + b"Content-Length: 1000\r\n\r\n", b" ")] * 50),
        *([("vanishes at once", 2, vanish_at_once)] * 2),
        *([("100 MB with a length", 2, send_long_body, False)] * 2),
        *([("100 MB in chunks", 2, send_long_body, True)] * 2),
        *(("deep JSON", 2, one_of, DEEP, path) for path in paths),
        *(("no UTF-8", 1, one_of, NOT_UTF8, path) for path in paths),
        ("15 MB of prompt", 5, one_of, [LONG_JUNK], paths[0]),
        *([("smuggling", 0.5, one_of, SMUGGLING)] * 4),
    ]


async def run():
    random.seed(1)
    standing = set()
    resting = [asyncio.ensure_future(again_and_again("idle", 0.1, idle, number, standing)) for number in range(IDLE)]
    running = [asyncio.ensure_future(again_and_again(*attack)) for attack in attacks()]
    running.append(asyncio.ensure_future(vanish_all(ATTACK_S)))
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.readline)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    print(json.dumps(outcomes), flush=True)
    if await loop.run_in_executor(None, sys.stdin.readline):
        outcomes["vanishes"].pop("unfinished", None)
        await vanish_all(0)
        print(json.dumps(outcomes), flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    for task in resting:
        task.cancel()


if __name__ == "__main__":
    port, model = int(sys.argv[1]), sys.argv[2]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(run())
