// How many of a card's multiprocessors, and so how many of NCCL's channels, a communicator may use: each takes buffers on the card, which
// plans count at the most (src/planner/costs/communicatorBytes.ts).
#pragma once

namespace merak {

constexpr int kGroupCtas = 32;   // NCCL's own limit on Hopper
constexpr int kWorldCtas = 4;    // gathers a norm of each rank
constexpr int kMessageCtas = 8;  // pipelines compute meanwhile

}  // namespace merak
