#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "xinslm/config/model_config.h"
#include "xinslm/model/kv_cache.h"
#include "xinslm/model/parameter.h"
#include "xinslm/model/weights.h"

namespace xinslm {

/// What a forward pass tells about routing in one MoE layer; filled on request.
struct RouterRecord {
  at::Tensor router_logits;  ///< [N, E] float32, with gradient; N = B * T, or the number of real_places
  at::Tensor chosen;         ///< [N, k] int64
};

struct ForwardOptions {
  int64_t num_experts_per_tok = 0;  ///< 0 = the configured number
  KvCache* kv_cache = nullptr;      ///< tokens continue what it holds
  at::Tensor document_ids;          ///< [B, T] int64 or undefined; attention stays inside equal ids
  /// [N] int64, rising: the places of the flattened [B * T] tokens that hold text. The others are empty places at the
  /// ends of rows: experts neither see nor count them, and what comes out there means nothing. Undefined = all hold
  /// text.
  at::Tensor real_places;
  std::optional<int64_t> last_tokens;  ///< hidden states of so many last tokens are wanted, not of all
  bool gradient_checkpointing = false;
  double word_dropout = 0;    ///< whole words of the vocabulary dropped from the input for this pass
  double input_dropout = 0;   ///< on the embedded input
  double hidden_dropout = 0;  ///< on what each half of a block adds to the residual
  double output_dropout = 0;  ///< on the last hidden states
  uint64_t dropout_seed = 0;  ///< the same seed gives the same masks
  std::vector<RouterRecord>* router_records = nullptr;  ///< one entry per MoE layer is appended
  const std::vector<at::Tensor>* router_bias =
      nullptr;  ///< per MoE layer [E], added for the choice only (arXiv 2408.15664)
};

struct PassState;

/// The GPT-OSS transformer. Parameters are plain tensors under their Hugging Face names, in the order of the model.
/// Matrices are of the model's type; gains, biases, sinks and the router are float32, and the router computes in
/// float32. Copies share their tensors.
class Transformer {
 public:
  /// Weights from a normal distribution of initializer_range (gains one, biases and sinks zero; what is added to the
  /// residual stream is scaled by 1 / sqrt(2 L), as in GPT-2), the same for the same seed on any number of threads.
  Transformer(const ModelConfig& config, at::Device device, at::ScalarType type, uint64_t seed);
  /// No weights yet: every tensor must be set before use (load_model does).
  Transformer(const ModelConfig& config, at::Device device, at::ScalarType type);

  const ModelConfig& config() const { return config_; }
  at::Device device() const { return device_; }
  at::ScalarType type() const { return type_; }

  /// Hugging Face name -> tensor, in model order. Tied heads appear once.
  const std::vector<std::pair<std::string, at::Tensor>>& parameters() const { return parameters_; }

  /// What is said of each of them, in the same order.
  const std::vector<Parameter>& table() const { return table_; }

  /// The same model on another device or with its matrices in another type, without gradients. Tensors that are there
  /// already in their type are shared, packed ones as well.
  Transformer converted(at::Device device, at::ScalarType type) const { return converted(config_, device, type); }

  /// And with another configuration, of the same parameters. @throws Error(data) when one has another shape there, or
  /// does not belong to it
  Transformer converted(const ModelConfig& config, at::Device device, at::ScalarType type) const;

  /// Replaces a parameter; the shape must be the expected one. The tensor is shared, not copied, where device and type
  /// are already the parameter's. @throws Error(data) naming the tensor and both shapes, or an unknown name
  void set_parameter(const std::string& name, const at::Tensor& value);

  /// Gives a layer its experts' matrices in MXFP4, in place of the parameters gate_up_proj and down_proj, which stay
  /// undefined. On the processor they are kept in the layout of its products.
  /// @throws Error(data) naming the tensor and both shapes, Error(usage) for a layer without experts
  void set_packed_experts(int64_t layer, const c10::intrusive_ptr<Mxfp4Tensor>& gate_up,
                          const c10::intrusive_ptr<Mxfp4Tensor>& down);

