"""usage: groups_security.py LONGSPAN MAKE_CERTS FOLDER

A coordinator with certificates for its groups, HTTPS and API keys. Workers without certificates, with those of another
authority, and with another's though they trust the coordinator, try for a while to join, again and again: none is let in, and
whoever turns the other away says so in its log, once. A client without a key, with a wrong one, or without TLS gets nothing,
and the log says once that somebody tried a wrong one. Neither keys nor prompts are in any log. Exit status 1 when not so.
"""
import hashlib
import os
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../launcher"))
from server import Coordinator, Worker  # pylint: disable=wrong-import-position
from server_process import check  # pylint: disable=wrong-import-position

NOT_LET_IN, TRY_FOR_S, WRONG_CALLS = "is not let in", 20, 10
CLOSED = ("/v1/completions", "/v1/models", "/v1/cluster", "/metrics")
KEY, WRONG_KEY, PROMPT = "sk-of-this-test-right", "sk-of-this-test-wrong", "a prompt that nobody else has"


def main(longspan, make_certs, folder):
    for name in ("ours", "theirs"):
        subprocess.run([make_certs, f"{folder}/{name}"], check=True, capture_output=True)

    def control(name, trusted):
        return [f"--grpc-ca={folder}/{trusted}/ca.pem", f"--grpc-cert={folder}/{name}/host.pem",
                f"--grpc-key={folder}/{name}/host.key"]

    keys = f"{folder}/keys"
    with open(keys, "w", encoding="ascii") as file:
        file.write(hashlib.sha256(KEY.encode()).hexdigest() + "\n")
    coordinator = Coordinator(longspan, *control("ours", "ours"), "--tls-cert", f"{folder}/ours/host.pem", "--tls-key",
                              f"{folder}/ours/host.key", "--api-key-file", keys)
    coordinator.tls = ssl.create_default_context(cafile=f"{folder}/ours/ca.pem")
    right, wrong = {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"Bearer {WRONG_KEY}"}

    def groups():
        status, _, cluster = coordinator.ask("GET", "/v1/cluster", headers=right)
        check(status == 200, f"{status} {cluster}")
        return [group["name"] for group in cluster["groups"]]

    def lines(process, text):
        return [line for line in process.log_text().splitlines() if text in line]

    stranger_logs = []
    for name, arguments, who in (("without certificates", [], "coordinator"),
                                 ("of another authority", control("theirs", "theirs"), "worker"),
                                 ("of another authority, trusting ours", control("theirs", "ours"), "coordinator")):
        before = len(lines(coordinator, NOT_LET_IN))
        stranger = Worker(longspan, coordinator.grpc_port, "--name", name, *arguments)
        stranger.wait_for_log("(no coordinator) at")
        time.sleep(TRY_FOR_S)
        new = lines(coordinator, NOT_LET_IN)[before:] if who == "coordinator" else lines(stranger, NOT_LET_IN)
        check(len(new) == 1, f"a worker {name}: {len(new)} lines in the log of the {who}\n" + "\n".join(new))
        print(f"a worker {name}, {TRY_FOR_S} s long: the {who} says, once: {new[0][new[0].index(NOT_LET_IN):]}", flush=True)
        check(stranger.process.poll() is None, f"a worker {name} has ended\n{stranger.log_text()}")
        stranger.process.kill()
        stranger_logs.append(stranger.log_text())
    check(not groups(), f"groups {groups()} were let in")
    worker = Worker(longspan, coordinator.grpc_port, "--name", "ours", *control("ours", "ours"))
    coordinator.wait_for(lambda: groups() == ["ours"], "our own group")
    print("a worker with our certificates: let in")

    body = {"prompt": PROMPT, "max_tokens": 4}
    status, _, answer = coordinator.ask("POST", "/v1/completions", body, right)
    check(status == 200, f"with our key: {status} {answer}")
    logged = {}
    for what, headers in (("a wrong key", wrong), ("no key", {})):
        before = len(coordinator.log_text().splitlines())
        for _ in range(WRONG_CALLS):
            for path in CLOSED:
                method, asked = ("POST", body) if path == "/v1/completions" else ("GET", None)
                status, answered, answer = coordinator.ask(method, path, asked, headers)
                check(status == 401 and answered.get("www-authenticate") == "Bearer", f"{path} with {what}: {status} {answer}")
        logged[what] = coordinator.log_text().splitlines()[before:]
    # Only the bytes of TLS are understood there.
    check(coordinator.raw(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")[:4] != b"HTTP", "HTTP without TLS")

    for text in (coordinator.log_text(), worker.log_text(), *stranger_logs):
        for secret in (KEY, WRONG_KEY, PROMPT, "PRIVATE KEY"):
            check(secret not in text, f"a log has {secret!r}\n{text[-3000:]}")
    check(coordinator.end() == 0, f"exit status of the coordinator\n{coordinator.log_at_end}")
    worker.process.kill()
    print(f"{len(CLOSED) * WRONG_CALLS} calls with a wrong key, and without one: 401; lines in the log: {logged}")
    check(len(logged["a wrong key"]) == 1 and len(logged["no key"]) <= 1, "a wrong key is to be logged, once")


main(*sys.argv[1:])
