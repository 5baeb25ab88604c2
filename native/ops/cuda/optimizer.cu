// The end of a step: square sums, clipping, the update of all parameters (docs/kernels.md, Optimizers), looking for NaN.
// KIND: 0 sgd, 1 momentum, 2 rmsprop, 3 adam; NESTEROV, CENTERED: 0 or 1. ROUNDED: the type of weights' copies in 16 bits; not defined where
// there are none.
#include "device/numbers.cuh"
#include "device/reduce.cuh"
#include "device/step.cuh"

// A piece of a parameter that one block takes. Moments that the optimizer lacks are null.
struct Piece {
  float* parameter;
  const float* gradient;
  float* moments[3];
  int length;
  int decays, counts;  // whether weights decay; whether the gradient counts in the norm
#ifdef ROUNDED
  ROUNDED* rounded;    // the piece's copy; null: it has none
#else
  void* rounded;
#endif
};

struct Settings {
  float beta1, beta2, take1, take2, epsilon, momentum, decay, take;
};

extern "C" __global__ void square_sums(const Piece* __restrict__ pieces, double* __restrict__ parts) {
  __shared__ double shared[33];
  const Piece piece = pieces[blockIdx.x];
  double sum = 0;
  if (piece.counts)
    for (int i = threadIdx.x; i < piece.length; i += blockDim.x) {
      const double x = piece.gradient[i];
      sum += x * x;
    }
  sum = sum_over_block(sum, shared);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// One block; the parts in a fixed order.
extern "C" __global__ void total_of(const double* __restrict__ parts, int count, double factor, double* sum) {
  __shared__ double shared[33];
  double total = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) total += parts[i];
  total = sum_over_block(total, shared);
  if (threadIdx.x == 0) *sum = total * factor;
}

// One thread.
extern "C" __global__ void clip_of(const double* __restrict__ parts, int count, double clip_norm, int bad, MerakStep* step) {
  double total = 0;
  for (int i = 0; i < count; i++) total += parts[i];
  const double norm = sqrt(total) * ((double)step->scale / step->loss_scale);
  step->norm = norm;
  step->clip = clip_norm > 0 ? (float)(clip_norm / (norm > clip_norm ? norm : clip_norm)) : 1.0f;
  if (!(norm - norm == 0)) step->bad |= bad;
}

__device__ inline void update_one(float& p, float g, float& a, float& b, float& c, const Settings& s, const MerakStep& step, float decay_factor) {
#if KIND == 0
  p -= step.learning_rate * g;
#elif KIND == 1
  a = s.momentum * a + g;
  p -= step.learning_rate * (NESTEROV ? g + s.momentum * a : a);
#elif KIND == 2
  a = s.decay * a + s.take * g * g;
  float spread = a + s.epsilon;
  if (CENTERED) {
    c = s.decay * c + s.take * g;
    spread = a - c * c + s.epsilon;
  }
  b = s.momentum * b + step.learning_rate * g / sqrtf(spread);
  p -= b;
#else
  a = s.beta1 * a + s.take1 * g;
  b = s.beta2 * b + s.take2 * (g * g);
  p = p * decay_factor - step.learning_rate * (a * step.correction1) / (sqrtf(b * step.correction2) + s.epsilon);
#endif
}

constexpr int kMoments = KIND == 0 ? 0 : KIND == 1 ? 1 : KIND == 2 ? 2 + CENTERED : 2;

extern "C" __global__ void __launch_bounds__(256) update(const Piece* __restrict__ pieces, Settings settings, const MerakStep* __restrict__ state) {
  const MerakStep step = *state;
  if (step.bad) return;
  const Piece piece = pieces[blockIdx.x];
  const float scale = step.scale / step.loss_scale * step.clip, decay_factor = piece.decays ? step.decay_factor : 1.0f;
  u64 places = (u64)piece.parameter | (u64)piece.gradient;
  for (int m = 0; m < kMoments; m++) places |= (u64)piece.moments[m];
#ifdef ROUNDED
  places |= (u64)piece.rounded * 2;
#endif
  const int vectors = places % 16 == 0 ? piece.length / 4 : 0;
  for (int i = threadIdx.x; i < vectors; i += blockDim.x) {
    float4 p = load4(piece.parameter + 4 * i), m[3] = {};
    const float4 g = load4(piece.gradient + 4 * i);
#pragma unroll
    for (int k = 0; k < kMoments; k++) m[k] = load4(piece.moments[k] + 4 * i);
    update_one(p.x, g.x * scale, m[0].x, m[1].x, m[2].x, settings, step, decay_factor);
    update_one(p.y, g.y * scale, m[0].y, m[1].y, m[2].y, settings, step, decay_factor);
    update_one(p.z, g.z * scale, m[0].z, m[1].z, m[2].z, settings, step, decay_factor);
    update_one(p.w, g.w * scale, m[0].w, m[1].w, m[2].w, settings, step, decay_factor);
    store4(piece.parameter + 4 * i, p);
#ifdef ROUNDED
    if (piece.rounded) store4(piece.rounded + 4 * i, p);
#endif
#pragma unroll
    for (int k = 0; k < kMoments; k++) store4(piece.moments[k] + 4 * i, m[k]);
  }
  for (int i = 4 * vectors + threadIdx.x; i < piece.length; i += blockDim.x) {
    float m[3] = {};
#pragma unroll
    for (int k = 0; k < kMoments; k++) m[k] = piece.moments[k][i];
    float p = piece.parameter[i];
    update_one(p, piece.gradient[i] * scale, m[0], m[1], m[2], settings, step, decay_factor);
    piece.parameter[i] = p;
#ifdef ROUNDED
    if (piece.rounded) piece.rounded[i] = Number<ROUNDED>::from(p);
#endif
#pragma unroll
    for (int k = 0; k < kMoments; k++) piece.moments[k][i] = m[k];
  }
}

struct Floats {
  i64 offset, length;
};

__device__ inline void note_bad(MerakStep* step, int what) {
  if (atomicOr(&step->bad, what) == 0) step->bad_micro = step->micro;
}

// A block for each span, one more for the metric (null: none).
extern "C" __global__ void check_finite(const Floats* __restrict__ spans, int num_spans, const float* metric, const unsigned char* slot, MerakStep* step) {
  if (blockIdx.x == num_spans) {
    if (threadIdx.x == 0 && metric && !(*metric - *metric == 0.0f)) note_bad(step, MERAK_LOSS_NOT_FINITE);
    return;
  }
  const Floats span = spans[blockIdx.x];
  const float* x = (const float*)(slot + span.offset);
  int found = 0;
  for (i64 i = (i64)blockIdx.y * blockDim.x + threadIdx.x; i < span.length; i += (i64)gridDim.y * blockDim.x) found |= x[i] != x[i];
  if (__any_sync(kAllLanes, found) && (threadIdx.x & 31) == 0) note_bad(step, MERAK_ACTIVATION_NAN);
}
