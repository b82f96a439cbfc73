"""usage: groups_failover.py LONGSPAN MODEL

20 streams at once, greedy and sampled, over a group of one rank and a group of two. Something happens to a group in their
midst; every stream ends with the tokens that one process gives, and none pauses for longer than the heartbeat's timeout,
2 s, and the prefill that has to be done again. When the coordinator is killed, streams end, groups come back to the next
one, and nothing of before holds memory. Exit status 1 when not so.
"""
import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../launcher"))
from server import Coordinator, Server, Worker  # pylint: disable=wrong-import-position
from server_process import check  # pylint: disable=wrong-import-position

STREAMS, OUTPUT_TOKENS, HEARTBEAT_TIMEOUT_S = 20, 250, 3
PROMPTS = [[2, *range(1000 + 50 * i, 1000 + 50 * i + 20 + 15 * i)] for i in range(STREAMS)]


class Stream(threading.Thread):
    def __init__(self, port, i):
        super().__init__()
        self.port, self.i, self.tokens, self.finish, self.times = port, i, [], None, [time.monotonic()]
        self.start()

    def run(self):
        body = {"prompt": PROMPTS[self.i], "max_tokens": OUTPUT_TOKENS, "temperature": 0.8 * (self.i % 2), "seed": self.i,
                "ignore_eos": True, "stream": True, "return_token_ids": True}
        # A coordinator that is killed ends its answers without an end.
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)) as connection, \
                contextlib.suppress(http.client.HTTPException, OSError):
            connection.request("POST", "/v1/completions", json.dumps(body))
            for line in connection.getresponse():
                if not line.startswith(b"data: {"):
                    continue
                event = json.loads(line[6:])
                if "error" in event:
                    self.finish = event["error"]["message"]
                    return
                self.times.append(time.monotonic())
                self.tokens += event["choices"][0].get("token_ids") or []
                self.finish = event["choices"][0]["finish_reason"]

    def longest_pause(self, begin):
        """Of what came after `begin`."""
        return max((after - max(before, begin) for before, after in zip(self.times, self.times[1:])), default=0)


class Link(threading.Thread):
    """A way to a port that can be cut: what is under way then stays under way, and nobody is told."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.target, self.listener, self.open = port, socket.create_server(("127.0.0.1", 0)), threading.Event()
        self.port = self.listener.getsockname()[1]
        self.open.set()
        self.start()

    def run(self):
        while True:
            ends = [self.listener.accept()[0], socket.create_connection(("127.0.0.1", self.target))]
            for source, sink in (ends, ends[::-1]):
                threading.Thread(target=self.carry, args=(source, sink), daemon=True).start()

    def carry(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.open.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class Deployment:
    def __init__(self, longspan, model, **ports):
        self.longspan, self.model = longspan, model
        self.coordinator = Coordinator(longspan, "--heartbeat-timeout", f"{HEARTBEAT_TIMEOUT_S}s", model=model, **ports)
        self.link = Link(self.coordinator.grpc_port)
        self.workers = [
            Worker(longspan, self.coordinator.grpc_port, "--tp", "1", "--kvp", "2", kv_bytes="256M", ranks=2, model=model),
            Worker(longspan, self.link.port, kv_bytes="256M", model=model)]
        self.coordinator.wait_for_groups(2)

    def under_way(self):
        streams = [Stream(self.coordinator.port, i) for i in range(STREAMS)]
        self.coordinator.wait_for(lambda: all(group["decoding"] for group in self.coordinator.groups()) and
                                  all(len(stream.tokens) > 2 for stream in streams), "tokens of every stream", 120)
        return streams

    def redo_s(self, tokens):
        """Over the slowest group's rate."""
        rates = [group["prefill_tokens_per_s"] for group in self.coordinator.groups() if group["prefill_tokens_per_s"]]
        return tokens / min(rates)

    def end(self):
        for process in (*self.workers, self.coordinator):
            process.process.kill()
            process.process.wait()


def check_streams(what, deployment, streams, expected, begin):
    for stream in streams:
        stream.join()
    wrong = [stream.i for stream in streams if (stream.tokens, stream.finish) != (expected[stream.i], "length")]
    check(not wrong, f"{what}: streams {wrong} differ: {[streams[i].finish for i in wrong]}\n"
                     f"{deployment.coordinator.log_text()[-3000:]}")
    lost = deployment.coordinator.metric('longspan_recomputed_tokens_total{reason="group_lost"}')
    check(lost > 0, f"{what}: no request had to go on elsewhere")
    pause, most = max(stream.longest_pause(begin) for stream in streams), HEARTBEAT_TIMEOUT_S + 2 + deployment.redo_s(lost)
    print(f"{what}: {STREAMS} streams as undisturbed, {lost:.0f} tokens computed again, longest pause {pause:.1f} s of {most:.1f} s")
    check(pause <= most, f"{what}: a stream has paused for too long")
    deployment.coordinator.wait_for(lambda: deployment.coordinator.blocks_in_use() == 0, "free KV")


def main(longspan, model):
    server = Server(longspan, kv_bytes="256M", model=model)
    expected = []
    for i in range(STREAMS):
        stream = Stream(server.port, i)
        stream.join()
        expected.append(stream.tokens)
    server.end()

    def kill_rank(deployment):
        os.kill(deployment.workers[0].processes()[1], signal.SIGKILL)

    def kill_group(deployment):
        deployment.workers[1].process.kill()

    def stop(deployment):
        deployment.workers[1].process.send_signal(signal.SIGSTOP)
        deployment.coordinator.wait_for_groups(1)
        time.sleep(1)
        deployment.workers[1].process.send_signal(signal.SIGCONT)

    def cut(deployment):
        deployment.link.open.clear()
        deployment.coordinator.wait_for_groups(1)
        deployment.link.open.set()

    for what, happens, groups in (("a rank is killed", kill_rank, 1), ("a group is killed", kill_group, 1),
                                  ("a group is stopped and goes on", stop, 2), ("a link is cut and mended", cut, 2)):
        deployment = Deployment(longspan, model)
        streams = deployment.under_way()
        begin = time.monotonic()
        happens(deployment)
        check_streams(what, deployment, streams, expected, begin)
        deployment.coordinator.wait_for_groups(groups)
        deployment.end()

    deployment = Deployment(longspan, model)
    streams = deployment.under_way()
    ports = {"http": deployment.coordinator.port, "grpc": deployment.coordinator.grpc_port}
    deployment.coordinator.process.kill()
    deployment.coordinator.process.wait()
    for stream in streams:
        stream.join()
        check(stream.finish is None and stream.tokens == expected[stream.i][:len(stream.tokens)], "a stream ends with its server")
    again = deployment.coordinator = Coordinator(longspan, model=model, **ports)
    begin = time.monotonic()
    again.wait_for_groups(2)
    again.wait_for(lambda: again.blocks_in_use() == 0, "free KV")
    print(f"the coordinator is killed: streams end; the next one has both groups, empty, {time.monotonic() - begin:.1f} s later")
    streams = [Stream(again.port, i) for i in range(STREAMS)]
    for stream in streams:
        stream.join()
        check(stream.tokens == expected[stream.i], f"stream {stream.i} differs after the restart")
    deployment.end()


main(*sys.argv[1:])
