#!/usr/bin/env python3
"""Several groups behind one coordinator, as clients see them: the same answers whatever happens to a group.

usage: groups_test.py LONGSPAN"""
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

from server import ENVIRONMENT, MODEL, TESTS, Coordinator, Server, Worker

longspan = ""

STREAMS = 6
TOKENS = 3000


def request(i):
    """Greedy and seeded ones, with short and with longer prompts."""
    return {"prompt": f"Request {i} " + "and more of it " * (12 * i), "max_tokens": TOKENS, "ignore_eos": True,
            **({"temperature": 0.9, "seed": i} if i % 2 else {"temperature": 0}), **({"logprobs": 2} if i % 3 == 0 else {})}


class Stream(threading.Thread):
    """A streamed answer: its tokens so far, and how it ended."""

    def __init__(self, server, body):
        super().__init__()
        self.server, self.body = server, body
        self.events, self.end = [], None
        self.start()

    def run(self):
        # A server that is killed ends its answers without an end.
        with contextlib.closing(self.server.connect()) as connection, contextlib.suppress(http.client.HTTPException, OSError):
            connection.request("POST", "/v1/completions", json.dumps({**self.body, "stream": True}))
            for line in connection.getresponse():
                line = line.decode().strip().removeprefix("data: ")
                if line == "[DONE]":
                    break
                if not line:
                    continue
                event = json.loads(line)
                if "error" in event:
                    self.end = event["error"]["message"]
                    return
                self.events.append(event["choices"][0])
                self.end = self.events[-1]["finish_reason"]

    def answer(self):
        """What has to be the same: text, log-probabilities, and the end."""
        self.join(120)
        logprobs = [e["logprobs"] for e in self.events if e.get("logprobs")]
        merged = {key: [value for part in logprobs for value in part[key]] for key in (logprobs[0] if logprobs else ())}
        return "".join(e["text"] for e in self.events), merged, self.end


