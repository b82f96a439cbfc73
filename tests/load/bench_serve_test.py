#!/usr/bin/env python3
"""`longspan bench serve` against a server that does what the test says: the report tells what that server knows.

usage: bench_serve_test.py LONGSPAN [NAME...]
"""

import asyncio
import contextlib
import csv
import json
import os
import pathlib
import re
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import traceback
import xml.etree.ElementTree

from fake_server import Answer, FakeServer

longspan = os.path.abspath(sys.argv[1])
work = pathlib.Path(tempfile.mkdtemp())
environment = {name: value for name, value in os.environ.items() if not name.startswith("LONGSPAN_")}


class Run:
    """What a run printed and wrote."""

    def __init__(self, status, out, err, folder):
        self.status, self.out, self.err = status, out.decode(), err.decode()
        report, rows = folder / "report.json", folder / "requests.csv"
        self.json = json.loads(report.read_text()) if report.exists() and report.stat().st_size else None
        self.rows = list(csv.DictReader(rows.open(newline=""))) if rows.exists() else []


async def start(*arguments, env=None):
    return await asyncio.create_subprocess_exec(longspan, *map(str, arguments), env={**environment, **(env or {})},
                                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def command(*arguments, expect=0, env=None):
    process = await start(*arguments, env=env)
    out, err = await process.communicate()
    run = Run(process.returncode, out, err, work)
    assert run.status == expect, (arguments, run.status, run.err, run.out)
    return run


async def bench(server, *arguments, expect=0, while_running=None):
    """Runs with all outputs; `while_running(process)` may interfere."""
    for file in work.glob("re*"):
        file.unlink()
    url = server.url if isinstance(server, FakeServer) else server
    process = await start("bench", "serve", "--url", url, "--json", work / "report.json", "--csv", work / "requests.csv",
                          "--plot", work / "report.svg", *arguments)
    if while_running:
        await while_running(process)
    out, err = await process.communicate()
    run = Run(process.returncode, out, err, work)
    assert run.status == expect, (arguments, run.status, run.err, run.out)
    return run


def lengths(tokens_in=8, tokens_out=4):
    return ["--input-tokens", tokens_in, "--output-tokens", tokens_out]


def percentile(values, percent):
    values = sorted(values)
    rank = percent / 100 * (len(values) - 1)
    below = int(rank)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (rank - below)


def check_figures(run):
    """The table and the JSON agree with what the CSV's lines give."""
    done = [row for row in run.rows if row["outcome"] == "completed"]
    values = {
        "TTFT": [float(row["ttft_s"]) for row in done],
        "TPOT": [float(row["tpot_s"]) for row in done if row["tpot_s"]],
        "ITL": [float(gap) for row in done for gap in row["itl_s"].split()],
        "E2E": [float(row["e2e_s"]) for row in done],
        "lag": [float(row["sent_s"]) - float(row["scheduled_s"]) for row in run.rows],
    }
    for name, of in values.items():
        told = run.json[name.lower() + "_s"]
        line = re.search(rf"^  {name} +(.*)$", run.out, re.M).group(1).split()
        expected = [sum(of) / len(of)] + [percentile(of, p) for p in (50, 90, 95, 99, 100)]
        assert told["count"] == len(of), (name, told, len(of))
        for column, shown, value in zip(("mean", "p50", "p90", "p95", "p99", "max"), line, expected):
            assert abs(told[column] - value) < 2e-6, (name, column, told, value)
            assert abs(float(shown) - 1000 * value) < 0.06, (name, column, shown, value)
    assert run.json["requests"]["sent"] == len(run.rows)
    assert run.json["requests"]["completed"] == len(done)
    tokens = sum(int(row["completion_tokens"]) for row in run.rows)
    assert run.json["tokens"]["output"] == tokens
    assert abs(run.json["output_tokens_per_s"] - tokens / run.json["duration_s"]) < 1e-6 * tokens
    picture = xml.etree.ElementTree.parse(work / "report.svg")
    assert picture.getroot().tag.endswith("svg")


def by_length(seen):
    """In the order of lengths: what was sent within a moment on several connections may be met in any order."""
    return sorted(seen, key=lambda request: (len(request.text), request.body["max_tokens"], request.text))


async def open_loop():
    async with FakeServer(lambda n, seen: Answer(first_s=0.02, gap_s=0.005)) as server:
        run = await bench(server, "--rate", 150, "--requests", 60, *lengths("5-40", "2-9"), "--seed", 3, "--slo",
                          "ttft=10s,tpot=5s")
        check_figures(run)
        assert run.json["requests"] == {"sent": 60, "completed": 60, "failed": 0, "cancelled": 0, "retries": 0,
                                        "shorter_than_asked": 0}, run.json
        assert run.json["prompts"] == "token ids" and run.json["model"] == "fake"
        # Requests go out as the file says, with ids that the server had given.
        assert len(server.seen) == 60
        rows = sorted(run.rows, key=lambda row: (int(row["input_tokens_wanted"]), int(row["output_tokens_wanted"])))
        for row, seen in zip(rows, by_length(server.seen)):
            assert len(seen.text) == int(row["input_tokens_wanted"]) == int(row["prompt_tokens"])
            assert set(seen.text) <= set(server.vocabulary.values())
            assert seen.body["max_tokens"] == int(row["output_tokens_wanted"]) == int(row["completion_tokens"])
            assert seen.body["ignore_eos"] is True and seen.body["model"] == "fake"
            assert len(row["itl_s"].split()) == int(row["completion_tokens"]) - 1
            assert float(row["ttft_s"]) >= 0.02 and float(row["e2e_s"]) >= float(row["ttft_s"])
            assert row["finish_reason"] == "length" and row["slo_met"] == "1"
        assert 5 <= min(len(s.text) for s in server.seen) < max(len(s.text) for s in server.seen) <= 40
        scheduled = [float(row["scheduled_s"]) for row in run.rows]
        assert scheduled == sorted(scheduled)
        assert run.json["slo"]["share"] == 1
        # Connections are used again.
        assert server.connections < 60
        again = await bench(server, "--rate", 150, "--requests", 60, *lengths("5-40", "2-9"), "--seed", 3)
        assert [row["scheduled_s"] for row in again.rows] == [row["scheduled_s"] for row in run.rows]
        assert [r.text for r in by_length(server.seen[:60])] == [r.text for r in by_length(server.seen[60:])]


async def closed_loop():
    async with FakeServer(lambda n, seen: Answer(first_s=0.01, gap_s=0.002)) as server:
        run = await bench(server, "--concurrency", 5, "--requests", 40, *lengths())
        check_figures(run)
        assert run.json["requests"]["completed"] == 40
        assert server.most_running == 5 and server.connections <= 6, (server.most_running, server.connections)
        assert "closed loop of 5 users" in run.out
        run = await bench(server, "--concurrency", 3, "--duration", "300ms", *lengths())
        assert run.json["requests"]["completed"] == len(server.seen) - 40 >= 3
        assert all(float(row["scheduled_s"]) < 0.3 for row in run.rows)


async def closed_connections():
    # A server may close a connection while the next request is on its way.
    async with FakeServer(requests_per_connection=4) as server:
        run = await bench(server, "--concurrency", 3, "--requests", 30, *lengths())
        check_figures(run)
        assert run.json["requests"]["completed"] == len(server.seen) == 30
        assert server.connections >= 8, server.connections


async def faults():
    script = [
        Answer(status=429, headers={"Retry-After": "0"}),
        Answer(status=500, message="the model, \"m\",\nfell over"),
        Answer(fault="disconnect"),
        Answer(fault="reset"),
        Answer(fault="garbage"),
        Answer(fault="error_event"),
        Answer(fault="no_done"),
        Answer(fault="not_a_stream"),
        Answer(fault="not_http"),
        Answer(status=429),
        Answer(tokens=2),
        Answer(),
    ]
    async with FakeServer(lambda n, seen: script[n]) as server:
        # One user, so that the server meets requests in the order of the lines.
        run = await bench(server, "--concurrency", 1, "--requests", len(script), *lengths(), "--slo", "ttft=1000s")
        check_figures(run)
        outcomes = [row["outcome"] for row in run.rows]
        assert outcomes == ["http_error", "http_error", "disconnected", "disconnected", "bad_answer", "error_in_stream",
                            "bad_answer", "bad_answer", "bad_answer", "http_error", "completed", "completed"], outcomes
        assert [row["http_status"] for row in run.rows[:2]] == ["429", "500"]
        assert "fell over" in run.rows[1]["error"] and run.rows[5]["error"] == "a rank died"
        kinds = {error["kind"]: error["count"] for error in run.json["errors"]}
        assert kinds == {"HTTP 429": 2, "HTTP 500": 1, "disconnected": 2, "bad answer": 4, "error in stream": 1}, kinds
        assert run.json["errors"][0]["kind"] == "bad answer"
        assert "2 x HTTP 429" in run.out and "10 failed" in run.out
        assert run.json["requests"]["shorter_than_asked"] == 1
        assert abs(run.json["slo"]["share"] - 2 / 12) < 1e-9
        # What came before a fault counts as tokens, without a latency.
        tokens = [int(row["completion_tokens"]) for row in run.rows]
        # A reset may take away what has not been read.
        assert tokens[:3] + tokens[4:] == [0, 0, 2, 2, 2, 2, 0, 0, 0, 2, 4] and tokens[3] <= 2, tokens
        assert run.json["ttft_s"]["count"] == 2


async def retries():
    async with FakeServer(lambda n, seen: Answer(status=429 if n < 3 else 503 if n == 3 else 200,
                                                 headers={"Retry-After": "0.2"})) as server:
        run = await bench(server, "--rate", 100, "--requests", 8, *lengths(), "--retries", 3)
        assert run.json["requests"]["completed"] == 8 and run.json["requests"]["retries"] == 4
        assert len(server.seen) == 12
        tried = [row for row in run.rows if row["retries"] != "0"]
        # The wait is part of the latency.
        assert tried and all(float(row["ttft_s"]) > 0.2 for row in tried)
    async with FakeServer(lambda n, seen: Answer(status=429, headers={"Retry-After": "0"})) as server:
        run = await bench(server, "--concurrency", 2, "--requests", 4, *lengths(), "--retries", 2, expect=1)
        assert len(server.seen) == 12 and run.json["requests"]["failed"] == 4
        assert "no request was completed" in run.err and "4 x HTTP 429" in run.out


async def traces():
    mooncake = work / "mooncake.jsonl"
    with mooncake.open("w") as file:
        for i in range(12):
            print(json.dumps({"timestamp": 1000 * i, "input_length": 1000 + 100 * i, "output_length": 20 * (i + 1),
                              "hash_ids": [1, 2, 100 + i]}), file=file)
    async with FakeServer() as server:
        run = await bench(server, "--trace", mooncake, "--scale-time", 0.02, "--scale-lengths", 0.1)
        check_figures(run)
        assert [row["scheduled_s"] for row in run.rows] == [f"{0.02 * i:.6f}" for i in range(12)]
        assert [int(row["prompt_tokens"]) for row in run.rows] == [100 + 10 * i for i in range(12)]
        met = by_length(server.seen)
        assert [len(seen.text) for seen in met] == [100 + 10 * i for i in range(12)]
        assert [seen.body["max_tokens"] for seen in met] == [2 * (i + 1) for i in range(12)]
        # Two blocks of 51 tokens are shared, the next is not.
        first, second = met[1].text, met[2].text
        assert first[:102] == second[:102] and first[102:110] != second[102:110]
        azure = work / "azure.csv"
        azure.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,7,3\n"
                         "2023-11-16 18:15:46.7805900,9,2\n2023-11-16 18:15:59.0000000,9,2\n")
        run = await bench(server, "--trace", azure, "--duration", "1s")
        assert [row["prompt_tokens"] for row in run.rows] == ["7", "9"]
        assert [row["scheduled_s"] for row in run.rows] == ["0.000000", "0.100000"]
        run = await bench(server, "--trace", work / "none.csv", expect=1)
        assert "none.csv" in run.err


