// When the steps of an executable become a CUDA graph.
#pragma once
#include <functional>  // the work
#include <memory>      // ownership

#include "comm/device_communicator.h"  // CapturedExchanges
#include "cuda/captured.h"             // CapturedGraph

namespace merak::cuda {

class CudaPeers;

// The first runs are enqueued call by call: they compile and measure what they need, and make communicators. The third is captured, on
// every rank or on none, and launched at once from then on. `MERAK_CUDA_GRAPHS=off` captures nothing.
class StepGraph {
 public:
  // `enqueues_only`: nothing of the work waits on the host; `peers` is null for a rank alone.
  StepGraph(CUstream stream, CudaPeers* peers, bool enqueues_only);
  ~StepGraph();
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  // `work` enqueues a step on the stream. A recorded one is never a graph; whether it is recorded is the same on every rank.
  void run(bool is_recorded, const std::function<void()>& work);
  // Destroys the graph for good; what of it runs goes on.
  void drop();

 private:
  void decide(const std::function<void()>& work);
  bool capture(const std::function<void()>& work);

  CUstream stream_;
  CudaPeers* peers_;
  bool can_capture_;
  int num_runs_ = 0;
  std::unique_ptr<CapturedGraph> graph_;
  CapturedExchanges exchanges_;
};

}  // namespace merak::cuda
