// A step as a CUDA graph: what the host would enqueue call by call, launched at once.
#pragma once
#include <functional>  // the work
#include <memory>      // ownership

#include "cuda/driver.h"  // handles

namespace merak::cuda {

class CapturedGraph {
 public:
  // Records what `work` enqueues on `stream`, and on streams ordered after it by events; nothing of it runs. What `work` throws is
  // thrown on; what CUDA cannot capture is EngineError 'engine/cuda'.
  CapturedGraph(CUstream stream, const std::function<void()>& work);
  ~CapturedGraph() { driver().cuGraphExecDestroy(exec_); }
  CapturedGraph(const CapturedGraph&) = delete;
  CapturedGraph& operator=(const CapturedGraph&) = delete;
  void launch(CUstream stream) const { check(driver().cuGraphLaunch(exec_, stream), "cuGraphLaunch"); }

 private:
  CUgraphExec exec_ = nullptr;
};

}  // namespace merak::cuda
