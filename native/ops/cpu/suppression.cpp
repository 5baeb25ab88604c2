// Non-maximum suppression: NonMaxSuppressionV3, V4 and V5. Results fill their tensors from the front, zeros follow; the last
// output counts them (src/trace/rules/dynamic.ts).
#include <cmath>    // exp
#include <cstring>  // memset
#include <queue>    // candidates by score

#include "ops/cpu/make_kernel.h"

namespace merak {
namespace {

struct Candidate {
  double score;
  int32_t box;
  size_t first_unseen;  // selected boxes before this one have had their say
  // The highest score first; of equal scores the smaller box number.
  bool operator<(const Candidate& other) const { return score != other.score ? score < other.score : box > other.box; }
};

// Boxes are two opposite corners (y, x, y, x) in any order.
double intersection_over_union(const float* boxes, int32_t i, int32_t j) {
  const float *a = boxes + i * 4, *b = boxes + j * 4;
  const double top_a = std::min(a[0], a[2]), left_a = std::min(a[1], a[3]);
  const double bottom_a = std::max(a[0], a[2]), right_a = std::max(a[1], a[3]);
  const double top_b = std::min(b[0], b[2]), left_b = std::min(b[1], b[3]);
  const double bottom_b = std::max(b[0], b[2]), right_b = std::max(b[1], b[3]);
  const double area_a = (bottom_a - top_a) * (right_a - left_a), area_b = (bottom_b - top_b) * (right_b - left_b);
  if (area_a <= 0 || area_b <= 0) return 0;
  const double height = std::max(std::min(bottom_a, bottom_b) - std::max(top_a, top_b), 0.0);
  const double width = std::max(std::min(right_a, right_b) - std::max(left_a, left_b), 0.0);
  return height * width / (area_a + area_b - height * width);
}

struct Suppression {
  size_t limit;
  double iou_threshold, score_threshold;
  double decay;  // of exp(decay iou^2), soft suppression (Bodla et al., 2017); 0: boxes that overlap too much go, others stay

  void select(const float* boxes, const float* scores, int32_t num_boxes, std::vector<Candidate>& selected) const {
    std::priority_queue<Candidate> queue;
    for (int32_t i = 0; i < num_boxes; i++)
      if (scores[i] > score_threshold) queue.push({scores[i], i, 0});
    while (selected.size() < limit && !queue.empty()) {
      Candidate candidate = queue.top();
      queue.pop();
      const double original = candidate.score;
      bool suppressed = false;
      for (size_t j = selected.size(); j-- > candidate.first_unseen;) {
        const double iou = intersection_over_union(boxes, candidate.box, selected[j].box);
        if (iou >= iou_threshold) {
          suppressed = true;
          break;
        }
        candidate.score *= std::exp(decay * iou * iou);
        if (candidate.score <= score_threshold) break;
      }
      if (suppressed) continue;
      candidate.first_unseen = selected.size();
      if (candidate.score == original) selected.push_back(candidate);
      else if (candidate.score > score_threshold) queue.push(candidate);
    }
  }
};

std::unique_ptr<Kernel> make_suppression(const NodeSpec& spec) {
  const size_t boxes_at = input_index(spec, "boxes"), scores_at = input_index(spec, "scores");
  const TensorType &boxes = spec.inputs[boxes_at], &scores = spec.inputs[scores_at];
  require(boxes.dtype == DType::f32 && scores.dtype == DType::f32, "boxes and scores must be float32");
  require(scores.shape.size() == 1 && boxes.shape == Shape({scores.shape[0], 4}), "boxes must be [n, 4] and scores [n]");
  const bool with_scores = spec.kernel == "NonMaxSuppressionV5";
  const size_t count_at = with_scores ? 2 : 1;
  require(spec.outputs.size() == count_at + 1 && spec.outputs[count_at].numel() == 1 && spec.outputs[count_at].dtype == DType::i32,
          "the last output must count the boxes");
  const double sigma = with_scores ? spec.attrs.number("softNmsSigma", 0) : 0;
  const Suppression suppression = {static_cast<size_t>(spec.outputs[0].numel()), spec.attrs.number("iouThreshold"),
                                   spec.attrs.number("scoreThreshold"), sigma > 0 ? -0.5 / sigma : 0.0};
  const int32_t num_boxes = static_cast<int32_t>(scores.shape[0]);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    std::vector<Candidate> selected;
    suppression.select(static_cast<const float*>(in[boxes_at]), static_cast<const float*>(in[scores_at]), num_boxes, selected);
    for (size_t i = 0; i < suppression.limit; i++) {
      static_cast<int32_t*>(out[0])[i] = i < selected.size() ? selected[i].box : 0;
      if (with_scores) static_cast<float*>(out[1])[i] = i < selected.size() ? static_cast<float>(selected[i].score) : 0.0f;
    }
    static_cast<int32_t*>(out[count_at])[0] = static_cast<int32_t>(selected.size());
  });
}

}  // namespace

void register_suppression_kernels() {
  register_kernel("NonMaxSuppressionV3", make_suppression);
  register_kernel("NonMaxSuppressionV4", make_suppression);
  register_kernel("NonMaxSuppressionV5", make_suppression);
}

}  // namespace merak
