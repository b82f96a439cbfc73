"""usage: serve_abuse.py LONGSPAN MODEL

Ten times as many clients as the server has places ask again and again, without and with bad_clients.py (at nice 19) beside
them. No crash; every answer is right or a proper refusal; the good requests keep their pace; memory is bounded; no page of KV
stays behind; SIGTERM ends it in order. Exit status 1 when not so. Times are printed and not judged, but for a pace below
0.7 of that without the bad clients.
"""
import asyncio
import collections
import json
import os
import random
import re
import resource
import subprocess
import sys
import time

from server_process import Server, check

RUNNING, QUEUED = 16, 32
CLIENTS = 10 * (RUNNING + QUEUED)
WARM_S, ALONE_S, ATTACK_S = 10, 30, 60
OUTPUT_TOKENS = 16
LONGEST_RETRY_S = 5.0
MIB = 1 << 20
# Of bodies on their way, the parsed ones among them, buffers of connections, answers nobody reads.
MAX_GROWTH = 512 * MIB
TEXT = "The bridge stood over the river, and on every morning of that long year the engineer walked its whole span. "
PROMPTS = [f"{number} {TEXT * (1 + number % 4)}" for number in range(40)]
# What may come of a bad client's request: statuses, and or the attack's own doing. "cut off" was still
# sending some time after its answer.
EXPECTED = {
    "reads a byte a second": {"200", "429", "unfinished"},
    "vanishes": {"vanished", "429", "unfinished"},
    "vanishes at once": {"vanished"},
    "100 MB with a length": {"413", "cut off", "unfinished"},
    "100 MB in chunks": {"413", "503", "cut off", "unfinished"},
    "deep JSON": {"400", "unfinished"},
    "no UTF-8": {"400", "unfinished"},
    "15 MB of prompt": {"400", "429", "503", "unfinished"},
    "smuggling": {"400", "unfinished"},
    "slow header": {"408", "unfinished"},
    "slow body": {"408", "unfinished"},
    "idle": {"closed"},
}


