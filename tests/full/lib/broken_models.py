"""usage: broken_models.py LONGSPAN MAKE_MODEL GOLDENS WORK_FOLDER [SEED...]

Runs `longspan inspect` and `longspan generate` on every broken model of damage.py and prints what each came to. A file
must be refused with exit status 1 and a message that names it and what is wrong, or run; never end by a signal, compute
for 5 s, hang, print a NaN, or take memory that neither the program nor the file explains. Exit status 1 when one does
not.
"""
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import damage

LONGEST_S = 5  # of a processor
HANGS_S = 60
ADDRESS_BYTES = 1 << 30  # of which a whole tiny model takes about a third, most of it libraries
MEMORY_BYTES = 48 << 20  # resident, beside twice the file


def limit():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(command):
    """Exit status (negative: a signal), stdout, stderr, seconds of a processor, and the most resident bytes."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, preexec_fn=limit)
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended or time.monotonic() - begin > HANGS_S:
                break
            time.sleep(0.002)
        if not ended:
            process.kill()
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return (process.returncode, out.read().decode(errors="replace"), err.read().decode(errors="replace"),
                usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def judge(folder, size, words, result):
    """What is wrong with the outcome, or nothing, and the outcome in a few words."""
    status, out, err, seconds, memory = result
    lines = [line for line in err.splitlines() if not line.startswith(("longspan: info", "longspan: loading"))]
    message = lines[0] if lines and lines[0].startswith("longspan: ") else ""
    outcome = message.replace(str(folder), "").removeprefix("longspan: ") if status == 1 else f"exit status {status}"
    if seconds > LONGEST_S:
        return f"took {seconds:.1f} s", outcome
    if memory > MEMORY_BYTES + 2 * size:
        return f"took {memory >> 20} MiB", outcome
    if status == 0:
        return ("printed a NaN" if "nan" in out.lower() else ""), "runs"
    if status != 1:
        return f"ended with {status}", err.strip()[-300:]
    # What is finite may still grow without bounds on its way to the logits.
    if str(folder) not in message and "check the model file" not in message or out.strip():
        return "does not name the file", repr(err[-300:] + out[-300:])
    if any(ord(character) < 32 for character in message):
        return "message has control characters", outcome
    missing = [word for word in words or () if word not in message]
    return (f"does not name {missing}" if missing else ""), outcome


def check(longspan, work, case):
    folder = work / "case"
    folder.mkdir()
    for name, content in case.files.items():
        (folder / name).write_bytes(content)
    path = folder / case.path
    size = sum(map(len, case.files.values()))
    has_text = not case.what.startswith("random")
    prompt = ["--prompt", "The 12 cats"] if has_text else ["--token-ids", "1,2,3"]
    generate = run([longspan, "generate", "--model", path, *prompt, "--max-tokens", "2", "--ignore-eos", "--kv-bytes", "4M",
                    "--threads", "1"])
    problem, outcome = judge(folder, size, case.words, generate)
    if not problem and generate[0] == 0 and case.words:
        problem = "runs, though it cannot be right"
    inspect, told = judge(folder, size, None, run([longspan, "inspect", path]))
    if inspect:
        problem, outcome = f"inspect {inspect}", told
    shutil.rmtree(folder)
    return problem, outcome


def main():
    longspan, make_model, goldens, work, *seeds = sys.argv[1:]
    work = pathlib.Path(work)
    models = {}
    for family, kind in (("llama", "q8_0"), ("qwen2", "f32"), ("qwen3", "q5_0"), ("gemma2", "bf16"), ("gemma3", "q4_0")):
        models[family] = work / f"{family}.gguf"
        subprocess.run([make_model, "--out", models[family], "--family", family, "--layers", "2", "--hidden", "64", "--heads", "4",
                        "--kv-heads", "2", "--head-dim", "16", "--ffn", "96", "--vocab", "64", "--context", "256", "--format", kind],
                       check=True)
    seen = set()  # a seed decides some of the damage only
    files = failed = 0
    for seed in map(int, seeds or ["1"]):
        for case in damage.cases(models, goldens, seed):
            content = hash(tuple(case.files.items()))
            if content in seen:
                continue
            seen.add(content)
            problem, outcome = check(longspan, work, case)
            files += 1
            failed += bool(problem)
            print(f"{'FAILED, ' + problem + ': ' if problem else ''}{case.what}: {outcome}", flush=True)
    print(f"{files} broken models of seeds {' '.join(seeds) or 1}, {failed} failed")
    sys.exit(failed > 0)


main()
