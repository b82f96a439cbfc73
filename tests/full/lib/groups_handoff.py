"""usage: groups_handoff.py LONGSPAN MODEL

64 requests at once, with prompts of 16 to 2,000 tokens, greedy and seeded, with log-probabilities, two choices, stop strings
or a JSON schema: groups that compute prompts and groups that take over their KV answer as one process does. Every byte of KV
is sent once, and nothing is held at the end. Exit status 1 when not so.
"""
import http.client
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../launcher"))
from server import MODEL, Coordinator, Server, Worker  # pylint: disable=wrong-import-position
from server_process import check  # pylint: disable=wrong-import-position

REQUESTS, SHORTEST, LONGEST, OUTPUT_TOKENS = 64, 16, 2000, 24
SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "many": {"type": "boolean"}},
          "required": ["name", "many"], "additionalProperties": False}
KINDS = [{}, {"temperature": 0.8}, {"logprobs": 3}, {"temperature": 0.8, "logprobs": 2}, {"temperature": 0.9, "n": 2},
         {"temperature": 0.9, "stop": ["e", "\n"]}, {"stop": ["zz", "a"]},
         {"max_tokens": 60, "ignore_eos": False,
          "response_format": {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}}}]


def requests(first_id, ids):
    """Lengths in equal ratios, in any order, each kind with all lengths."""
    source = random.Random(3)
    lengths = [round(SHORTEST * (LONGEST / SHORTEST) ** (i / (REQUESTS - 1))) for i in range(REQUESTS)]
    asked = [{"prompt": [first_id, *(source.randrange(*ids) for _ in range(length - 1))], "max_tokens": OUTPUT_TOKENS,
              "temperature": 0, "seed": i, "ignore_eos": True, "return_token_ids": True, **KINDS[i % len(KINDS)]}
             for i, length in enumerate(lengths)]
    source.shuffle(asked)
    return asked


def together(server, asked):
    """The choices of each answer."""
    answers = [None] * len(asked)

    def run(i):
        try:
            status, _, body = server.ask("POST", "/v1/completions", asked[i])
            answers[i] = body["choices"] if status == 200 else body
        except (http.client.HTTPException, OSError) as error:
            answers[i] = repr(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def compare(what, longspan, model, asked, expected, groups, kv_bytes):
    """`groups`: role, tp and kvp of each."""
    coordinator = Coordinator(longspan, model=model)
    coordinator.timeout_s = 900
    workers = [Worker(longspan, coordinator.grpc_port, "--role", role, "--tp", str(tp), "--kvp", str(kvp), kv_bytes=kv_bytes,
                      ranks=tp * kvp, model=model) for role, tp, kvp in groups]
    coordinator.wait_for_groups(len(groups), 120)
    begin = time.monotonic()
    got = together(coordinator, asked)
    took_s = time.monotonic() - begin
    for request, answer, wanted in zip(asked, got, expected):
        kind = {name: value for name, value in request.items() if name != "prompt"}
        check(answer == wanted, f"{what}: a prompt of {len(request['prompt'])} tokens with {kind} gives {answer}, "
                                f"alone {wanted}\n{coordinator.log_text()[-3000:]}")
    metrics = {name: coordinator.metric(f"longspan_{name}") for name in (
        'handoffs_total{outcome="complete"}', 'handoffs_total{outcome="given_up"}', 'handoff_bytes_total{kind="useful"}',
        'handoff_bytes_total{kind="moved"}', "blocks_rejected_total", 'recomputed_tokens_total{reason="handoff"}')}
    complete, given_up, useful, moved, refused, recomputed = metrics.values()
    print(f"{what}: {REQUESTS} requests as from one process in {took_s:.0f} s; {complete:.0f} handoffs, "
          f"{given_up:.0f} given up, {useful / 1e6:.1f} MB useful, {moved / 1e6:.1f} MB moved", flush=True)
    check(complete > 0, f"{what}: nothing was handed off")
    check(moved == useful and not (given_up or refused or recomputed), f"{what}: {metrics}")
    coordinator.wait_for(lambda: coordinator.blocks_in_use() == 0, "free KV")
    for worker in workers:
        check(worker.end(signal.SIGUSR1) == 0, f"{what}: exit status of a group\n{worker.log_at_end}")
    check(coordinator.end() == 0, f"{what}: exit status of the coordinator\n{coordinator.log_at_end}")


def main(longspan, default_model):
    for name, model, tokens, kv_bytes, deployments in (
            ("default model", default_model, (2, (1000, 20000)), "128M",
             [[("prefill", 1, 2), ("decode", 1, 4), ("mixed", 1, 1)]]),
            ("llama3-gqa", MODEL, (1, (4, 320)), "16M",
             [[("prefill", 4, 1), ("decode", 1, 4)], [("prefill", 4, 1), ("decode", 2, 2)]])):
        asked = requests(*tokens)
        server = Server(longspan, model=model, kv_bytes=kv_bytes)
        server.timeout_s = 900
        expected = together(server, asked)
        check(server.end() == 0, f"{name}: exit status of the server")
        for answer in expected:
            check(isinstance(answer, list), f"{name}: {answer}")
        ends = [choice["finish_reason"] for answer in expected for choice in answer]
        check(ends.count("stop") > REQUESTS // 10 and ends.count("length") > REQUESTS // 2, f"{name}: all end as {set(ends)}")
        texts = {str(choice["token_ids"]) for answer in expected for choice in answer}
        check(len(texts) > REQUESTS // 2, f"{name}: nearly all answers are the same: the test shows nothing")
        for groups in deployments:
            layout = ", ".join(f"{role} ({tp},{kvp})" for role, tp, kvp in groups)
            compare(f"{name}, {layout}", longspan, model, asked, expected, groups, kv_bytes)


main(*sys.argv[1:])
