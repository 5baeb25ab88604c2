// Images [batch, height, width, channels] resampled along other coordinates: CropAndResize, RotateWithOffset, Transform. Coordinates are
// computed in double, as tfjs does, and each operation rounds by itself: a fused one could tip what lies half-way. X: the number type.
#include "device/elementwise.cuh"
#include "device/step.cuh"

struct Image {
  i64 batch, height, width, channels;
};

__device__ inline i64 at_of(const Image& image, i64 b, i64 y, i64 x) { return ((b * image.height + y) * image.width + x) * image.channels; }
__device__ inline bool contains(const Image& image, double y, double x) { return y >= 0 && y < (double)image.height && x >= 0 && x < (double)image.width; }

// JavaScript's Math.round: halves go up.
__device__ inline double round_up(double x) {
  const double below = floor(x);
  return x - below >= 0.5 ? below + 1 : below;
}

__device__ inline double times(double a, double b) { return __dmul_rn(a, b); }

// An element of the result, a thread each.
struct Element {
  i64 batch, y, x, channel;
};

__device__ inline Element element_of(i64 i, const Image& result) {
  const i64 pixel = i / result.channels, row = pixel / result.width;
  return {row / result.height, row % result.height, pixel % result.width, i % result.channels};
}

// Place i of `size` between corners `from` and `to`, in units of `end`.
__device__ inline double place_of(double from, double to, double end, i64 i, i64 size) {
  if (size <= 1) return 0.5 * (from + to) * end;
  return times(from, end) + times((double)i, (to - from) * end / (double)(size - 1));
}

// Boxes [n, 4] are corners (y1, x1, y2, x2) in units of the image's height - 1 and width - 1; which [n] names each one's image.
extern "C" __global__ void crop_and_resize(const X* __restrict__ x, const float* __restrict__ boxes, const int* __restrict__ which, float* __restrict__ out, Image image, Image result,
                                           int nearest, float outside, MerakStep* step, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const Element e = element_of(i, result);
  const int from = which[e.batch];
  if (from < 0) note_outside(step, from, (int)image.batch);
  if (from < 0 || from >= image.batch) {
    out[i] = 0;  // as tfjs: nothing there
    return;
  }
  const float* box = boxes + e.batch * 4;
  const double bottom = (double)(image.height - 1), right = (double)(image.width - 1);
  const double at_y = place_of(box[0], box[2], bottom, e.y, result.height), at_x = place_of(box[1], box[3], right, e.x, result.width);
  // Negated, so that NaN is outside.
  if (!(at_y >= 0 && at_y <= bottom && at_x >= 0 && at_x <= right)) {
    out[i] = outside;
    return;
  }
  const auto value = [&](double v, double h) { return read_number<double>(x, at_of(image, from, (i64)v, (i64)h) + e.channel); };
  if (nearest) {
    out[i] = (float)value(round_up(at_y), round_up(at_x));
    return;
  }
  const double y0 = floor(at_y), y1 = ceil(at_y), x0 = floor(at_x), x1 = ceil(at_x);
  const double upper = value(y0, x0) + (value(y0, x1) - value(y0, x0)) * (at_x - x0);
  const double lower = value(y1, x0) + (value(y1, x1) - value(y1, x0)) * (at_x - x0);
  out[i] = (float)(upper + (lower - upper) * (at_y - y0));
}

// Turned about a center; where nothing comes from inside, fill[min(channel, 3)].
struct Turn {
  double sine, cosine, center_x, center_y, fill[4];
};

extern "C" __global__ void rotate(const X* __restrict__ x, X* __restrict__ out, Image image, Turn turn, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const Element e = element_of(i, image);
  const double across = (double)e.x - turn.center_x, down = (double)e.y - turn.center_y;
  const double from_x = round_up(times(across, turn.cosine) - times(down, turn.sine) + turn.center_x);
  const double from_y = round_up(times(across, turn.sine) + times(down, turn.cosine) + turn.center_y);
  if (contains(image, from_y, from_x)) out[i] = x[at_of(image, e.batch, (i64)from_y, (i64)from_x) + e.channel];
  else write_number<double>(out, i, turn.fill[e.channel < 3 ? e.channel : 3]);
}

enum { FILL_CONSTANT, FILL_REFLECT, FILL_WRAP, FILL_NEAREST };

// A coordinate outside [0, size) brought inside, as TensorFlow's ImageProjectiveTransformV3 does.
__device__ inline double bring_inside(double at, i64 size, int mode) {
  const double length = (double)size, last = length - 1;
  if (mode == FILL_CONSTANT) return at;
  if (mode != FILL_NEAREST && !(at >= 0 && at <= last)) {
    if (size <= 1) return 0;
    if (mode == FILL_REFLECT) {
      const double period = 2 * length;
      if (at < 0) {
        at = times(period, trunc(-at / period)) + at;
        at = at < -length ? at + period : -at - 1;
      } else {
        at -= times(period, trunc(at / period));
        if (at >= length) at = period - at - 1;
      }
    } else if (at < 0) {
      at += times(length, trunc(-at / last) + 1);
    } else {
      at -= times(length, trunc(at / last));
    }
  }
  return at > last ? last : at < 0 ? 0 : at;
}

// Pixel (x, y) reads the input at ((m0 x + m1 y + m2) / k, (m3 x + m4 y + m5) / k), k = m6 x + m7 y + 1; `stride` 0: one matrix for all.
extern "C" __global__ void transform(const X* __restrict__ x, const float* __restrict__ matrices, X* __restrict__ out, Image image, Image result, int stride, int nearest, int mode,
                                     double fill, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const Element e = element_of(i, result);
  const float* m = matrices + e.batch * stride;
  const double column = (double)e.x, row = (double)e.y;
  const auto map = [&](int k, double last) { return times(m[k], column) + times(m[k + 1], row) + last; };
  const double scale = map(6, 1);
  double pixel = fill;
  if (scale != 0) {
    const auto value = [&](double v, double h) { return contains(image, v, h) ? read_number<double>(x, at_of(image, e.batch, (i64)v, (i64)h) + e.channel) : fill; };
    const double at_x = bring_inside(map(0, m[2]) / scale, image.width, mode), at_y = bring_inside(map(3, m[5]) / scale, image.height, mode);
    const double x0 = floor(at_x), y0 = floor(at_y);
    if (nearest) {
      pixel = value(round_up(at_y), round_up(at_x));
    } else {
      const double upper = (x0 + 1 - at_x) * value(y0, x0) + (at_x - x0) * value(y0, x0 + 1);
      const double lower = (x0 + 1 - at_x) * value(y0 + 1, x0) + (at_x - x0) * value(y0 + 1, x0 + 1);
      pixel = (y0 + 1 - at_y) * upper + (at_y - y0) * lower;
    }
  }
  write_number<double>(out, i, pixel);
}
