// What changes from step to step, in device memory, so that a captured graph stays valid. Read by host and device code alike.
#pragma once

// Why a step's update must leave everything as it is.
enum { MERAK_FINITE = 0, MERAK_LOSS_NOT_FINITE = 1, MERAK_ACTIVATION_NAN = 2, MERAK_NORM_NOT_FINITE = 4, MERAK_INDEX_OUTSIDE = 8, MERAK_OVERFLOW = 16 };

struct MerakStep {
  unsigned long long seed;
  unsigned step;
  int micro;           // of the program running
  float learning_rate;
  float scale;         // gradients are multiplied by it before anything is made of them: the mean
  float loss_scale;    // the loss has been multiplied by it (1: not at all); gradients are divided by it
  float clip;          // then by this: 1 unless the gradients are clipped
  float correction1;   // Adam: 1 / (1 - beta1^t) and 1 / (1 - beta2^t), t counting this update
  float correction2;
  float decay_factor;  // of matrices: 1 - learning rate * weight decay
  int bad;             // bits of the enum above; set by whoever finds out first, cleared when the step begins
  int bad_micro;       // the micro-batch of the first one found
  double norm;         // of all ranks' gradients times scale, before clipping
  int index, limit;    // with MERAK_INDEX_OUTSIDE: an id or label that is not in [0, limit)
};

#if defined(__CUDACC__) || defined(MERAK_EMULATION)
// Kernels are given the step as something to read; this is what they may say in it.
__device__ inline void note_outside(MerakStep* step, int index, int limit) {
  if (!step || atomicOr(&step->bad, (int)MERAK_INDEX_OUTSIDE) & MERAK_INDEX_OUTSIDE) return;
  step->bad_micro = step->micro;
  step->index = index;
  step->limit = limit;
}
#endif
