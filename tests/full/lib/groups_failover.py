"""usage: groups_failover.py LONGSPAN MODEL

20 streams at once, greedy and sampled, over a group that computes prompts, one of two ranks that goes on from them, and one
that does both. Something happens to a group in their midst; every stream ends with the tokens that one process gives, and
none pauses for longer than the heartbeat's timeout, 2 s, and the prefill that is to be done from then on. When the
coordinator is killed, streams end, groups come back to the next one, and nothing of before holds memory. Exit status 1
when not so.
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
PREFILL, DECODE, MIXED = range(3)  # of a deployment's workers


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
            near = self.listener.accept()[0]
            try:
                ends = [near, socket.create_connection(("127.0.0.1", self.target))]
            except OSError:  # nobody is there at the moment
                near.close()
                continue
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
            self.worker("--role", "prefill"),
            self.worker("--role", "decode", "--tp", "1", "--kvp", "2", ranks=2),
            Worker(longspan, self.link.port, kv_bytes="256M", model=model)]
        self.coordinator.wait_for_groups(3)

    def worker(self, *arguments, ranks=1):
        return Worker(self.longspan, self.coordinator.grpc_port, *arguments, kv_bytes="256M", ranks=ranks, model=self.model)

    def begin(self):
        return [Stream(self.coordinator.port, i) for i in range(STREAMS)]

    def running(self, role):
        return sum(group["running"] for group in self.coordinator.groups() if group["role"] == role)

    def wait_for_tokens(self, streams):
        self.coordinator.wait_for(lambda: self.running("decode") and self.running("mixed") and
                                  all(stream.tokens for stream in streams), "tokens of every stream", 120)

    def wait_for_handoff(self, streams):
        self.coordinator.wait_for(lambda: self.running("prefill") and any(stream.tokens for stream in streams), "a handoff", 120)

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
    first = sum(len(PROMPTS[stream.i]) for stream in streams if stream.times[1] > begin)
    wrong = [stream.i for stream in streams if (stream.tokens, stream.finish) != (expected[stream.i], "length")]
    check(not wrong, f"{what}: streams {wrong} differ: {[streams[i].finish for i in wrong]}\n"
                     f"{deployment.coordinator.log_text()[-3000:]}")
    lost = deployment.coordinator.metric('longspan_recomputed_tokens_total{reason="group_lost"}')
    moved_on = deployment.coordinator.wait_for_log(r"is lost with (\d+) requests")
    check(int(moved_on) > 0 and lost + first > 0, f"{what}: no request had to go on elsewhere")
    pause = max(stream.longest_pause(begin) for stream in streams)
    most = HEARTBEAT_TIMEOUT_S + 2 + deployment.redo_s(lost + first)
    moved = deployment.coordinator.metric('longspan_handoffs_total{outcome="complete"}')
    print(f"{what}: {STREAMS} streams as undisturbed, {moved:.0f} handed off, {moved_on} went on elsewhere, {lost:.0f} tokens "
          f"computed again and {first} for the first time, longest pause {pause:.1f} s of {most:.1f} s", flush=True)
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
        os.kill(deployment.workers[DECODE].processes()[1], signal.SIGKILL)

    def kill_prefill_group(deployment):
        deployment.workers[PREFILL].process.kill()

    def stop(deployment):
        deployment.workers[MIXED].process.send_signal(signal.SIGSTOP)
        deployment.coordinator.wait_for_groups(2)
        time.sleep(1)
        deployment.workers[MIXED].process.send_signal(signal.SIGCONT)

    def cut(deployment):
        deployment.link.open.clear()
        deployment.coordinator.wait_for_groups(2)
        deployment.link.open.set()

    for what, ready, happens, groups in (
            ("a decode rank is killed", Deployment.wait_for_tokens, kill_rank, 2),
            ("the prefill group is killed", Deployment.wait_for_handoff, kill_prefill_group, 2),
            ("a group is stopped and goes on", Deployment.wait_for_tokens, stop, 3),
            ("a link is cut and mended", Deployment.wait_for_tokens, cut, 3)):
        deployment = Deployment(longspan, model)
        streams = deployment.begin()
        ready(deployment, streams)
        begin = time.monotonic()
        happens(deployment)
        check_streams(what, deployment, streams, expected, begin)
        deployment.coordinator.wait_for_groups(groups)
        deployment.end()

    deployment = Deployment(longspan, model)
    streams = deployment.begin()
    deployment.wait_for_tokens(streams)
    ports = {"http": deployment.coordinator.port, "grpc": deployment.coordinator.grpc_port}
    deployment.coordinator.process.kill()
    deployment.coordinator.process.wait()
    for stream in streams:
        stream.join()
        check(stream.finish is None and stream.tokens == expected[stream.i][:len(stream.tokens)], "a stream ends with its server")
    again = deployment.coordinator = Coordinator(longspan, model=model, **ports)
    begin = time.monotonic()
    again.wait_for_groups(3)
    again.wait_for(lambda: again.blocks_in_use() == 0, "free KV")
    print(f"the coordinator is killed: streams end; the next one has all groups, empty, {time.monotonic() - begin:.1f} s later")
    streams = [Stream(again.port, i) for i in range(STREAMS)]
    for stream in streams:
        stream.join()
        check(stream.tokens == expected[stream.i], f"stream {stream.i} differs after the restart")
    deployment.end()


main(*sys.argv[1:])
