// Integer matrix products, which oneDNN does not do in int32.
#pragma once
#include <memory>  // std::unique_ptr

#include "engine/kernel.h"  // Kernel

namespace merak {

std::unique_ptr<Kernel> make_integer_matmul(const NodeSpec& spec);

}  // namespace merak