class Groups(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        server = Server(longspan)
        cls.expected = [stream.answer() for stream in [Stream(server, request(i)) for i in range(STREAMS)]]
        assert all(end == "length" for _, _, end in cls.expected), cls.expected
        assert server.end() == 0, server.log_at_end

    def coordinator(self, *arguments, **ports):
        coordinator = Coordinator(longspan, *arguments, **ports)
        self.addCleanup(coordinator.process.kill)
        return coordinator

    def worker(self, coordinator, *arguments, **settings):
        """Not loaded yet."""
        worker = Worker(longspan, coordinator.grpc_port, *arguments, **settings)
        self.addCleanup(worker.process.kill)
        return worker

    def deployment(self):
        """One rank, and two ranks."""
        coordinator = self.coordinator()
        workers = [self.worker(coordinator, "--name", "one"),
                   self.worker(coordinator, "--name", "two", "--tp", "1", "--kvp", "2", ranks=2)]
        coordinator.wait_for_groups(2)
        return coordinator, workers

    def under_way(self, coordinator):
        """Streams of which some have got tokens, of requests in all groups."""
        streams = [Stream(coordinator, request(i)) for i in range(STREAMS)]
        coordinator.wait_for(lambda: all(group["running"] for group in coordinator.groups()) and
                             any(len(stream.events) > 20 for stream in streams), "work in all groups")
        return streams

    def check_undisturbed(self, streams):
        for stream, expected in zip(streams, self.expected):
            self.assertEqual(stream.answer(), expected)

    def check_all_free(self, coordinator):
        coordinator.wait_for(lambda: coordinator.blocks_in_use() == 0, "free KV")

    def test_two_groups_answer_as_one_process(self):
        coordinator, workers = self.deployment()
        self.check_undisturbed(self.under_way(coordinator))
        self.check_all_free(coordinator)
        self.assertEqual(coordinator.metric("longspan_group_restarts_total"), 0)
        for worker in workers:
            self.assertEqual(worker.end(signal.SIGUSR1), 0, worker.log_at_end)
        coordinator.wait_for_groups(0)
        self.assertEqual(coordinator.ask("GET", "/health")[0], 503)
        self.assertEqual(coordinator.ask("POST", "/v1/completions", {"prompt": "a"})[0], 503)
        self.assertEqual(coordinator.end(), 0, coordinator.log_at_end)

    def handing_off(self):
        """Prompts are computed by one group, and go on in another."""
        coordinator = self.coordinator()
        workers = [self.worker(coordinator, "--role", "prefill", "--tp", "2", "--kvp", "1", ranks=2),
                   self.worker(coordinator, "--role", "decode", "--tp", "1", "--kvp", "2", ranks=2)]
        coordinator.wait_for_groups(2)
        return coordinator, workers

    def test_prompts_of_one_group_go_on_in_another(self):
        coordinator, _ = self.handing_off()
        self.check_undisturbed([Stream(coordinator, request(i)) for i in range(STREAMS)])
        self.assertGreater(coordinator.metric('longspan_handoffs_total{outcome="complete"}'), 0)
        useful = coordinator.metric('longspan_handoff_bytes_total{kind="useful"}')
        self.assertGreater(useful, 0)
        self.assertEqual(coordinator.metric('longspan_handoff_bytes_total{kind="moved"}'), useful)
        self.check_all_free(coordinator)
        # What ends with its first token ends where the prompt was computed.
        body = {**request(5), "max_tokens": 1}
        stream = Stream(coordinator, body)
        text, _, end = stream.answer()
        self.assertEqual((text, end), (self.expected[5][0][:len(text)], "length"))
        self.check_all_free(coordinator)

    def test_killed_while_handing_off(self):
        for victim in (0, 1):
            with self.subTest(victim=victim):
                coordinator, workers = self.handing_off()
                self.worker(coordinator, "--name", "third")
                streams = [Stream(coordinator, request(i)) for i in range(STREAMS)]
                coordinator.wait_for(lambda: any(group["running"] for group in coordinator.groups() if group["role"] == "prefill"),
                                     "a handoff")
                os.kill(workers[victim].processes()[1], signal.SIGKILL)
                coordinator.wait_for_groups(2)
                self.check_undisturbed(streams)
                self.check_all_free(coordinator)

    def test_prefill_group_that_is_stopped_while_handing_off(self):
        coordinator = self.coordinator()
        prompts = self.worker(coordinator, "--role", "prefill", "--name", "prompts")
        self.worker(coordinator, "--role", "decode", "--tp", "1", "--kvp", "2", ranks=2)
        self.worker(coordinator, "--name", "third")
        coordinator.wait_for_groups(3)
        given_up = [coordinator.connect() for _ in range(4)]
        for connection in given_up:
            connection.request("POST", "/v1/completions", json.dumps({**request(5), "stream": True}))
        streams = [Stream(coordinator, request(i)) for i in range(STREAMS)]
        coordinator.wait_for(lambda: any(group["running"] for group in coordinator.groups() if group["role"] == "prefill"),
                             "a handoff")
        prompts.process.send_signal(signal.SIGSTOP)
        for connection in given_up:
            connection.close()
        coordinator.wait_for_groups(2)
        # They get the pages that its KV was for, before it goes on.
        streams += [Stream(coordinator, request(i)) for i in range(STREAMS)]
        coordinator.wait_for(lambda: all(stream.events for stream in streams), "tokens of every stream")
        prompts.process.send_signal(signal.SIGCONT)
        self.check_undisturbed(streams[:STREAMS])
        self.check_undisturbed(streams[STREAMS:])
        coordinator.wait_for_groups(3)
        self.check_all_free(coordinator)

    def test_killed_group(self):
        for victim, rank in [(0, 0), (1, 1)]:
            with self.subTest(victim=victim, rank=rank):
                coordinator, workers = self.deployment()
                streams = self.under_way(coordinator)
                os.kill(workers[victim].processes()[rank], signal.SIGKILL)
                self.check_undisturbed(streams)
                self.assertGreater(coordinator.metric('longspan_recomputed_tokens_total{reason="group_lost"}'), 0)
                self.assertIn("is lost with", coordinator.log_text())
                coordinator.wait_for_groups(1)
                self.check_all_free(coordinator)

    def test_stopped_group_that_comes_back(self):
        coordinator, workers = self.deployment()
        streams = self.under_way(coordinator)
        workers[0].process.send_signal(signal.SIGSTOP)
        coordinator.wait_for_groups(1)
        workers[0].process.send_signal(signal.SIGCONT)
        self.check_undisturbed(streams)
        coordinator.wait_for_groups(2)
        self.assertEqual(coordinator.metric("longspan_group_restarts_total"), 1)
        self.check_undisturbed([Stream(coordinator, request(i)) for i in range(STREAMS)])
        self.check_all_free(coordinator)

    def test_drained_group(self):
        coordinator, workers = self.deployment()
        streams = self.under_way(coordinator)
        workers[1].process.send_signal(signal.SIGUSR1)
        coordinator.wait_for(lambda: any(group["state"] == "draining" for group in coordinator.groups()), "a draining group")
        third = self.worker(coordinator, "--name", "three", "--tp", "2", "--kvp", "1", ranks=2)
        self.check_undisturbed(streams)
        self.assertEqual(workers[1].process.wait(30), 0, workers[1].log_text())
        self.assertEqual(coordinator.metric('longspan_recomputed_tokens_total{reason="group_lost"}'), 0, coordinator.log_text())
        third.wait_for_log("(joined) as group 3")
        self.assertEqual([group["name"] for group in coordinator.groups()], ["one", "three"])
        self.check_undisturbed(self.under_way(coordinator))

    def test_coordinator_that_restarts(self):
        coordinator, workers = self.deployment()
        streams = self.under_way(coordinator)
        http, grpc = coordinator.port, coordinator.grpc_port
        coordinator.process.kill()
        coordinator.process.wait()
        for stream in streams:
            self.assertIsNone(stream.answer()[2])
        again = self.coordinator(http=http, grpc=grpc)
        again.wait_for_groups(2)
        self.check_all_free(again)
        self.check_undisturbed([Stream(again, request(i)) for i in range(STREAMS)])
        for worker in workers:
            self.assertIn("no coordinator at", worker.log_text())

    def test_groups_that_do_not_match(self):
        coordinator = self.coordinator()
        self.worker(coordinator)
        coordinator.wait_for_groups(1)
        other_model = os.path.join(TESTS, "goldens/llama3-bf16")
        for arguments, model, field in [(["--block-size", "32"], MODEL, "numerics"), (["--kv-dtype", "f32"], MODEL, "numerics"),
                                        ([], other_model, "model")]:
            with self.subTest(field=field, arguments=arguments):
                other = self.worker(coordinator, *arguments, model=model)
                self.assertEqual(other.process.wait(20), 1, other.log_text())
                self.assertIn(f"its {field} is", other.log_text())
        self.assertEqual(len(coordinator.groups()), 1)

    def test_certificates(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("ours", "theirs"):
                subprocess.run([os.path.join(TESTS, "../launcher/make-certs"), os.path.join(folder, name)], check=True,
                               capture_output=True)

            def tls(name, trusted="ours"):
                return [f"--grpc-ca={folder}/{trusted}/ca.pem", f"--grpc-cert={folder}/{name}/host.pem",
                        f"--grpc-key={folder}/{name}/host.key"]

            coordinator = self.coordinator(*tls("ours"))
            strangers = [self.worker(coordinator), self.worker(coordinator, *tls("theirs"))]
            for stranger in strangers:
                stranger.wait_for_log("(no coordinator) at")
            self.worker(coordinator, *tls("ours"))
            coordinator.wait_for_groups(1)
            self.assertEqual(coordinator.complete("a", max_tokens=3)["object"], "text_completion")
            self.assertEqual(coordinator.log_text().count("is not let in"), 2, coordinator.log_text())

    def test_taken_ports(self):
        coordinator = self.coordinator()
        for option, port, other, message in [
                ("--listen-http", coordinator.port, "--listen-grpc", f"--listen-http 127.0.0.1:{coordinator.port}: cannot listen"),
                ("--listen-grpc", coordinator.grpc_port, "--listen-http",
                 f"cannot listen for groups on 127.0.0.1:{coordinator.grpc_port}")]:
            with self.subTest(option=option):
                run = subprocess.run([longspan, "coordinator", "--model", MODEL, option, f"127.0.0.1:{port}", other, "127.0.0.1:0"],
                                     capture_output=True, text=True, env=ENVIRONMENT, timeout=30, check=False)
                self.assertEqual(run.returncode, 1, run.stderr)
                self.assertIn(message, run.stderr)
                self.assertNotIn("is not let in", run.stderr)

    def test_what_cannot_start(self):
        for command, arguments, message in [
                ("coordinator", ["--listen-http", "0.0.0.0:0"], "--insecure"),
                ("coordinator", ["--listen-grpc", "0.0.0.0:0"], "--grpc-ca"),
                ("coordinator", ["--listen-grpc", "nowhere"], "--listen-grpc"),
                ("coordinator", ["--grpc-ca", "/nowhere"], "--grpc-key"),
                ("serve", ["--host", "0.0.0.0", "--port", "0"], "--insecure"),
                ("worker", [], "--coordinator is missing"),
                ("worker", ["--coordinator", "192.0.2.1:8001"], "--insecure"),
                ("worker", ["--coordinator", "127.0.0.1:1", "--role", "both"], "--role"),
        ]:
            with self.subTest(command=command, arguments=arguments):
                run = subprocess.run([longspan, command, "--model", MODEL, *arguments], capture_output=True, text=True,
                                     env=ENVIRONMENT, timeout=30, check=False)
                self.assertEqual(run.returncode, 2, run.stderr)
                self.assertIn(message, run.stderr)


if __name__ == "__main__":
    longspan = os.path.realpath(sys.argv.pop(1))
    unittest.main()
