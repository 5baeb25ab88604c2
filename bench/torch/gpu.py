"""PyTorch's side of `npm run gpu`. One argument, the job as JSON: limits of the card, or training steps of a GPT; prints JSON lines."""
import json
import statistics
import sys
import time

import torch

from models import Gpt


def seconds_of(run, budget):
    """Median seconds of a call on the device, by events, after three to warm up."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    times, deadline = [], time.perf_counter() + budget
    while len(times) < 5 or (time.perf_counter() < deadline and len(times) < 200):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
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


def train(job):
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = True
    with torch.device("cuda"):
        model = Gpt(job)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    loss_of = torch.compile(model.loss) if job["compile"] else model.loss
    shape = (job["batchSize"], job["contextLength"])
    tokens, targets = (torch.randint(job["vocabularySize"], shape, device="cuda") for _ in range(2))

    def step():
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = loss_of(tokens, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    began = time.perf_counter()
    for _ in range(3):
        loss = step()
    torch.cuda.synchronize()
    started = time.perf_counter() - began
    torch.cuda.reset_peak_memory_stats()
    step_seconds = seconds_of(step, job["seconds"])
    return {
        "stepSeconds": step_seconds,
        "tokensPerSecond": job["batchSize"] * job["contextLength"] / step_seconds,
        "peakBytes": torch.cuda.max_memory_allocated(),
        "startSeconds": started,
        "loss": float(loss.detach()),
        "numParameters": sum(parameter.numel() for parameter in model.parameters()),
    }


job = json.loads(sys.argv[1])
print(json.dumps(limits(job) if job["what"] == "limits" else train(job)))
