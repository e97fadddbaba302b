#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace xinslm {

/// How the bytes of a packed tensor are ordered.
enum class PackedLayout {
  checkpoint,  ///< row by row, as in model files
  rows16,      ///< sixteen rows side by side, a vector register's worth, as the products read them
};

/// "checkpoint" or "rows16".
std::string_view layout_name(PackedLayout layout);

/// @throws Error(usage) when there is no such layout
PackedLayout layout_of_name(std::string_view name);

/// What a packed tensor is made of. `values` and `scales` are described at Mxfp4Tensor and Q8Tensor.
struct PackedParts {
  std::string name;  ///< the tensor's, for messages
  PackedLayout layout = PackedLayout::checkpoint;
  std::vector<int64_t> sizes;  ///< logical ones, [..., rows, in], `in` a multiple of 32
  at::Tensor values, scales;
};

/// What the packed formats have in common. Nothing in it changes once it is made, so it may be shared between threads.
///
/// rows16: rows are filled up to a multiple of 16, and each matrix (the dimensions before rows, such as experts) is cut
/// into groups of 16 rows. A vector is 64 bytes: lane r, four bytes, belongs to row r of the group. Both tensors begin
/// at a multiple of 64 bytes.
class PackedTensor : public torch::CustomClassHolder {
 public:
  const std::string& name() const { return parts_.name; }
  PackedLayout layout() const { return parts_.layout; }
  /// Logical sizes [..., rows, in], whatever the layout.
  const std::vector<int64_t>& sizes() const { return parts_.sizes; }
  const at::Tensor& values() const { return parts_.values; }
  const at::Tensor& scales() const { return parts_.scales; }
  /// Where they lie: asking a tensor costs as much as multiplying a hundred weights.
  const void* value_data() const { return value_data_; }
  const void* scale_data() const { return scale_data_; }
  at::Device device() const { return parts_.values.device(); }
  /// What values and scales take up, filling included.
  int64_t bytes() const;

  /// "Mxfp4Tensor": also the class' name in LibTorch, under torch.classes.xinslm.
  virtual std::string_view type_name() const = 0;

  /// The parts for saving, none of them a view into something larger.
  PackedParts saved_parts() const;

 protected:
  explicit PackedTensor(PackedParts parts)
      : parts_(std::move(parts)),
        value_data_(parts_.values.const_data_ptr()),
        scale_data_(parts_.scales.const_data_ptr()) {}
  const PackedParts& parts() const { return parts_; }

 private:
  PackedParts parts_;
  const void *value_data_, *scale_data_;
};

/// One line: type, name, sizes, layout, device, bytes.
std::ostream& operator<<(std::ostream& out, const PackedTensor& tensor);

/// Weights [..., rows, in] in MXFP4 (see mxfp4.h). G = in / 32.
///
/// | layout | values, uint8 | scales, uint8 |
/// |---|---|---|
/// | checkpoint | [..., rows, G, 16], the even column of a pair in the low half of its byte | [..., rows, G] |
/// | rows16 | [..., groups, G, 256] | [..., groups, G, 16] |
///
/// The 256 bytes of a block in rows16 are 4 vectors; vector v has columns 8v to 8v + 7, and byte b of a lane has column
/// 8v + b in its low half and 8v + 4 + b in its high half: one mask and one shift give two vectors of four neighbouring
/// columns. Rows that fill up are zeros of scale 0.
class Mxfp4Tensor final : public PackedTensor {
 public:
  /// Takes the parts as they are. @throws Error(data), naming the tensor, when sizes or types do not fit the layout
  explicit Mxfp4Tensor(PackedParts parts);

  /// @param blocks  [..., rows, G, 16] uint8, not copied
  /// @param scales  [..., rows, G] uint8, not copied
  /// @throws Error(data), naming the tensor, when sizes or types are others
  static c10::intrusive_ptr<Mxfp4Tensor> from_checkpoint(const at::Tensor& blocks, const at::Tensor& scales,
                                                         const std::string& name);

  /// The same weights in another layout; shares memory only where nothing changes. Back and forth gives the same bytes.
  /// Runs in parallel, on the CPU.
  /// @throws Error(data) when a scale is 255 (NaN) and the layout becomes rows16: the products do not look for it
  c10::intrusive_ptr<Mxfp4Tensor> repack(PackedLayout layout) const;

  c10::intrusive_ptr<Mxfp4Tensor> to(at::Device device) const;

  /// On a device, in the layout that its products read: rows16 on the processor, that of checkpoints elsewhere. What a
  /// file's map held of weights that moved is given back. @throws Error(data) as repack() does
  c10::intrusive_ptr<Mxfp4Tensor> for_products(at::Device device) const;

  /// [..., rows, in] float32, float16 or bfloat16; exact in float32 and bfloat16. @throws Error(usage) for other types
  at::Tensor dequantize(at::ScalarType type) const;

  std::string_view type_name() const override { return "Mxfp4Tensor"; }
};

/// Weights [..., rows, in] in blocks of 8-bit integers (see q8.h). G = in / 32.
///
/// | layout | values | scales |
/// |---|---|---|
/// | checkpoint | [..., rows, in] int8 | [..., rows, G] float16 |
/// | rows16 | [..., groups, G, 512] uint8 | [..., groups, G, 16] float16 |
///
/// The 512 bytes of a block in rows16 are 8 vectors; vector v has columns 4v to 4v + 3, and byte b of a lane is the
/// integer of column 4v + b plus 128: products of bytes want one side unsigned. Rows that fill up are 128 of scale 0.
class Q8Tensor final : public PackedTensor {
 public:
  /// Takes the parts as they are. @throws Error(data), naming the tensor, when sizes or types do not fit the layout
  explicit Q8Tensor(PackedParts parts);

  /// @param values  [..., rows, in] int8, not copied
  /// @param scales  [..., rows, G] float16, not copied
  /// @throws Error(data), naming the tensor, when sizes or types are others
  static c10::intrusive_ptr<Q8Tensor> from_checkpoint(const at::Tensor& values, const at::Tensor& scales,
                                                      const std::string& name);

  /// The same weights in another layout; shares memory only where nothing changes. Back and forth gives the same bytes.
  /// Runs in parallel, on the CPU.
  c10::intrusive_ptr<Q8Tensor> repack(PackedLayout layout) const;

  c10::intrusive_ptr<Q8Tensor> to(at::Device device) const;

  /// As Mxfp4Tensor's.
  c10::intrusive_ptr<Q8Tensor> for_products(at::Device device) const;

  /// [..., rows, in] float32, float16 or bfloat16. @throws Error(usage) for other types
  at::Tensor dequantize(at::ScalarType type) const;

  /// Rows of a matrix [rows, in] decoded, as an embedding looks them up: [..., in] of the type given.
  /// @param ids  [...] int64 in [0, rows), not checked
  at::Tensor select_rows(const at::Tensor& ids, at::ScalarType type) const;

  /// One row of a matrix [rows, in] on the processor. @param to  [in]
  void decode_row(int64_t row, float* to) const;

  std::string_view type_name() const override { return "Q8Tensor"; }
};

}  // namespace xinslm
