"""PyTorch's side of `npm run gpu`. One argument, the job as JSON: limits of the card, or training steps of a GPT; prints JSON lines.

`device` is "cuda" unless the job says "cpu", for a trial without a card; `precision` (bf16) also f16 with loss scaling, f32 and tf32.
"""
import contextlib
import json
import statistics
import sys
import time

import torch

from models import Gpt


def timed_on_card(run):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def timed_on_processor(run):
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(run, budget, device="cuda"):
    """Median seconds of a call on the device, on a card by events, after three to warm up."""
    for _ in range(3):
        run()
    synchronize(device)
    timed = timed_on_card if device == "cuda" else timed_on_processor
    times, deadline = [], time.perf_counter() + budget
    while len(times) < 5 or (time.perf_counter() < deadline and len(times) < 200):
        times.append(timed(run))
    return statistics.median(times)


def limits(job):
    """Products of random bf16 matrices, and copies counted as bytes read and written."""
    n = job["side"]
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = seconds_of(lambda: a @ b, job["seconds"])
    source = torch.empty(job["copyBytes"], dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    copy = seconds_of(lambda: target.copy_(source), job["seconds"])
    properties = torch.cuda.get_device_properties(0)
    return {
        "gemmFlopsPerSecond": 2 * n**3 / product,
        "copyBytesPerSecond": 2 * job["copyBytes"] / copy,
        "device": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "memoryBytes": properties.total_memory,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def grad_scaler(enabled):
    """Its place since PyTorch 2.3, or the older one."""
    return torch.amp.GradScaler("cuda", enabled=enabled) if hasattr(torch.amp, "GradScaler") else torch.cuda.amp.GradScaler(enabled=enabled)


def train(job):
    torch.manual_seed(1)
    device, precision = job.get("device", "cuda"), job.get("precision", "bf16")
    torch.backends.cuda.matmul.allow_tf32 = precision != "f32"
    # Made where it stays, as PyTorch can since 2.0.
    with torch.device(device) if hasattr(torch.device, "__enter__") else contextlib.nullcontext():
        model = Gpt(job).to(device)
    is_card = device == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, **({"fused": True} if is_card else {}))
    loss_of = torch.compile(model.loss) if job["compile"] else model.loss
    shape = (job["batchSize"], job["contextLength"])
    tokens, targets = (torch.randint(job["vocabularySize"], shape, device=device) for _ in range(2))
    narrow = {"bf16": torch.bfloat16, "f16": torch.float16}.get(precision)
    scaler = grad_scaler(precision == "f16" and is_card)

    def step():
        with torch.autocast(device, dtype=narrow) if narrow else contextlib.nullcontext():
            loss = loss_of(tokens, targets)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return loss

    began = time.perf_counter()
    for _ in range(3):
        loss = step()
    synchronize(device)
    started = time.perf_counter() - began
    if is_card:
        torch.cuda.reset_peak_memory_stats()
    step_seconds = seconds_of(step, job["seconds"], device)
    return {
        "stepSeconds": step_seconds,
        "tokensPerSecond": job["batchSize"] * job["contextLength"] / step_seconds,
        "peakBytes": torch.cuda.max_memory_allocated() if is_card else None,
        "startSeconds": started,
        "loss": float(loss.detach()),
        "numParameters": sum(parameter.numel() for parameter in model.parameters()),
    }


job = json.loads(sys.argv[1])
print(json.dumps(limits(job) if job["what"] == "limits" else train(job)))