async def other_servers():
    # Without /tokenize; two tokens a word and three of a template.
    async with FakeServer(tokenize=False, tokens_per_word=2, template_tokens=3, base_path="/proxy") as server:
        for endpoint in "completions", "chat":
            run = await bench(server, "--concurrency", 2, "--requests", 6, *lengths("101-140", 3), "--endpoint", endpoint)
            check_figures(run)
            assert run.json["prompts"] == "text" and run.json["endpoint"] == endpoint
            for row in run.rows:
                assert abs(int(row["prompt_tokens"]) - int(row["input_tokens_wanted"])) <= 1, row
            assert run.json["tokens"]["output"] == 18
    # /tokenize, but no ids as prompts.
    async with FakeServer(ids=False) as server:
        run = await bench(server, "--concurrency", 2, "--requests", 2, *lengths())
        assert run.json["prompts"] == "text"
        run = await bench(server, "--concurrency", 2, "--requests", 2, *lengths(), "--prompts", "ids", expect=1)
        assert "prompt must be a string" in run.err
    # No usage: pieces count.
    async with FakeServer(lambda n, seen: Answer(usage=False)) as server:
        run = await bench(server, "--concurrency", 2, "--requests", 3, *lengths(8, 5))
        assert run.json["tokens"] == {"input": 0, "output": 15, "pieces": 15} and "3 without usage" in run.out
        run = await bench(server, "--concurrency", 1, "--requests", 1, *lengths(), "--model", "other", "--extra-body",
                          '{"ignore_eos": null, "priority": 2}')
        assert "lists no model 'other' but fake" in run.err
        body = server.seen[-1].body
        assert body["priority"] == 2 and "ignore_eos" not in body and body["model"] == "other"


