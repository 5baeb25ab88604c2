// Which communicator carries the exchanges of ranks on GPUs.
#include "comm/gpu/nccl_communicator.h"  // NcclCommunicator
#include "comm/gpu/staged_device.h"      // StagedDeviceCommunicator

namespace merak {

std::unique_ptr<DeviceCommunicator> make_device_communicator(cuda::Device& device, int rank, int world_size, const std::vector<GroupSpec>& groups,
                                                             bool shares_device) {
  if (!shares_device && cuda::find_nccl().library.handle) return std::make_unique<NcclCommunicator>(device, rank, world_size, groups);
  return std::make_unique<StagedDeviceCommunicator>(device, rank, world_size, groups);
}

}  // namespace merak
