// Nodes that look something up by number, so that one which was given a number outside can be named: a card notes the number and its limit
// only (device/step.cuh).
#pragma once
#include <map>     // by limit
#include <set>     // kernels, names
#include <string>  // names

#include "engine/kernel.h"  // NodeSpec

namespace merak::cuda {

class IndexReaders {
 public:
  // A limit is the size of what is looked up in, or said by an attribute; which dim it is differs by kernel, so all count.
  void add(const NodeSpec& spec) {
    static const std::set<std::string> kernels = {"MerakEmbedding", "GatherV2", "GatherNd", "MerakSoftmaxCrossEntropy", "CropAndResize", "Bincount", "DenseBincount"};
    if (!kernels.contains(spec.kernel)) return;
    const std::string name = spec.scope.empty() ? spec.kernel : spec.kernel + " in " + spec.scope;
    for (const int64_t size : spec.inputs.at(0).shape) names_[size].insert(name);
    for (const char* attr : {"vocabLimit", "size"})
      if (spec.attrs.has(attr)) names_[static_cast<int64_t>(spec.attrs.number(attr, 0))].insert(name);
  }
  // Joined by "or"; "no known node" where none has this limit.
  std::string with_limit(int64_t limit) const {
    const auto found = names_.find(limit);
    if (found == names_.end()) return "no known node";
    std::string text;
    for (const std::string& name : found->second) text += (text.empty() ? "" : " or ") + name;
    return text;
  }

 private:
  std::map<int64_t, std::set<std::string>> names_;
};

}  // namespace merak::cuda
