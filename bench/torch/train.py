"""Times training steps of one benchmark in PyTorch. One argument: the job as JSON (bench/training/torch.ts); prints JSON."""
import json
import os
import resource
import sys
import time

import torch

from models import FUSED_ATTENTION, MODELS, batch_of


def matmul_rate(precision):
    """FLOP/s of the kind of product the model spends its time on."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.randn(512, 512).to(dtype), torch.randn(512, 512).to(dtype)
    a @ b
    began, runs = time.perf_counter(), 0
    while time.perf_counter() - began < 0.3:
        a @ b
        runs += 1
    return runs * 2 * 512**3 / (time.perf_counter() - began)


def blas_library():
    """The file behind torch's f32 products, where it is a library of its own."""
    with open("/proc/self/maps") as maps:
        files = {line.split()[-1] for line in maps if ".so" in line}
    return sorted(os.path.realpath(file) for file in files if any(name in file for name in ("blas", "mkl_")))


def main():
    job = json.loads(sys.argv[1])
    torch.manual_seed(1)
    torch.set_num_threads(job["threads"])
    # A larger model than the time allows is timed on fewer samples.
    flops_per_sample = job["flopsPerSample"]
    rate = matmul_rate(job["precision"])
    affordable = int(job["maxStepSeconds"] * rate / flops_per_sample)
    size = max(1, min(job["batchSize"], affordable))
    about = {
        "version": torch.__version__,
        "capability": torch.__config__.show(),
        "fusedAttention": FUSED_ATTENTION,
        "matmulFlopsPerSecond": rate,
        "blas": blas_library(),
        "batchSize": size,
    }
    if affordable < 1 and flops_per_sample / rate > 4 * job["maxStepSeconds"]:
        about["skipped"] = f"a step of one sample would take about {flops_per_sample / rate:.0f} s"
        print(json.dumps(about))
        return
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = MODELS[job["model"]](job)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
    seconds, loss = [], None
    deadline = time.perf_counter() + job["seconds"]
    while len(seconds) < 2 or time.perf_counter() < deadline:
        began = time.perf_counter()
        inputs, targets = batch_of(job, size, len(seconds))
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=job["precision"] == "bf16"):
            value = model.loss(inputs, targets)
        value.backward()
        optimizer.step()
        loss = value.item()
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    parameters = sum(parameter.numel() for parameter in model.parameters())
    about.update(
        stepSeconds=min(seconds[1:]), numSteps=len(seconds), loss=loss, residentBytes=peak * 1024, numParameters=parameters
    )
    print(json.dumps(about))


main()
