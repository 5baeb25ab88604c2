// The plans of layout_plan.h that take several copies: blocks of pixels and mirrored borders.
#pragma once
#include "ops/cpu/layout_plan.h"

namespace merak {

LayoutPlan plan_space_to_batch(const NodeSpec& spec);
LayoutPlan plan_batch_to_space(const NodeSpec& spec);
LayoutPlan plan_depth_to_space(const NodeSpec& spec);
LayoutPlan plan_mirror_pad(const NodeSpec& spec);

}  // namespace merak
