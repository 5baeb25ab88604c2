// Capturing.
#include "cuda/captured.h"

namespace merak::cuda {

CapturedGraph::CapturedGraph(CUstream stream, const std::function<void()>& work) {
  const Driver& cuda = driver();
  check(cuda.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "cuStreamBeginCapture");
  CUgraph graph = nullptr;
  try {
    work();
  } catch (...) {
    cuda.cuStreamEndCapture(stream, &graph);
    if (graph) cuda.cuGraphDestroy(graph);
    throw;
  }
  check(cuda.cuStreamEndCapture(stream, &graph), "cuStreamEndCapture");
  const CUresult result = cuda.cuGraphInstantiate(&exec_, graph, 0);
  cuda.cuGraphDestroy(graph);
  check(result, "cuGraphInstantiateWithFlags");
}

}  // namespace merak::cuda
