#include "config/validate.h"

#include <ATen/Context.h>

#include <algorithm>

#include "config/fields.h"
#include "xinslm/config/settings.h"
#include "xinslm/core/error.h"

namespace xinslm {
namespace {

/// "mine.yaml:14: training.max_seq_length is 1024", the default marked as one, as every error here begins.
class Blame {
 public:
  explicit Blame(const Settings& settings) : settings_(settings) {}

  /// Where the key was set; the file itself for keys it leaves at their defaults.
  std::string place_of(const std::string& key) const {
    const auto found = settings_.origins.find(key);
    return found != settings_.origins.end() ? found->second : settings_.source;
  }

  template <class Value>
  std::string subject(const std::string& key, const Value& value) const {
    return cat(prefix_of(place_of(key)), key, " is ", value, settings_.origins.contains(key) ? "" : " (the default)");
  }

 private:
  const Settings& settings_;
};

void check_tokenizer(const Settings& settings, const Blame& blame) {
  const int64_t size = settings.tokenizer.vocab_size;
  if (size > settings.model.vocab_size) {
    usage_error(blame.subject("tokenizer.vocab_size", size), ", more than model.vocab_size ",
                settings.model.vocab_size);
  }
}

void check_data(const DataSettings& data, const Blame& blame) {
  if (data.train.empty()) {
    usage_error(prefix_of(blame.place_of("data.train")),
                "data.train is empty, expected files, folders, globs, - or builtin");
  }
  const auto from_input = std::count(data.train.begin(), data.train.end(), "-") +
                          std::count(data.validation.begin(), data.validation.end(), "-");
  if (from_input > 1) {
    usage_error(prefix_of(blame.place_of("data.train")),
                "- stands more than once in data.train and data.validation; standard input can be read only once");
  }
}

void check_length(const Settings& settings, const Blame& blame) {
  const TrainingSettings& training = settings.training;
  if (training.max_seq_length > settings.model.max_position_embeddings) {
    usage_error(blame.subject("training.max_seq_length", training.max_seq_length),
                ", more than model.max_position_embeddings ", settings.model.max_position_embeddings);
  }
  if (training.max_steps == 0 && training.num_train_epochs == 0 && training.max_minutes == 0) {
    usage_error(blame.subject("training.num_train_epochs", 0),
                ", and so are max_steps and max_minutes; set one of them to say when the run ends");
  }
}

void check_training(const Settings& settings, const Blame& blame) {
  const TrainingSettings& training = settings.training;
  const bool validates = !settings.data.validation.empty() || settings.data.validation_share > 0;
  if (training.early_stopping_patience > 0 && !validates) {
    usage_error(blame.subject("training.early_stopping_patience", training.early_stopping_patience),
                ", but nothing is held out; set data.validation or data.validation_share");
  }
  const ModelConfig& model = settings.model;
  const bool chooses = model.num_experts > 1 && model.num_dense_layers < model.num_hidden_layers;
  if (chooses && model.num_experts_per_tok == 1 && model.router_softmax == "after") {
    usage_error(blame.subject("model.num_experts_per_tok", 1),
                ": over one chosen expert the softmax is constant and the router learns nothing; set "
                "model.router_softmax: before");
  }
}

void check_quantization(const Settings& settings, const Blame& blame) {
  const QuantizationSettings& wanted = settings.quantization;
  if (!wanted.enable_quantization) {
    if (settings.training.qat_start >= 1) return;
    usage_error(blame.subject("training.qat_start", settings.training.qat_start),
                ", but nothing will be quantised; set quantization.enable_quantization: true");
  }
  if (wanted.bits != 4) {
    usage_error(blame.subject("quantization.bits", wanted.bits),
                ", expected 4: MXFP4 is the format of the experts' weights, and there is no other");
  }
  if (wanted.group_size != 32 && wanted.group_size != 64 && wanted.group_size != 128) {
    usage_error(blame.subject("quantization.group_size", wanted.group_size),
                ", expected 32, 64 or 128: a block of MXFP4 has 32 weights, and only neighbouring blocks can share a "
                "scale");
  }
  if (!wanted.quantize_moe_weights) {
    usage_error(blame.subject("quantization.quantize_moe_weights", "false"),
                ", but the experts are what quantisation is for; set enable_quantization: false instead");
  }
  const ModelConfig& model = settings.model;
  const bool blocks = model.hidden_size % 32 == 0 && model.intermediate_size % 32 == 0;
  if (!blocks) {
    usage_error(blame.subject("quantization.enable_quantization", "true"), ", but model.hidden_size ",
                model.hidden_size, " and model.intermediate_size ", model.intermediate_size,
                " are not both multiples of 32, the size of a block");
  }
}

void check_device(const DeviceSettings& device, const Blame& blame) {
  if (!device.memory_efficient_attention) {
    usage_error(blame.subject("device.memory_efficient_attention", "false"),
                ", expected true: attention here never holds all scores at once, and there is no other kind");
  }
  const bool gpu = device.device == "mps" || (device.device == "auto" && at::hasMPS());
  if (device.empty_cache_interval != 0 && !gpu) {
    usage_error(blame.subject("device.empty_cache_interval", device.empty_cache_interval),
                ", expected 0 on a processor: only a GPU (device: mps) keeps a cache to empty");
  }
}

}  // namespace

void validate(const Settings& settings, Purpose purpose) {
  const Blame blame(settings);
  Settings copy = settings;
  for (const Field& field : collect_fields(copy).fields) check_value(field, blame.place_of(field.key));
  validate_model(settings.model, [&](const std::string& key) { return blame.place_of(key); });
  if (purpose == Purpose::model) return;
  check_tokenizer(settings, blame);
  check_data(settings.data, blame);
  check_length(settings, blame);
  check_training(settings, blame);
  check_quantization(settings, blame);
  check_device(settings.device, blame);
}

}  // namespace xinslm
