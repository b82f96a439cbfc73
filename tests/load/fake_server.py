"""A server with OpenAI's API whose answers and faults a test decides on."""

import asyncio
import contextlib
import dataclasses
import json
import ssl
import time


@dataclasses.dataclass
class Answer:
    """What happens to one request for a completion."""

    status: int = 200
    headers: dict = dataclasses.field(default_factory=dict)
    message: str = "as the test wants it"
    after: asyncio.Event | None = None  # what the first token waits for
    first_s: float = 0.0  # before the first token
    gap_s: float = 0.0  # before each other token
    # "disconnect", "reset", "garbage", "error_event", "no_done", "not_a_stream", "not_http", after `fault_after` tokens
    fault: str = ""
    fault_after: int = 2
    tokens: int | None = None  # fewer than asked for
    usage: bool = True


@dataclasses.dataclass
class Seen:
    """A request as the server saw it."""

    path: str
    headers: dict
    body: dict
    at_s: float

    @property
    def text(self):
        return self.body.get("prompt", self.body.get("messages", [{}])[0].get("content"))


class FakeServer:
    """Words are tokens: ids are 1000 + a number for each word met. `script(n, seen)` gives the n-th Answer."""

    def __init__(self, script=lambda n, seen: Answer(), *, model="fake", tokenize=True, ids=True, api_key=None,
                 tokens_per_word=1, template_tokens=0, base_path="", requests_per_connection=None):
        self.script, self.model, self.has_tokenize, self.takes_ids = script, model, tokenize, ids
        self.api_key, self.tokens_per_word, self.template_tokens = api_key, tokens_per_word, template_tokens
        self.base_path = base_path
        self.requests_per_connection = requests_per_connection  # at the next one it hangs up
        self.seen, self.probes, self.vocabulary = [], [], {}
        self.running = self.most_running = self.connections = 0

    async def __aenter__(self):
        return await self.start()

    async def start(self, tls=None):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls, backlog=4096)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.sockets[0].getsockname()[1]}{self.base_path}"
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        self.connections += 1
        served = 0
        # Cancelled: the test is over.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                request, *lines = head.decode().split("\r\n")[:-2]
                method, path, _ = request.split(" ")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if served == self.requests_per_connection:
                    break
                served += 1
                seen = Seen(path.removeprefix(self.base_path), headers, json.loads(body) if body else {}, time.monotonic())
                if not await self.answer(method, seen, writer):
                    break
        writer.close()

    async def answer(self, method, seen, writer):
        if self.api_key and seen.headers.get("authorization") != f"Bearer {self.api_key}":
            return await self.reply(writer, 401, {"error": {"message": "wrong key", "type": "invalid_request_error"}})
        if (method, seen.path) == ("GET", "/v1/models"):
            return await self.reply(writer, 200, {"data": [{"id": self.model}]})
        if seen.path == "/tokenize" and self.has_tokenize:
            words = seen.body["prompt"].split()
            return await self.reply(writer, 200, {"tokens": [self.word_id(word) for word in words]})
        if seen.path not in ("/v1/completions", "/v1/chat/completions"):
            return await self.reply(writer, 404, {"error": {"message": f"no {seen.path}"}})
        if isinstance(seen.text, list) and not self.takes_ids:
            return await self.reply(writer, 400, {"error": {"message": "prompt must be a string"}})
        if not seen.body.get("stream"):
            self.probes.append(seen)
            return await self.reply(writer, 200, {"choices": [{"text": "x"}], "usage": self.usage(seen, 1)})
        self.seen.append(seen)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.complete(seen, self.script(len(self.seen) - 1, seen), writer)
        finally:
            self.running -= 1

    def word_id(self, word):
        return self.vocabulary.setdefault(word, 1000 + len(self.vocabulary))

    def usage(self, seen, tokens):
        prompt = seen.text
        count = len(prompt) if isinstance(prompt, list) else len(prompt.split()) * self.tokens_per_word
        return {"prompt_tokens": count + self.template_tokens, "completion_tokens": tokens}

    async def reply(self, writer, status, body, headers=None):
        data = json.dumps(body).encode()
        lines = {"Content-Type": "application/json", "Content-Length": len(data), **(headers or {})}
        writer.write(f"HTTP/1.1 {status} X\r\n".encode())
        writer.write("".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode() + b"\r\n" + data)
        await writer.drain()
        return True

    async def complete(self, seen, answer, writer):
        """False when the connection cannot be used again."""
        if answer.status != 200:
            return await self.reply(writer, answer.status, {"error": {"message": answer.message}}, answer.headers)
        if answer.fault == "not_a_stream":
            return await self.reply(writer, 200, {"choices": [{"text": "all at once"}]})
        if answer.fault == "not_http":
            writer.write(b"220 mail.example ESMTP\r\n\r\n")
            return False
        tokens = answer.tokens or seen.body["max_tokens"]
        chat = seen.path.endswith("chat/completions")

        def send(text):
            # Chunks of HTTP end where events do not.
            data = text.encode()
            for piece in filter(None, (data[: len(data) // 3], data[len(data) // 3 :])):
                writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")

        def event(**fields):
            send("data: " + json.dumps({"model": self.model, **fields}) + "\n\n")

        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n")
        if chat:
            event(choices=[{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
        if answer.after:
            await answer.after.wait()
        for i in range(tokens):
            if delay_s := answer.gap_s if i else answer.first_s:
                await asyncio.sleep(delay_s)
            if answer.fault and i == answer.fault_after:
                if answer.fault == "disconnect":
                    await writer.drain()
                    return False
                if answer.fault == "reset":
                    writer.transport.abort()
                    return False
                if answer.fault == "garbage":
                    send("data: {\"choices\": [\n\n")
                if answer.fault == "error_event":
                    event(error={"message": "a rank died"})
                if answer.fault in ("garbage", "error_event", "no_done"):
                    writer.write(b"0\r\n\r\n")
                    return True
            content = {"delta": {"content": f" t{i}"}} if chat else {"text": f" t{i}"}
            event(choices=[{**content, "finish_reason": "length" if i == tokens - 1 else None}])
            await writer.drain()
        if answer.usage and seen.body.get("stream_options", {}).get("include_usage"):
            event(choices=[], usage=self.usage(seen, tokens))
        send("data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True
