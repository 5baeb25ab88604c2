// What a rank publishes of its NCCL calls, and how unique ids are written in the names of arenas.
#pragma once
#include <atomic>  // shared words
#include <chrono>  // clock
#include <string>  // names

#include "comm/arena.h"            // Arena
#include "comm/control.h"          // kMaxGroups
#include "cuda/nccl.h"             // ncclUniqueId

namespace merak {

struct NcclProgress {
  std::atomic<uint64_t> steps;               // counted by set_timeout, which comes with each step
  std::atomic<uint32_t> calls[kMaxGroups];  // collectives made, by group
  std::atomic<uint32_t> words[2];           // of the last two votes: twice their number (from 1), plus 1 for a yes
};

inline NcclProgress& progress_of(const Arena& arena) { return *reinterpret_cast<NcclProgress*>(arena.data()); }

inline double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// "nccl/<group>/<id in hexadecimal>".
std::string name_of_id(int group, const cuda::ncclUniqueId& id);
// False for other names.
bool id_of_name(const std::string& name, int& group, cuda::ncclUniqueId& id);

}  // namespace merak
