"""usage: serve_guidellm.py LONGSPAN MODEL TOKENIZER FOLDER

Runs guidellm against `longspan serve`, with prompts that it makes with the tokenizer in that folder, and compares its
report, which it leaves in FOLDER, with /metrics. Exit status 1 when they differ by more than 5 %.
"""
import json
import os
import subprocess
import sys

from server_process import Server, check

REQUESTS, STREAMS, OUTPUT_TOKENS = 32, 4, 32
TOLERANCE = 0.05


def run_guidellm(tokenizer, folder, server):
    """What it reports of all requests."""
    name = server.ask("GET", "/health")[1]["model"]
    run = subprocess.run(
        [sys.executable, "-m", "guidellm", "run", "--backend", f"kind=openai_http,target={server.url},model={name}",
         "--profile", f"kind=concurrent,streams={STREAMS}", "--constraint", f"kind=max_requests,count={REQUESTS}",
         "--tokenizer", f"kind=hf_auto,model={tokenizer}",
         "--data", f"kind=synthetic_text,prompt_tokens=600,output_tokens={OUTPUT_TOKENS}"],
        cwd=folder, env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    check(run.returncode == 0, f"guidellm's exit status {run.returncode}:\n{run.stdout[-3000:]}")
    with open(os.path.join(folder, "benchmarks.json"), encoding="utf-8") as file:
        return json.load(file)["benchmarks"][0]["metrics"]


def main():
    longspan, model, tokenizer, folder = sys.argv[1:]
    with Server(longspan, model, "--kv-bytes", "256M") as server:
        report = run_guidellm(tokenizer, folder, server)
        metrics = server.metrics()
        check(server.end() == 0, "exit status after SIGTERM")

    def mean_ms(name):
        return 1000 * metrics[f"longspan_{name}_sum"] / metrics[f"longspan_{name}_count"]

    wrong = []
    for what, reported, served in (
            ("requests", report["request_totals"]["successful"],
             sum(value for name, value in metrics.items() if name.startswith("longspan_requests_total{"))),
            ("output tokens", report["output_token_count"]["successful"]["total_sum"], metrics["longspan_decode_tokens_total"]),
            ("input tokens", report["prompt_token_count"]["successful"]["total_sum"], metrics["longspan_prefill_tokens_total"]),
            ("mean TTFT, ms", report["time_to_first_token_ms"]["successful"]["mean"], mean_ms("ttft_seconds")),
            ("mean ITL, ms", report["inter_token_latency_ms"]["successful"]["mean"], mean_ms("itl_seconds")),
            ("mean latency, ms", 1000 * report["request_latency"]["successful"]["mean"], mean_ms("e2e_seconds"))):
        ratio = reported / served
        print(f"{what}: guidellm {reported:.1f}, /metrics {served:.1f}, ratio {ratio:.3f}", flush=True)
        if abs(ratio - 1) > TOLERANCE:
            wrong.append(what)
    check(not wrong, f"differ by more than {TOLERANCE:.0%}: {wrong}")
    check(report["request_totals"]["successful"] == REQUESTS, "guidellm had other requests than it was told")


main()
