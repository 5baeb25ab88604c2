// Libraries that know their version and nothing else: too old ones, and ones that lack what is needed.
#include "version.h"  // version_setting

extern "C" __attribute__((visibility("default"))) int cuDriverGetVersion(int* version) {
  *version = merak_standin::version_setting("CUDA", 13000);
  return 0;
}
extern "C" __attribute__((visibility("default"))) int ncclGetVersion(int* version) {
  *version = merak_standin::version_setting("NCCL", 22907);
  return 0;
}
extern "C" __attribute__((visibility("default"))) size_t cudnnGetVersion() {
  return static_cast<size_t>(merak_standin::version_setting("CUDNN", 91002));
}