class GoodClients:
    """Each asks for a short text, and once more after a while where the server is full."""

    def __init__(self, port, model):
        self.port = port
        self.tokens, self.outcomes = 0, collections.Counter()
        self.texts, self.wrong = {}, []
        self.requests = []
        for number, prompt in enumerate(PROMPTS):
            body = json.dumps({"model": model, "prompt": prompt, "max_tokens": OUTPUT_TOKENS, "temperature": 0, "ignore_eos": True,
                               "stream": number % 2 == 0}).encode()
            self.requests.append(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def client(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.sleep(random.uniform(0, LONGEST_RETRY_S))
        while True:
            number = random.randrange(len(PROMPTS))
            writer.write(self.requests[number])
            pause = await self.answer(number, reader)
            await asyncio.sleep(pause)

    async def answer(self, number, reader):
        """Reads it, and returns after how many seconds to ask again."""
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        self.outcomes[status] += 1
        if status == 200:
            if b"chunked" in head:
                body = await reader.readuntil(b"data: [DONE]\n\n\r\n0\r\n\r\n")
                events = [json.loads(event) for event in re.findall(rb"data: (\{.*)\n\n", body)]
                text = "".join(event["choices"][0]["text"] for event in events if event["choices"])
            else:
                answer = json.loads(await self.read_body(head, reader))
                text = answer["choices"][0]["text"]
                if answer["usage"]["completion_tokens"] != OUTPUT_TOKENS:
                    self.wrong.append(answer)
            self.tokens += OUTPUT_TOKENS
            if self.texts.setdefault(number, text) != text:
                self.wrong.append(f"prompt {number} has another text than before")
            return 0
        answer = await self.read_body(head, reader)
        retry = re.search(rb"\r\nretry-after: (\d+)\r\n", head, re.IGNORECASE)
        error = json.loads(answer)["error"]
        if status != 429 or not retry or int(retry.group(1)) < 1 or error["type"] != "rate_limit_error":
            self.wrong.append(f"{status} {head} {answer}")
        return random.uniform(0.5, 1) * LONGEST_RETRY_S

    @staticmethod
    async def read_body(head, reader):
        return await reader.readexactly(int(re.search(rb"\r\ncontent-length: (\d+)\r\n", head, re.IGNORECASE).group(1)))


class Watch:
    """The largest resident memory, of all time since it was last asked."""

    def __init__(self, server):
        self.server, self.most = server, 0

    async def run(self):
        while True:
            self.most = max(self.most, self.server.resident_bytes())
            await asyncio.sleep(0.2)

    def take(self):
        most, self.most = self.most, self.server.resident_bytes()
        return most


async def measure(clients, watch, seconds, what):
    """Tokens a second that good clients got, how often they were refused, and the largest resident memory."""
    watch.take()
    begin, tokens, outcomes = time.monotonic(), clients.tokens, clients.outcomes.copy()
    await asyncio.sleep(seconds)
    rate = (clients.tokens - tokens) / (time.monotonic() - begin)
    new = clients.outcomes - outcomes
    most = watch.take()
    print(f"{what}: {rate:.0f} tokens/s of good requests ({new[200]} answered, {new[429]} refused: "
          f"{new.total() / max(new[200], 1):.1f} times what it can), resident memory up to {most / MIB:.0f} MiB", flush=True)
    return rate, most


async def attack(clients, watch, port, model):
    """Measures among bad clients; they stay connected. Returns their process too."""
    program = os.path.join(os.path.dirname(__file__), "bad_clients.py")
    bad = await asyncio.create_subprocess_exec("nice", "-n", "19", sys.executable, program, str(port), model,
                                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=MIB)
    check(await bad.stdout.readline() == b"ready\n", "the bad clients could not connect")
    rate, most = await measure(clients, watch, ATTACK_S, "among bad clients")
    bad.stdin.write(b"stop\n")
    outcomes = json.loads(await bad.stdout.readline())
    return rate, most, outcomes, bad


def judge_refusals(outcomes):
    wrong = []
    for kind, counts in outcomes.items():
        print(f"  {kind}: " + ", ".join(f"{outcome} {count} times" for outcome, count in counts.items()))
        wrong += [f"{kind}: {outcome}" for outcome in counts if outcome not in EXPECTED[kind]]
    check(not wrong, f"answers to bad clients: {wrong}")
    missing = set(EXPECTED) - set(outcomes) - {"idle"}
    check(not missing, f"nothing came of {missing}")


async def abuse(server, model):
    clients, watch = GoodClients(server.port, model), Watch(server)
    tasks = [asyncio.ensure_future(clients.client()) for _ in range(CLIENTS)]
    tasks.append(asyncio.ensure_future(watch.run()))
    await asyncio.sleep(WARM_S)
    before, memory_before = await measure(clients, watch, ALONE_S, "alone")
    during, memory, outcomes, bad = await attack(clients, watch, server.port, model)
    after, memory_after = await measure(clients, watch, ALONE_S, "alone again")

    failed = [task.exception() for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    judge_refusals(outcomes)
    check(not failed, f"good clients ended: {failed[:3]}")
    check(not clients.wrong, f"answers to good clients: {clients.wrong[:3]}")
    bad.stdin.write(b"rest\n")
    outcomes = json.loads(await bad.stdout.readline())
    print(f"in the end {outcomes['vanishes']['vanished']} clients have vanished in the midst of their answers")
    growth = memory - memory_before
    print(f"resident memory grew by {growth / MIB:.0f} MiB among bad clients, and was {memory_after / MIB:.0f} MiB after them")
    check(growth < MAX_GROWTH, f"resident memory grew by {growth} bytes")
    pace = during / ((before + after) / 2)
    print(f"pace among bad clients: {pace:.2f} of that without them; 0.9 is {'' if pace >= 0.9 else 'not '}reached")
    check(pace >= 0.7, f"the pace of good requests fell to {pace:.2f}")
    return bad


async def main():
    longspan, model_path = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    random.seed(1)
    with Server(longspan, model_path, "--kv-bytes", "256M", "--max-sequences", str(RUNNING), "--max-queue", str(QUEUED)) as server:
        model = server.ask("GET", "/v1/models")[1]["data"][0]["id"]
        bad = await abuse(server, model)
        check(server.process.poll() is None, "the server has ended")
        server.wait_for(lambda: server.pages() == 0, "free pages")
        print("no page of KV is in use or reserved")
        # The idle connections still stand.
        check(server.end() == 0, f"exit status {server.process.returncode} after SIGTERM")
        print("SIGTERM ended it in order")
        bad.stdin.close()
        await bad.wait()


asyncio.run(main())
