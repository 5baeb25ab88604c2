// LtProduct. cuBLASLt counts columns first: a row-major product is the product of its operands' transposes in the other order.
#include "ops/cuda/lt_product.h"

#include <mutex>          // the chosen algorithms
#include <unordered_map>  // by plan

#include "cuda/cublaslt.h"

namespace merak::cuda {
namespace {

constexpr size_t kMostWorkspace = 32 << 20;  // what NVIDIA recommends on Hopper

cudaDataType_t type_of(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : dtype == DType::f16 ? CUDA_R_16F : CUDA_R_32F; }

struct Layout {
  cublasLtMatrixLayout_t handle = nullptr;
  Layout(DType dtype, int64_t rows, int64_t columns, int64_t batch, int64_t stride) {
    // Row-major [rows, columns] is column-major [columns, rows].
    check(cublaslt().cublasLtMatrixLayoutCreate(&handle, type_of(dtype), static_cast<uint64_t>(columns), static_cast<uint64_t>(rows), columns),
          "cublasLtMatrixLayoutCreate");
    const auto count = static_cast<int32_t>(batch);
    set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count);
    set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride);
  }
  void set(cublasLtMatrixLayoutAttribute_t attribute, const void* value, size_t bytes) {
    check(cublaslt().cublasLtMatrixLayoutSetAttribute(handle, attribute, value, bytes), "cublasLtMatrixLayoutSetAttribute");
  }
  ~Layout() { cublaslt().cublasLtMatrixLayoutDestroy(handle); }
  Layout(const Layout&) = delete;
};

struct Operation {
  cublasLtMatmulDesc_t handle = nullptr;
  Operation(const LtPlan& plan) {
    const bool fast = plan.tf32 && plan.operands == DType::f32;
    check(cublaslt().cublasLtMatmulDescCreate(&handle, fast ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    const cublasOperation_t left = plan.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, right = plan.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    set(CUBLASLT_MATMUL_DESC_TRANSA, left);
    set(CUBLASLT_MATMUL_DESC_TRANSB, right);
    const bool bias = plan.has_bias;
    const cublasLtEpilogue_t epilogue = plan.gelu == LtPlan::Gelu::gradient  ? CUBLASLT_EPILOGUE_DGELU
                                        : plan.gelu == LtPlan::Gelu::forward ? (bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX)
                                                                             : (bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (plan.gelu != LtPlan::Gelu::none) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, plan.n);
  }
  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    check(cublaslt().cublasLtMatmulDescSetAttribute(handle, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  }
  ~Operation() { cublaslt().cublasLtMatmulDescDestroy(handle); }
  Operation(const Operation&) = delete;
};

struct Choice {
  cublasLtMatmulAlgo_t algorithm{};
  size_t workspace = 0;
};

std::string key_of(const Device& device, const LtPlan& p) {
  std::string key = std::to_string(device.ordinal());
  for (const int64_t number : {p.m, p.n, p.k, p.batch, int64_t{p.transpose_a}, int64_t{p.transpose_b}, p.a_stride, p.b_stride, p.d_stride,
                               static_cast<int64_t>(p.operands), static_cast<int64_t>(p.result), int64_t{p.tf32}, int64_t{p.has_bias}, static_cast<int64_t>(p.gelu)})
    key += "," + std::to_string(number);
  return key;
}

}  // namespace

struct LtProduct::State {
  Device* device;
  Operation operation;
  Layout a, b, d;
  Choice choice;
  bool has_bias, has_aux;

  State(Device& on, const LtPlan& p)
      : device(&on),
        operation(p),
        a(p.operands, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.batch, p.a_stride),
        b(p.operands, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.batch, p.b_stride),
        d(p.result, p.m, p.n, p.batch, p.d_stride),
        has_bias(p.has_bias),
        has_aux(p.gelu != LtPlan::Gelu::none) {}

  Choice choose(const LtPlan& plan) {
    static std::mutex mutex;
    static std::unordered_map<std::string, Choice> choices;
    const std::lock_guard lock(mutex);
    const std::string key = key_of(*device, plan);
    if (const auto found = choices.find(key); found != choices.end()) return found->second;
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublaslt().cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      check(cublaslt().cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value), "cublasLtMatmulPreferenceSetAttribute");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMostWorkspace);
    // What values of a plan are aligned to at least; views may begin inside them.
    const uint32_t alignment = 16;
    for (const auto attribute : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                 CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      prefer(attribute, alignment);
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    const cublasStatus_t status = cublaslt().cublasLtMatmulAlgoGetHeuristic(device->lt(), operation.handle, b.handle, a.handle, d.handle, d.handle,
                                                                            preference, 1, &result, &found);
    cublaslt().cublasLtMatmulPreferenceDestroy(preference);
    require(status == CUBLAS_STATUS_SUCCESS && found > 0 && result.state == CUBLAS_STATUS_SUCCESS, "cuBLASLt has no algorithm for this product");
    return choices[key] = {result.algo, result.workspaceSize};
  }
};

LtProduct::LtProduct(Device& device, const LtPlan& plan) : is_chosen_(true) {
  // On a card that is only planned there is no cuBLASLt to ask: as much as it may take.
  if (!device.is_there()) return;
  state_ = std::make_shared<State>(device, plan);
  state_->choice = state_->choose(plan);
}

size_t LtProduct::scratch_bytes() const {
  if (state_) return rounded_up(state_->choice.workspace);
  return is_chosen_ ? kMostWorkspace : 0;
}

void LtProduct::run(const void* a, const void* b, float beta, const void* c, void* d, const void* bias, void* aux, void* scratch, CUstream stream) const {
  State& s = *state_;
  if (s.has_bias) s.operation.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  if (s.has_aux) s.operation.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux);
  const float one = 1.0f;
  s.device->make_current();
  check(cublaslt().cublasLtMatmul(s.device->lt(), s.operation.handle, &one, b, s.b.handle, a, s.a.handle, &beta, c, s.d.handle, d, s.d.handle,
                                  &s.choice.algorithm, scratch, s.choice.workspace, stream),
        "cublasLtMatmul");
}

}  // namespace merak::cuda
