// The table of contracts, kernel by kernel; each file beside this one adds the rules of a family.
#pragma once
#include <functional>        // rules
#include <initializer_list>  // names
#include <string>            // names
#include <unordered_map>     // the table

#include "engine/kernel.h"  // NodeSpec

namespace merak::contracts {

using Rule = std::function<void(const NodeSpec&)>;

class Rules {
 public:
  void add(std::initializer_list<const char*> kernels, const Rule& rule) {
    for (const char* kernel : kernels) table_[kernel] = rule;
  }
  // Null where nothing holds but what holds for every kernel.
  const Rule* find(const std::string& kernel) const {
    const auto found = table_.find(kernel);
    return found == table_.end() ? nullptr : &found->second;
  }

 private:
  std::unordered_map<std::string, Rule> table_;
};

void add_product_rules(Rules& rules);
void add_elementwise_rules(Rules& rules);
void add_reduction_rules(Rules& rules);
void add_movement_rules(Rules& rules);
void add_indexing_rules(Rules& rules);
void add_image_rules(Rules& rules);
void add_fused_rules(Rules& rules);
void add_collective_rules(Rules& rules);

}  // namespace merak::contracts