  /// Gives a dense matrix in 8-bit blocks, in place of the parameter, which stays undefined. On the processor it is
  /// kept in the layout of its products. @throws Error(data) naming the tensor and both shapes, or a name that has no
  /// such form
  void set_packed(const std::string& name, const c10::intrusive_ptr<Q8Tensor>& value);

  /// Whether a parameter's place is taken by a packed tensor.
  bool is_packed(const std::string& name) const { return packed_.contains(name); }
  bool has_packed() const { return !packed_.empty(); }

  /// Brings some more of the matrices that each token reads, one large one or several small ones, out of a file's map,
  /// whose pages are small, into large pages of the process (core/huge_pages.h) when the machine has the memory;
  /// bfloat16 in compact form (quant/compact_bfloat16.h). Not while a pass is running.
  /// @return false when none was left
  bool move_next_matrices() const;

  /// Trains only the parameters for which `wanted` is true, all others stay as they are: they get no gradient, and what
  /// trains this model or one converted from it keeps nothing for them. By default all are trained. To be called
  /// before require_grad.
  void train_only(const std::function<bool(const Parameter&)>& wanted);

  /// Turns gradients of all parameters that are trained on or off. On: their memory-mapped weights, which must not be
  /// written to, are copied.
  /// @throws Error(usage) for a parameter on a GPU of 2^32 elements or more, which kernels there count in 32 bits
  void require_grad(bool on);

  /// @param tokens [B, T] int64
  /// @return [B, T, H] after the last norm, ready for the head; T is options.last_tokens where those are fewer
  /// @throws Error(usage) for tokens outside the vocabulary, more positions than the model has, or options that do not
  ///   go together; a pass with a kv_cache records no gradients
  at::Tensor hidden_states(const at::Tensor& tokens, const ForwardOptions& options = {}) const;

  /// @param hidden [..., H]
  /// @return [..., V] float32, soft-capped where the configuration says so
  at::Tensor logits(const at::Tensor& hidden) const;

  /// Log-probability (nats) of each target after its hidden state, with the head computed in chunks.
  /// @param hidden   [N, H]
  /// @param targets  [N] int64
  /// @param greedy   unless null becomes [N] bool: the target is the most probable token
  /// @return         [N] float32
  at::Tensor token_log_probabilities(const at::Tensor& hidden, const at::Tensor& targets,
                                     at::Tensor* greedy = nullptr) const;

  /// [V, H]: the output head, or the embedding when tied.
  const Projection& head() const { return config_.tie_word_embeddings ? weights_.embedding : weights_.head; }

  /// The parameters by their place in the model.
  const ModelWeights& weights() const { return weights_; }

 private:
  void bind_weights();
  PassState begin_pass(const at::Tensor& tokens, const ForwardOptions& options) const;
  at::Tensor embed(const at::Tensor& tokens, const ForwardOptions& options) const;

  ModelConfig config_;
  at::Device device_;
  at::ScalarType type_;
  std::vector<Parameter> table_;
  std::vector<std::pair<std::string, at::Tensor>> parameters_;
  std::set<std::string> packed_;  // names of parameters that packed tensors take the place of
  ModelWeights weights_;          // the same tensors by their place in the model
};

/// What generation keeps keys and values in unless it is told: 8-bit integers where weights are packed and the
/// processor computes, since products with packed weights round activations to 8 bits there anyway; else the model's
/// type.
at::ScalarType default_kv_type(const Transformer& model);

/// Bytes of weights, keys and values that computing one token after `length` others reads, from what the model holds.
/// @param num_experts_per_tok  0 = the configured number
/// @param kv_type              of the KV cache
int64_t bytes_read_per_token(const Transformer& model, int64_t num_experts_per_tok, int64_t length,
                             at::ScalarType kv_type);

/// Expected shape of every parameter, in model order, without allocating: for counts, estimates and loading.
std::vector<std::pair<std::string, std::vector<int64_t>>> parameter_shapes(const ModelConfig& config);

struct ParameterCounts {
  int64_t total = 0;
  int64_t active = 0;  ///< per token: chosen experts only, output head counted, input embedding not
  int64_t expert = 0;  ///< all experts' matrices: what MXFP4 packs
};

/// Counted from the shapes, for any configuration.
ParameterCounts count_parameters(const ModelConfig& config);

}  // namespace xinslm
