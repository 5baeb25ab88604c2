// Words in shared memory that one process publishes and others wait for.
#pragma once
#include <atomic>   // the words
#include <cstdint>  // fixed-width integers

namespace merak {

// Whether a counter has come as far as `target`; wrap-around is fine.
inline bool reached(uint32_t value, uint32_t target) { return static_cast<int32_t>(value - target) >= 0; }

// Stores `value` and wakes who sleeps on the word.
void publish(std::atomic<uint32_t>& word, std::atomic<uint32_t>& waiters, uint32_t value);

// Sleeps while the word is `seen`, at most so long.
void futex_sleep(std::atomic<uint32_t>& word, uint32_t seen, double seconds);

}  // namespace merak