async def keys():
    (work / "key").write_text("secret\n")
    async with FakeServer(api_key="secret") as server:
        run = await bench(server, "--concurrency", 1, "--requests", 1, *lengths(), expect=1)
        assert "401" in run.err and "wrong key" in run.err and "--api-key-file" in run.err
        run = await bench(server, "--concurrency", 1, "--requests", 2, *lengths(), "--api-key-file", work / "key")
        assert run.json["requests"]["completed"] == 2
        assert all("secret" not in text for text in (run.out, run.err, json.dumps(run.json)))


async def tls():
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=a-test",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", work / "tls.key", "-out", work / "tls.crt"],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(work / "tls.crt", work / "tls.key")
    server = await FakeServer().start(context)
    arguments = ["--concurrency", 4, "--requests", 20, *lengths()]
    run = await bench(server, *arguments, expect=1)
    assert server.url in run.err and "certificate" in run.err, run.err
    run = await bench(server, *arguments, "--tls-ca", work / "tls.crt")
    check_figures(run)
    assert run.json["requests"]["completed"] == 20
    run = await bench(server.url.replace("127.0.0.1", "localhost"), *arguments, "--tls-ca", work / "tls.crt", expect=1)
    run = await bench(server, *arguments, "--tls-ca", work / "none", expect=1)
    assert str(work / "none") in run.err
    server.server.close()


