#pragma once
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>

#include "xinslm/core/file.h"

namespace xinslm {

/// A tensor whose values are a file's bytes from `offset` on, mapped; not to be written to. The map lives as long as
/// the tensor. @pre the bytes are there and lie at a multiple of the type's alignment
at::Tensor map_tensor(const std::shared_ptr<MappedFile>& file, size_t offset, at::IntArrayRef sizes,
                      at::ScalarType type);

/// Whether map_tensor() made it, or the tensor it is a view of.
bool is_mapped(const at::Tensor& tensor);

/// Gives back the memory of a mapped tensor's whole pages, so that what was copied out of a file is not held twice. The
/// values stay readable and come from the file again. Where little memory is unused, the system's copy of the file goes
/// too: taken from it in small pieces later, it would leave no large pages for what was copied. Does nothing for other
/// tensors.
void forget_pages(const at::Tensor& tensor);

/// The tensor on a device in a type; itself where it is there already. Towards a GPU it is copied once, straight out of
/// the file's map where it lies in one, and changes its type there: LibTorch would convert it into memory of the
/// processor first. The map's pages are given back then.
at::Tensor moved_to(at::Device device, const at::Tensor& tensor, at::ScalarType type);

}  // namespace xinslm
