// Capturing a step, by everybody's consent.
#include "cuda/step_graph.h"

#include <cstdio>   // fprintf
#include <cstdlib>  // getenv
#include <string>   // the setting

#include "cuda/peers.h"    // CudaPeers
#include "engine/error.h"  // EngineError

namespace merak::cuda {
namespace {

constexpr int kRunsBefore = 2;

bool is_off() {
  const char* setting = std::getenv("MERAK_CUDA_GRAPHS");
  return setting && std::string(setting) == "off";
}

}  // namespace

StepGraph::StepGraph(CUstream stream, CudaPeers* peers, bool enqueues_only)
    : stream_(stream), peers_(peers), can_capture_(enqueues_only && !is_off()) {
  if (peers_) peers_->add(*this);
}

StepGraph::~StepGraph() {
  if (peers_) peers_->remove(*this);
}

void StepGraph::run(bool is_recorded, const std::function<void()>& work) {
  const bool may = !is_recorded && (!peers_ || peers_->device().enqueues_only());
  if (may && num_runs_ == kRunsBefore) decide(work);
  if (may && graph_) {
    if (peers_) peers_->device().launches(exchanges_);
    graph_->launch(stream_);
  } else {
    work();
  }
  if (may || num_runs_ < kRunsBefore) num_runs_++;
}

void StepGraph::drop() {
  graph_.reset();
  can_capture_ = false;
}

void StepGraph::decide(const std::function<void()>& work) {
  // Once before anything is captured, and once to know that nobody has failed to.
  if (peers_) can_capture_ = peers_->device().agree(can_capture_);
  if (can_capture_) can_capture_ = capture(work);
  else return;
  if (peers_) can_capture_ = peers_->device().agree(can_capture_);
  if (!can_capture_) graph_.reset();
}

bool StepGraph::capture(const std::function<void()>& work) {
  try {
    graph_ = std::make_unique<CapturedGraph>(stream_, [&] {
      if (peers_) exchanges_ = peers_->capture(work);
      else work();
    });
    return true;
  } catch (const EngineError& error) {
    if (error.code != "engine/cuda") throw;
    // It runs call by call, as before.
    std::fprintf(stderr, "merak: steps are not captured as a CUDA graph: %s\n", error.what());
    return false;
  }
}

}  // namespace merak::cuda
