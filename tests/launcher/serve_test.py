#!/usr/bin/env python3
"""`longspan serve` as its clients see it, on a tiny model: answers, errors, clients that misbehave, and its end.

usage: serve_test.py LONGSPAN"""
import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from server import ENVIRONMENT, MODEL, Server, ranks_of

longspan = ""


class OneServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(longspan, "--max-sequences", "8")

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.log_at_end

    def test_health_and_models(self):
        status, headers, body = self.server.ask("GET", "/health")
        self.assertEqual((status, body["status"], body["model"]), (200, "ready", "llama3-gqa"))
        self.assertRegex(headers["x-request-id"], "^req-")
        status, _, body = self.server.ask("GET", "/v1/models")
        self.assertEqual(body["data"][0]["id"], "llama3-gqa")
        status, _, body = self.server.ask("GET", "/v1/models/llama3-gqa")
        self.assertEqual((status, body["object"]), (200, "model"))
        self.assertEqual(self.server.ask("GET", "/v1/models/other")[0], 404)

    def test_completion_is_what_generate_prints(self):
        out = subprocess.run([longspan, "generate", "--model", MODEL, "--prompt", "hello there", "--max-tokens", "12",
                              "--json", "--kv-bytes", "16M"], capture_output=True, text=True, env=ENVIRONMENT, check=True)
        generated = json.loads(out.stdout)
        body = self.server.complete("hello there", max_tokens=12, temperature=0)
        self.assertEqual(body["choices"][0]["text"], generated["text"])
        self.assertEqual(body["choices"][0]["finish_reason"], generated["finish_reason"])
        self.assertEqual(body["usage"]["completion_tokens"], len(generated["token_ids"]))
        ids = self.server.complete(generated["prompt_token_ids"], max_tokens=12, temperature=0)
        self.assertEqual(ids["choices"][0]["text"], generated["text"])

    def test_stream_is_the_same_text(self):
        fields = {"prompt": "abc", "max_tokens": 20, "temperature": 0.8, "seed": 7}
        whole = self.server.ask("POST", "/v1/completions", fields)[2]
        events = self.server.events("/v1/completions", {**fields, "stream_options": {"include_usage": True}})
        text = "".join(event["choices"][0]["text"] for event in events if event["choices"])
        self.assertEqual(text, whole["choices"][0]["text"])
        self.assertEqual(events[-1]["usage"], whole["usage"])
        self.assertEqual(events[-1]["choices"], [])

    def test_chat(self):
        messages = [{"role": "user", "content": "Hi"}]
        fields = {"messages": messages, "max_tokens": 10, "temperature": 0, "logprobs": True, "top_logprobs": 2}
        status, _, body = self.server.ask("POST", "/v1/chat/completions", fields)
        self.assertEqual(status, 200)
        choice = body["choices"][0]
        self.assertEqual(choice["message"]["role"], "assistant")
        self.assertEqual(len(choice["logprobs"]["content"]), body["usage"]["completion_tokens"])
        events = self.server.events("/v1/chat/completions", fields)
        self.assertEqual(events[0]["choices"][0]["delta"]["role"], "assistant")
        text = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
        self.assertEqual(text, choice["message"]["content"])
        prompt = self.server.ask("POST", "/apply-template", {"messages": messages})[2]["prompt"]
        self.assertIn("Hi", prompt)

    def test_choices_and_echo(self):
        body = self.server.complete(["a b", "c d"], n=2, max_tokens=4, temperature=1, seed=3, echo=True)
        self.assertEqual([choice["index"] for choice in body["choices"]], [0, 1, 2, 3])
        self.assertTrue(body["choices"][0]["text"].startswith("a b"))
        again = self.server.complete(["a b", "c d"], n=2, max_tokens=4, temperature=1, seed=3, echo=True)
        self.assertEqual([c["text"] for c in again["choices"]], [c["text"] for c in body["choices"]])
        scored = self.server.complete("a b c", max_tokens=0, echo=True, logprobs=1)
        self.assertEqual(len(scored["choices"][0]["logprobs"]["tokens"]), scored["usage"]["prompt_tokens"])
        self.assertIsNone(scored["choices"][0]["logprobs"]["token_logprobs"][0])

    def test_tokenize_round_trip(self):
        ids = self.server.ask("POST", "/tokenize", {"prompt": "round trip", "add_special_tokens": False})[2]["tokens"]
        self.assertEqual(self.server.ask("POST", "/detokenize", {"tokens": ids})[2]["prompt"], "round trip")

    def test_errors(self):
        for path, body, status, param in [
                ("/v1/completions", b"{", 400, None),
                ("/v1/completions", b'{"prompt": "\xff"}', 400, None),
                ("/v1/completions", b"[" * 100000, 400, None),
                ("/v1/completions", {}, 400, "prompt"),
                ("/v1/completions", {"prompt": "a", "temperature": 9}, 400, "temperature"),
                ("/v1/completions", {"prompt": "a", "suffix": "b"}, 400, "suffix"),
                ("/v1/completions", {"prompt": [10 ** 6]}, 400, "prompt"),
                ("/v1/completions", {"prompt": "a", "model": "other"}, 404, "model"),
                ("/v1/completions", {"prompt": [5] * 4090, "max_tokens": 100}, 400, "prompt"),
                ("/v1/chat/completions", {"messages": [{"role": "user", "content": 5}]}, 400, "messages[0].content"),
                ("/detokenize", {"tokens": [10 ** 6]}, 400, "tokens"),
        ]:
            with self.subTest(path=path, body=str(body)[:40]):
                got, headers, answer = self.server.ask("POST", path, body)
                self.assertEqual(got, status, answer)
                self.assertEqual(set(answer["error"]), {"message", "type", "param", "code"})
                self.assertEqual(answer["error"]["param"], param, answer)
        self.assertEqual(self.server.ask("GET", "/v1/nothing")[0], 404)
        status, headers, _ = self.server.ask("GET", "/v1/completions")
        self.assertEqual((status, headers["allow"]), (405, "POST"))
        too_long = self.server.ask("POST", "/v1/completions", {"prompt": [5] * 4090, "max_tokens": 100})[2]
        for number in ("4090", "4096", "6"):
            self.assertIn(number, too_long["error"]["message"])

    def test_request_ids(self):
        self.assertEqual(self.server.ask("GET", "/health", headers={"x-request-id": "mine-1"})[1]["x-request-id"], "mine-1")
        self.assertRegex(self.server.ask("GET", "/health", headers={"x-request-id": "no good"})[1]["x-request-id"], "^req-")
        self.server.ask("POST", "/v1/completions", {"prompt": "a", "max_tokens": 2}, {"x-request-id": "traced"})
        self.server.wait_for_log(r"(request=traced .*outcome=length)")

    def test_keep_alive_and_pipelining(self):
        one = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
        last = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        self.assertEqual(self.server.raw(one * 3 + last).count(b"HTTP/1.1 200 OK"), 4)

    def test_shapes_of_smuggling_are_refused(self):
        head = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n"
        for name, request in {
                "two lengths": head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
                "length and chunks": head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "chunks and length": head + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
                "another coding": head + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
                "two codings": head + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
                "space before the colon": head + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
                "signed length": head + b"Content-Length: +5\r\n\r\nhello",
                "bad chunk": head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
                "no host": b"GET /health HTTP/1.1\r\n\r\n",
                "two hosts": b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + b"\r\n\r\n",
        }.items():
            with self.subTest(name):
                answer = self.server.raw(request + b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertRegex(answer, rb"^HTTP/1.1 400 ")
                self.assertEqual(answer.count(b"HTTP/1.1 "), 1, answer)

    def test_bounds_of_requests(self):
        head = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n"
        self.assertRegex(self.server.raw(head + b"Content-Length: 100000000\r\n\r\n" + bytes(1 << 20)), rb"^HTTP/1.1 413 ")
        self.assertRegex(self.server.raw(head + b"X: " + b"a" * 20000 + b"\r\n\r\n"), rb"^HTTP/1.1 431 ")

    def test_a_client_that_leaves_frees_everything(self):
        before = self.server.metric('longspan_requests_total{outcome="cancelled"}')
        clients = []
        for i in range(6):
            client = socket.create_connection(("127.0.0.1", self.server.port))
            body = json.dumps({"prompt": "x", "max_tokens": 4000, "ignore_eos": True, "stream": i % 2 == 0}).encode()
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            clients.append(client)
        self.server.wait_for(lambda: self.server.blocks_in_use() > 0, "blocks in use")
        for client in clients:
            client.close()
        self.server.wait_for(lambda: self.server.blocks_in_use() == 0, "free blocks")
        self.server.wait_for(
            lambda: self.server.metric('longspan_requests_total{outcome="cancelled"}') == before + 6, "cancelled requests")

    def test_deadline(self):
        status, _, body = self.server.ask("POST", "/v1/completions", {
            "prompt": "x", "max_tokens": 4000, "ignore_eos": True, "timeout": 0.05})
        self.assertEqual(status, 504, body)
        self.assertIn("0.05", body["error"]["message"])

    def test_metrics_and_page(self):
        before = self.server.metric("longspan_decode_tokens_total")
        self.server.complete("count me", max_tokens=5, ignore_eos=True)
        # The first token comes from the prompt.
        self.server.wait_for(lambda: self.server.metric("longspan_decode_tokens_total") - before >= 4, "counted tokens")
        status, _, text = self.server.ask("GET", "/metrics")
        for name in ("ttft_seconds_bucket", "itl_seconds_count", "e2e_seconds_sum", "queue_depth", "running_requests",
                     "kv_blocks{", "kv_bytes{", "headroom_bytes{", "kv_waste_ratio{", "prefill_tokens_total",
                     "comm_ops_total{", "comm_seconds_total{"):
            self.assertIn("longspan_" + name, text)
        status, headers, page = self.server.ask("GET", "/")
        self.assertEqual((status, headers["content-type"]), (200, "text/html; charset=utf-8"))
        self.assertIn("<html", page)

    def test_many_at_once_are_equal_to_one(self):
        prompts = [f"prompt number {i} " * (i % 7 + 1) for i in range(24)]
        fields = {"max_tokens": 30, "temperature": 0.9, "seed": 11, "ignore_eos": True}
        alone = [self.server.complete(prompt, **fields)["choices"][0]["text"] for prompt in prompts]
        together = [None] * len(prompts)

        def run(i):
            together[i] = self.server.complete(prompts[i], **fields)["choices"][0]["text"]

        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(prompts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(together, alone)


class OtherServers(unittest.TestCase):
    def test_draining_lets_open_requests_end(self):
        server = Server(longspan)
        result = {}

        def run():
            result["events"] = server.events("/v1/completions", {"prompt": "x", "max_tokens": 1500, "ignore_eos": True})

        thread = threading.Thread(target=run)
        thread.start()
        server.wait_for(lambda: server.blocks_in_use() > 0, "a running request")
        kept = server.connect()  # an idle connection holds nothing up
        self.addCleanup(kept.close)
        kept.request("GET", "/health")
        kept.getresponse().read()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("(draining)")
        thread.join(60)
        self.assertEqual(result["events"][-1]["choices"][0]["finish_reason"], "length")
        self.assertEqual(server.process.wait(30), 0)
        server.log.close()

    def test_draining_is_bounded(self):
        server = Server(longspan, "--drain-timeout", "200ms")
        answers = []
        thread = threading.Thread(target=lambda: answers.append(server.ask(
            "POST", "/v1/completions", {"prompt": "x", "max_tokens": 4000, "ignore_eos": True})))
        thread.start()
        server.wait_for(lambda: server.blocks_in_use() > 0, "a running request")
        self.assertEqual(server.end(), 0)
        thread.join(30)
        self.assertEqual(answers[0][0], 503, answers)

    def test_full_queue(self):
        server = Server(longspan, "--max-sequences", "1", "--max-queue", "2")
        answers = []
        lock = threading.Lock()

        def run():
            answer = server.ask("POST", "/v1/completions", {"prompt": "x", "max_tokens": 300, "ignore_eos": True})
            with lock:
                answers.append(answer)

        threads = [threading.Thread(target=run) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [headers for status, headers, _ in answers if status == 429]
        self.assertEqual(len(answers), 12)
        self.assertTrue(refused)
        self.assertTrue(all(int(headers["retry-after"]) >= 1 for headers in refused))
        self.assertTrue(all(status in (200, 429) for status, _, _ in answers))
        self.assertEqual(server.end(), 0)

    def test_keys(self):
        with tempfile.NamedTemporaryFile("w") as keys:
            keys.write(f"# clients\n{hashlib.sha256(b'secret').hexdigest()}  first client\n")
            keys.flush()
            server = Server(longspan, "--api-key-file", keys.name)
        for authorization, status in ((None, 401), ("Bearer wrong", 401), ("secret", 401), ("Bearer secret", 200)):
            headers = {"authorization": authorization} if authorization else {}
            self.assertEqual(server.ask("GET", "/v1/models", headers=headers)[0], status, authorization)
        self.assertEqual(server.ask("GET", "/health")[0], 200)
        self.assertEqual(server.end(), 0)

    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                            "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                           check=True, capture_output=True)
            context = ssl.create_default_context(cafile=certificate)
            server = Server(longspan, "--tls-cert", certificate, "--tls-key", key, tls=context)
            self.assertEqual(server.complete("a", max_tokens=3)["object"], "text_completion")
            events = server.events("/v1/completions", {"prompt": "a", "max_tokens": 5, "ignore_eos": True})
            self.assertEqual(events[-1]["choices"][0]["finish_reason"], "length")
            self.assertEqual(server.end(), 0)

    def test_two_ranks(self):
        alone = Server(longspan)
        expected = alone.complete("ranks", max_tokens=40, temperature=0.7, seed=5)["choices"]
        self.assertEqual(alone.end(), 0)
        server = Server(longspan, "--tp", "1", "--kvp", "2", ranks=2)
        self.assertEqual(server.complete("ranks", max_tokens=40, temperature=0.7, seed=5)["choices"], expected)
        self.assertEqual(server.end(signal.SIGUSR1), 0)

    def test_a_lost_rank_is_told_to_every_client(self):
        for number in (signal.SIGKILL, signal.SIGSTOP):
            with self.subTest(signal=number.name):
                self.lose_rank(number)

    def lose_rank(self, number):
        server = Server(longspan, "--tp", "1", "--kvp", "2", ranks=2)
        ranks = ranks_of(server.process.pid)
        answers = []

        def run(stream):
            with contextlib.closing(server.connect()) as connection:
                connection.request("POST", "/v1/completions", json.dumps(
                    {"prompt": "x", "max_tokens": 3500, "ignore_eos": True, "stream": stream}))
                response = connection.getresponse()
                answers.append((stream, response.status, response.read().decode()))

        threads = [threading.Thread(target=run, args=(i % 2 == 0,)) for i in range(4)]
        for thread in threads:
            thread.start()
        server.wait_for(lambda: server.blocks_in_use() > 0, "running requests")
        os.kill(ranks[1], number)
        begin = time.monotonic()
        for thread in threads:
            thread.join(20)
        self.assertLess(time.monotonic() - begin, 10)
        self.assertEqual(len(answers), 4, server.log_text())
        for stream, status, body in answers:
            self.assertEqual(status, 200 if stream else 503, body)
            self.assertIn("rank 1", body.split("data: ")[-1])
        self.assertNotEqual(server.process.wait(10), 0)
        self.assertIn("rank 1", server.log_text())
        while any(os.path.exists(f"/proc/{pid}") for pid in ranks.values()):
            self.assertLess(time.monotonic() - begin, 10, f"a process is left\n{server.log_text()}")
            time.sleep(0.05)
        server.log.close()

    def test_json_log(self):
        server = Server(longspan, "--log-format", "json")
        server.ask("POST", "/v1/completions", {"prompt": "a", "max_tokens": 2, "ignore_eos": True}, {"x-request-id": "logged"})
        server.wait_for_log('("request":"logged")')
        self.assertEqual(server.end(), 0)
        lines = [json.loads(line) for line in server.log_at_end.splitlines()]
        call = next(line for line in lines if line.get("request") == "logged")
        self.assertEqual((call["outcome"], call["completion_tokens"]), ("length", 2))

    def test_what_cannot_start(self):
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, status, message in [
                (["--port", port], 1, f"--port {port}: cannot listen"),
                (["--port", "0", "--tls-cert", "/nowhere"], 2, "--tls-key"),
                (["--port", "0", "--tls-cert", "/nowhere", "--tls-key", "/nowhere"], 1, "--tls-cert /nowhere"),
                (["--port", "0", "--api-key-file", "/dev/null"], 1, "holds no keys"),
                (["--port", "0", "--drain-timeout", "soon"], 2, "--drain-timeout"),
        ]:
            with self.subTest(arguments=arguments):
                run = subprocess.run([longspan, "serve", "--model", MODEL, *arguments], capture_output=True, text=True,
                                     env=ENVIRONMENT, timeout=30, check=False)
                self.assertEqual(run.returncode, status, run.stderr)
                self.assertIn(message, run.stderr)


if __name__ == "__main__":
    longspan = os.path.realpath(sys.argv.pop(1))
    unittest.main()
