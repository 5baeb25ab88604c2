// What the lanes of a warp do together: shuffles and votes. Masks must name every lane that runs.
#pragma once
#include "block.h"

namespace merak_emulation {

// Waits until all lanes are here; the last one runs `finish` first. Slots alternate, so that one barrier is enough.
template <class Finish>
void meet(const Finish& finish) {
  Warp& warp = *current->warp;
  const unsigned mine = warp.generation;
  if (++warp.arrived == warp.num_live) {
    finish();
    warp.arrived = 0;
    warp.generation++;
    block.idle = 0;
    return;
  }
  while (warp.generation == mine) yield_in_warp();
}

struct Slots {
  Warp& warp;
  unsigned parity;
  Slots() : warp(*current->warp), parity(warp.generation & 1) {}
  template <class T>
  T& at(unsigned lane, size_t offset = 0) const {
    return *reinterpret_cast<T*>(warp.slots[parity][lane] + offset);
  }
};

template <class T>
T exchange(T value, unsigned from) {
  const Slots slots;
  const unsigned lane = current->lane;
  slots.at<T>(lane) = value;
  meet([] {});
  const unsigned last = (block.threads.size() - (current->number & ~31u)) < 32 ? static_cast<unsigned>(block.threads.size()) % 32 : 32;
  return slots.at<T>(from < last ? from : lane);
}

inline unsigned ballot(bool is_set) {
  const Slots slots;
  slots.at<unsigned>(current->lane) = is_set;
  slots.at<bool>(current->lane, 32) = true;
  meet([] {});
  const unsigned first = current->number & ~31u;
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32 && first + lane < block.threads.size(); lane++)
    if (slots.at<unsigned>(lane)) votes |= 1u << lane;
  return votes;
}

}  // namespace merak_emulation

inline void __syncwarp(unsigned = 0xffffffffu) { merak_emulation::meet([] {}); }
template <class T>
T __shfl_sync(unsigned, T value, int lane, int width = 32) {
  const unsigned own = merak_emulation::current->lane;
  return merak_emulation::exchange(value, (own & ~(width - 1u)) | (static_cast<unsigned>(lane) & (width - 1u)));
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int bits, int width = 32) {
  const unsigned own = merak_emulation::current->lane, from = own ^ static_cast<unsigned>(bits);
  return merak_emulation::exchange(value, (from / width) == (own / width) ? from : own);
}
template <class T>
T __shfl_down_sync(unsigned, T value, unsigned delta, int width = 32) {
  const unsigned own = merak_emulation::current->lane, from = own + delta;
  return merak_emulation::exchange(value, (from / width) == (own / width) ? from : own);
}
template <class T>
T __shfl_up_sync(unsigned, T value, unsigned delta, int width = 32) {
  const unsigned own = merak_emulation::current->lane, from = own - delta;
  return merak_emulation::exchange(value, own >= delta && (from / width) == (own / width) ? from : own);
}
inline unsigned __ballot_sync(unsigned, int is_set) { return merak_emulation::ballot(is_set != 0); }
inline int __any_sync(unsigned, int is_set) { return merak_emulation::ballot(is_set != 0) != 0; }
inline int __all_sync(unsigned, int is_set) { return merak_emulation::ballot(is_set == 0) == 0; }
