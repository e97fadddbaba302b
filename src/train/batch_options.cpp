#include "xinslm/train/batch_options.h"

#include <ATen/ATen.h>

namespace xinslm {

ForwardOptions batch_options(const Batch& batch, at::Device device) {
  ForwardOptions options;
  if (batch.document_ids.defined()) options.document_ids = batch.document_ids.to(device);
  if (batch.real_places.defined()) options.real_places = batch.real_places.to(device);
  return options;
}

}  // namespace xinslm
