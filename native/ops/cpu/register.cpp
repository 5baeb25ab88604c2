// The list of kernel families: one line here per register function.
#include "ops/cpu/register.h"

namespace merak {

void register_matmul_kernels();
void register_quantised_kernels();
void register_accumulate_kernels();
void register_column_sum_kernels();
void register_collective_kernels();
void register_random_kernels();
void register_dropout_kernels();
void register_embedding_kernels();
void register_crossentropy_kernels();
void register_gelu_kernels();
void register_layernorm_kernels();
void register_batch_norm_kernels();
void register_attention_kernels();
void register_conv_kernels();
void register_unary_kernels();
void register_binary_kernels();
void register_fill_cast_kernels();
void register_layout_kernels();
void register_reduce_kernels();
void register_scan_kernels();
void register_gather_scatter_kernels();
void register_generate_kernels();
void register_softmax_kernels();
void register_normalisation_kernels();
void register_pool_kernels();
void register_dilation_kernels();
void register_resize_kernels();
void register_einsum_kernels();
void register_suppression_kernels();
void register_search_kernels();
void register_warp_kernels();
void register_matrix_kernels();

void register_cpu_kernels() {
  register_matmul_kernels();
  register_quantised_kernels();
  register_accumulate_kernels();
  register_column_sum_kernels();
  register_collective_kernels();
  register_random_kernels();
  register_dropout_kernels();
  register_embedding_kernels();
  register_crossentropy_kernels();
  register_gelu_kernels();
  register_layernorm_kernels();
  register_batch_norm_kernels();
  register_attention_kernels();
  register_conv_kernels();
  register_unary_kernels();
  register_binary_kernels();
  register_fill_cast_kernels();
  register_layout_kernels();
  register_reduce_kernels();
  register_scan_kernels();
  register_gather_scatter_kernels();
  register_generate_kernels();
  register_softmax_kernels();
  register_normalisation_kernels();
  register_pool_kernels();
  register_dilation_kernels();
  register_resize_kernels();
  register_einsum_kernels();
  register_suppression_kernels();
  register_search_kernels();
  register_warp_kernels();
  register_matrix_kernels();
}

}  // namespace merak