async def unreachable():
    async with FakeServer() as server:
        pass
    run = await bench(server, "--concurrency", 1, "--requests", 1, *lengths(), expect=1)
    assert f"cannot reach {server.url}: cannot connect: Connection refused" in run.err, run.err
    assert run.err.count("\n") == 1
    run = await bench("http://no-such-host.invalid:1", "--concurrency", 1, "--requests", 1, *lengths(), expect=1)
    assert "no-such-host.invalid" in run.err


async def silence():
    async with FakeServer(lambda n, seen: Answer(gap_s=60 if n == 0 else 0)) as server:
        run = await bench(server, "--concurrency", 2, "--requests", 3, *lengths(), "--timeout", "1s")
        assert sorted(row["outcome"] for row in run.rows) == ["completed", "completed", "timed_out"]
        assert "nothing came for 1 s" in run.out


async def interrupted():
    async with FakeServer(lambda n, seen: Answer(gap_s=0.01 if n < 5 else 60)) as server:

        def interrupt_after(count):
            async def interrupt(process):
                while len(server.seen) < count:
                    await asyncio.sleep(0.02)
                await asyncio.sleep(0.2)
                process.send_signal(signal.SIGINT)

            return interrupt

        run = await bench(server, "--concurrency", 4, "--requests", 1000, *lengths(), expect=130,
                          while_running=interrupt_after(9))
        check_figures(run)
        assert run.json["stopped"] and run.json["requests"]["failed"] == 0
        assert run.json["requests"]["completed"] == 5 and run.json["requests"]["cancelled"] == 4, run.json["requests"]
        assert "(ended early)" in run.out
        # A request that waits to be tried again is no reason to wait.
        server.script = lambda n, seen: Answer(status=429, headers={"Retry-After": "600"})
        run = await bench(server, "--concurrency", 4, "--requests", 1000, *lengths(), "--retries", 1, expect=130,
                          while_running=interrupt_after(len(server.seen) + 4))
        assert run.json["requests"]["cancelled"] == 4


