"""Servers of `longspan` for tests, as processes of their own on free ports."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time

TESTS = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
MODEL = os.path.join(TESTS, "goldens/llama3-gqa")
MPIRUN = os.path.join(TESTS, "../launcher/local-mpirun")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LONGSPAN_")}
LISTENS = r"listening on \w+://[^:]+:(\d+)"


class Process:
    """A command that runs until it is ended, and its log. `longspan`: the program; `on`: what runs it on a host."""

    patience_s = 30  # for a line of the log

    def __init__(self, longspan, command, *arguments, ranks=1, model=MODEL, on=()):
        line = [*on, longspan, command, "--model", model, *arguments]
        if ranks > 1:
            line = [MPIRUN, "-n", str(ranks), *line]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(line, stderr=self.log, stdout=subprocess.DEVNULL, env=ENVIRONMENT)

    def log_text(self):
        self.log.seek(0)
        return self.log.read()

    def wait_for_log(self, pattern, seconds=None):
        end = time.monotonic() + (seconds or self.patience_s)
        while time.monotonic() < end:
            if found := re.search(pattern, self.log_text()):
                return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"no {pattern!r} in the log:\n{self.log_text()}")

    def ready(self, *patterns, seconds=None):
        """What each pattern finds in the log; the process is killed when it does not come that far."""
        try:
            return [self.wait_for_log(pattern, seconds) for pattern in patterns]
        except BaseException:
            self.process.kill()
            raise

    def wait_for(self, condition, what, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}\n{self.log_text()}"
            time.sleep(0.02)

    def end(self, number=signal.SIGTERM, seconds=30):
        self.process.send_signal(number)
        status = self.process.wait(seconds)
        self.log_at_end = self.log_text()
        self.log.close()
        return status


class HttpProcess(Process):
    """One that answers over HTTP at `host` and `port`, with `tls` where that is an SSL context."""

    host = "127.0.0.1"
    port = 0
    tls = None
    timeout_s = 30  # for an answer

    def connect(self):
        if self.tls:
            return http.client.HTTPSConnection("localhost", self.port, timeout=self.timeout_s, context=self.tls)
        return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout_s)

    def ask(self, method, path, body=None, headers=None):
        """Status, headers in lower case, and the body, parsed where it is JSON."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body if isinstance(body, (bytes, type(None))) else json.dumps(body), headers or {})
            response = connection.getresponse()
            content = response.read()
            kind = response.headers.get("content-type", "")
            return (response.status, {name.lower(): value for name, value in response.getheaders()},
                    json.loads(content) if kind.startswith("application/json") else content.decode())

    def complete(self, prompt, **fields):
        status, _, body = self.ask("POST", "/v1/completions", {"prompt": prompt, **fields})
        assert status == 200, body
        return body

    def events(self, path, body):
        """The events of a streamed answer."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("POST", path, json.dumps({**body, "stream": True}))
            response = connection.getresponse()
            assert response.status == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            text = response.read().decode()
        events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
        assert events[-1] == "[DONE]", events
        return [json.loads(event) for event in events[:-1]]

    def raw(self, text):
        """What the server answers to these bytes before it closes the connection."""
        with socket.create_connection((self.host, self.port), timeout=30) as client:
            client.sendall(text)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while part := client.recv(65536):
                    answer += part
            return answer

    def metric(self, name):
        _, _, text = self.ask("GET", "/metrics")
        return sum(float(line.split()[-1]) for line in text.splitlines() if re.match(re.escape(name) + r"[{ ]", line))

    def blocks_in_use(self):
        _, _, cluster = self.ask("GET", "/v1/cluster")
        return sum(rank["in_use"] + rank["reserved"] for group in cluster["groups"] for rank in group["ranks"])


class Server(HttpProcess):
    """`longspan serve`, ready."""

    def __init__(self, longspan, *arguments, ranks=1, tls=None, kv_bytes="16M", **settings):
        threads = ["--threads", "1"] if ranks > 1 else []
        super().__init__(longspan, "serve", "--port", "0", "--kv-bytes", kv_bytes, *arguments, *threads, ranks=ranks, **settings)
        self.tls = tls
        self.port = int(self.ready(LISTENS, r"(ready) after")[0])


class Coordinator(HttpProcess):
    """`longspan coordinator`; groups join it at `grpc_port`."""

    def __init__(self, longspan, *arguments, host="127.0.0.1", http=0, grpc=0, **settings):
        super().__init__(longspan, "coordinator", "--listen-http", f"{host}:{http}", "--listen-grpc", f"{host}:{grpc}",
                         *arguments, **settings)
        self.host = host
        self.port, self.grpc_port = map(int, self.ready(LISTENS, r"groups join at [^:]+:(\d+)"))

    def groups(self):
        return self.ask("GET", "/v1/cluster")[2]["groups"]

    def wait_for_groups(self, number, seconds=20):
        self.wait_for(lambda: len(self.groups()) == number, f"{number} groups", seconds)


class Worker(Process):
    """A group, `longspan worker`, that joins a coordinator."""

    def __init__(self, longspan, grpc_port, *arguments, host="127.0.0.1", kv_bytes="16M", **settings):
        super().__init__(longspan, "worker", "--coordinator", f"{host}:{grpc_port}", "--kv-bytes", kv_bytes, "--threads",
                         "1", *arguments, **settings)

    def processes(self):
        """The ranks' processes, in order."""
        ranks = ranks_of(self.process.pid)
        return [ranks[rank] for rank in sorted(ranks)] or [self.process.pid]


def ranks_of(process_id):
    """The processes of an MPI job by their rank; all descend from this process."""
    parents, ranks = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            parents[int(pid)] = int(file.read().rpartition(")")[2].split()[1])
    for pid in parents:
        ancestor = pid
        while ancestor in parents and ancestor != process_id:
            ancestor = parents[ancestor]
        if ancestor != process_id:
            continue
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            for entry in file.read().split(b"\0"):
                if entry.startswith(b"OMPI_COMM_WORLD_RANK="):
                    ranks[int(entry.split(b"=")[1])] = pid
    return ranks
