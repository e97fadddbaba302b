#include <functional>

#include "xinslm/core/error.h"
#include "xinslm/model/estimate.h"
#include "xinslm/model/transformer.h"

namespace xinslm {
namespace {

/// Collects changes that are enough by themselves.
class RemedySearch {
 public:
  RemedySearch(const Settings& settings, int64_t available) : settings_(settings), available_(available) {}

  /// Takes the largest value below the present one that fits, if any.
  void lower(const std::string& key, int64_t from, int64_t unit, const std::function<void(Settings&, int64_t)>& set) {
    int64_t low = 0, high = (from - 1) / unit;  // low * unit is known to fit, or is zero
    while (low < high) {
      const int64_t middle = (low + high + 1) / 2;
      if (needed([&](Settings& s) { set(s, middle * unit); }) <= available_) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    if (low > 0) take(cat(key, "=", low * unit), [&](Settings& s) { set(s, low * unit); });
  }

  void take(const std::string& change, const std::function<void(Settings&)>& apply) {
    const int64_t bytes = needed(apply);
    if (bytes <= available_ && remedies_.size() < 3) remedies_.push_back({change, bytes});
  }

  bool enough() const { return remedies_.size() == 3; }
  std::vector<MemoryRemedy> remedies() && { return std::move(remedies_); }

 private:
  int64_t needed(const std::function<void(Settings&)>& apply) const {
    Settings changed = settings_;
    apply(changed);
    return training_memory(changed).total();
  }

  const Settings& settings_;
  int64_t available_;
  std::vector<MemoryRemedy> remedies_;
};

/// The largest preset below the present model that fits, with its vocabulary.
void try_presets(const Settings& settings, RemedySearch& search) {
  std::vector<std::pair<int64_t, std::string>> smaller;
  const int64_t size = count_parameters(settings.model).total;
  for (const std::string& name : preset_names()) {
    const ModelConfig model = preset_model(name);
    const int64_t count = count_parameters(model).total;
    if (count < size && model.max_position_embeddings >= settings.training.max_seq_length) {
      smaller.emplace_back(-count, name);
    }
  }
  std::sort(smaller.begin(), smaller.end());
  for (const auto& entry : smaller) {
    const std::string& name = entry.second;  // with OpenMP, clang lets no lambda capture a structured binding
    search.take("--model-variant " + name, [&](Settings& s) { s.model = preset_model(name); });
    if (search.enough()) return;
  }
}

}  // namespace

std::vector<MemoryRemedy> memory_remedies(const Settings& settings, int64_t available) {
  const TrainingSettings& training = settings.training;
  RemedySearch search(settings, available);
  if (!training.gradient_checkpointing) {
    search.take("training.gradient_checkpointing=true", [](Settings& s) { s.training.gradient_checkpointing = true; });
  }
  search.lower("training.per_device_train_batch_size", training.per_device_train_batch_size, 1,
               [](Settings& s, int64_t value) { s.training.per_device_train_batch_size = value; });
  search.lower("training.max_seq_length", training.max_seq_length, 16,
               [](Settings& s, int64_t value) { s.training.max_seq_length = value; });
  if (training.gradient_accumulation_steps > 1) {
    search.take("training.gradient_accumulation_steps=1",
                [](Settings& s) { s.training.gradient_accumulation_steps = 1; });
  }
  search.lower("model.num_hidden_layers", settings.model.num_hidden_layers, 1, [](Settings& s, int64_t value) {
    s.model.num_hidden_layers = value;
    s.model.num_dense_layers = std::min(s.model.num_dense_layers, value);
    if (!s.model.layer_types.empty()) s.model.layer_types.resize(static_cast<size_t>(value));
  });
  if (!search.enough()) try_presets(settings, search);
  return std::move(search).remedies();
}

void require_training_memory(const Settings& settings) {
  const TrainingMemory memory = training_memory(settings);
  const int64_t available = usable_memory(settings);
  if (memory.total() <= available) return;
  std::string text =
      cat("this run needs about ", memory_text(memory.total()), " of memory (weights ", memory_text(memory.weights),
          ", gradients ", memory_text(memory.gradients), ", optimiser ", memory_text(memory.optimizer + memory.average),
          ", activations ", memory_text(memory.activations), "), but there are ", memory_text(available));
  const auto remedies = memory_remedies(settings, available);
  text += remedies.empty() ? "; choose a smaller model (`xinslm info --config FILE` shows what one needs)"
                           : "; it fits with any one of:";
  for (const MemoryRemedy& remedy : remedies) {
    const bool option = remedy.change.starts_with("--");
    text += cat("\n  ", option ? "" : "--set ", remedy.change, "  (", memory_text(remedy.needed), ")");
  }
  usage_error(text);
}

}  // namespace xinslm