async def stalled_client():
    """A client that was held up counts what its users would have waited."""
    async with FakeServer() as server:

        async def hold_up(process):
            while len(server.seen) < 20:
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGCONT)

        run = await bench(server, "--rate", 200, "--requests", 300, *lengths(), while_running=hold_up)
        check_figures(run)
        assert run.json["lag_s"]["max"] > 0.25, run.json["lag_s"]
        for row in run.rows:
            assert float(row["ttft_s"]) >= float(row["sent_s"]) - float(row["scheduled_s"])


async def many_streams():
    count = 1500
    everybody = asyncio.Event()

    def script(n, seen):
        if n == count - 1:
            everybody.set()
        return Answer(after=everybody)

    # No first token comes before all have asked.
    async with FakeServer(script) as server:
        run = await bench(server, "--concurrency", count, "--requests", count, *lengths(4, 3))
        assert run.json["requests"]["completed"] == server.most_running == count, run.json["errors"]


async def options():
    run = await command("bench", expect=2)
    assert "serve" in run.err and not run.out
    run = await command("bench", "--help")
    assert "usage: longspan bench COMMAND" in run.out and "serve" in run.out
    run = await command("bench", "serve", "--help")
    for option in "--url", "--trace", "--slo", "--config", "Load (one of)":
        assert option in run.out, option
    assert "the nearest is serve" in (await command("bench", "sreve", expect=2)).err
    assert "unknown option --url" in (await command("bench", "--url", expect=2)).err
    wrong = {
        "": "no load",
        "--rate 1": "--input-tokens and --output-tokens",
        "--rate 1 --input-tokens 1 --output-tokens 1": "--requests",
        "--rate 0": "'0' is not a number above 0",
        "--rate 1 --concurrency 2": "exclude",
        "--trace x --input-tokens 2": "exclude",
        "--concurrency 1 --scale-time 2": "need --trace",
        "--concurrency 1 --input-tokens 9-3": "'9-3' is not a number of tokens",
        "--concurency 1": "the nearest is --concurrency",
        "--url ftp://x": "neither http nor https",
        "--slo ttft=5x": "'ttft=5x' is not a limit",
        "--endpoint chta": "the nearest is chat",
        "--concurrency 1 --extra-body []": "not a JSON object",
    }
    for arguments, message in wrong.items():
        run = await command("bench", "serve", *arguments.split(), expect=2)
        assert message in run.err and run.err.count("\n") == 1, (arguments, run.err)
    async with FakeServer() as server:
        config = work / "bench.yaml"
        config.write_text(f"url: {server.url}\nrequests: 3\ninput-tokens: 6\noutput-tokens: 2\nconcurrency: 1\n"
                          "kv-bytes: 4M\n")
        await command("bench", "serve", "--config", config, env={"LONGSPAN_REQUESTS": "2", "LONGSPAN_OUTPUT_TOKENS": "5"})
        assert [seen.body["max_tokens"] for seen in server.seen] == [5, 5]
        run = await command("bench", "serve", "--config", config, "--json", "/nonexistent/x.json", expect=1)
        assert "/nonexistent/x.json" in run.err and len(server.seen) == 2


async def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    tests = [open_loop, closed_loop, closed_connections, faults, retries, traces, other_servers, keys, tls, unreachable,
             silence, interrupted, stalled_client, many_streams, options]
    failures = 0
    for test in tests:
        if sys.argv[2:] and test.__name__ not in sys.argv[2:]:
            continue
        try:
            await asyncio.wait_for(test(), 60)
            print(f"passed: {test.__name__}", flush=True)
        except Exception:
            failures += 1
            print(f"FAILED: {test.__name__}\n{traceback.format_exc()}", flush=True)
    return failures


with contextlib.ExitStack() as stack:
    stack.callback(lambda: subprocess.run(["rm", "-rf", work], check=False))
    sys.exit(1 if asyncio.run(main()) else 0)
