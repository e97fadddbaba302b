#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "xinslm/config/field.h"
#include "xinslm/config/generation_settings.h"
#include "xinslm/config/model_config.h"

namespace xinslm {

constexpr double largest_steps = 1e9;   // steps, batches and the like
constexpr double largest_count = 1e15;  // bytes and documents

/// Where the tokenizer comes from, or how one is trained from the training text.
struct TokenizerSettings {
  std::string path;
  std::string type = "bpe";
  int64_t vocab_size = 0;
  double character_coverage = 0.9999;
  int64_t max_training_bytes = 64 << 20;
  std::vector<std::string> keep_words;

  template <class V>
  void describe(V& field) {
    field("path", path, anything(), "model folder or tokenizer.model file; empty = train one from the training text");
    field("type", type, one_of({"bpe", "unigram"}), "kind of SentencePiece model to train");
    field("vocab_size", vocab_size, between(0, 1 << 24), "tokens to train; 0 = model.vocab_size");
    field("character_coverage", character_coverage, between(0.98, 1.0),
          "share of the text's characters that get a token of their own; the rest is spelt in bytes");
    field("max_training_bytes", max_training_bytes, between(1024, largest_count),
          "text the tokenizer is trained from, in bytes");
    field("keep_words", keep_words, anything(), "strings that always become one token, for example <unk> and <eos>",
          "tokenizer.user_defined_symbols");
  }
};

/// What is read and how it becomes documents.
struct DataSettings {
  std::vector<std::string> train = {"builtin"};
  std::vector<std::string> validation;
  double validation_share = 0.01;
  std::string format = "auto";
  std::string separator = "<|endoftext|>";
  std::string line_end;
  std::string cache_dir;
  bool shuffle = true;
  bool document_attention = false;
  bool whole_documents = false;
  bool skip_bad_lines = false;
  int64_t builtin_documents = 20000;
  int64_t max_bytes = 0;
  int64_t num_workers = 0;

  template <class V>
  void describe(V& field) {
    field("train", train, anything(),
          "files, folders or globs of .txt, .jsonl and .gz; - = standard input; builtin = the built-in stories");
    field("validation", validation, anything(), "held-out files, written like train; empty = take validation_share");
    field("validation_share", validation_share, from_to_below(0, 1),
          "share of the training documents held out when validation is empty");
    field("format", format, one_of({"auto", "text", "jsonl"}), "auto goes by the file's name and first line");
    field("separator", separator, anything(), "line between documents of a text file; empty = one document per file");
    field(
        "line_end", line_end, anything(),
        "replaces every end of line in text files, for example \" <eos> \" for wikitext; empty = keep the line break");
    field("cache_dir", cache_dir, anything(), "folder for tokenised text; empty = the user's cache folder");
    field("shuffle", shuffle, anything(), "new order of the documents in every epoch");
    field("document_attention", document_attention, anything(), "attention stays inside one document");
    field("whole_documents", whole_documents, anything(),
          "documents that fit into a sequence are not cut; a few places stay empty. Otherwise they follow each other "
          "without a gap and the end of a sequence cuts them");
    field("skip_bad_lines", skip_bad_lines, anything(),
          "lines of .jsonl files that cannot be read are left out, counted and named; false = the first one stops the "
          "run");
    field("builtin_documents", builtin_documents, between(10, largest_count), "stories the built-in corpus generates");
    field("max_bytes", max_bytes, between(0, largest_count), "text read for training, in bytes; 0 = all");
    field("num_workers", num_workers, between(0, 1024), "threads that tokenise; 0 = one per core",
          "device.num_workers");
  }
};

/// The training run. Dropouts and losses that are 0 cost nothing.
struct TrainingSettings {
  std::string output_dir = "runs/latest";
  int64_t seed = 42;
  int64_t per_device_train_batch_size = 8;
  int64_t gradient_accumulation_steps = 1;
  int64_t max_seq_length = 512;
  double num_train_epochs = 1;
  int64_t max_steps = 0;
  double max_minutes = 0;
  double learning_rate = 3e-4;
  double min_lr_ratio = 0.1;
  int64_t warmup_steps = 100;
  std::string lr_scheduler_type = "cosine";
  double wsd_decay_share = 0.2;
  std::string optimizer = "adamw";
  double weight_decay = 0.1;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.95;
  double adam_epsilon = 1e-8;
  double muon_learning_rate = 0.02;
  double muon_momentum = 0.95;
  double max_grad_norm = 1.0;
  std::string compute_type = "auto";
  double label_smoothing = 0;
  double ema_decay = 0;
  double qat_start = 1;
  double router_aux_loss_coef = 0.01;
  double router_z_loss_coef = 0.001;
  double router_bias_update_rate = 0;
  double word_dropout = 0;
  double input_dropout = 0;
  double hidden_dropout = 0;
  double output_dropout = 0;
  bool gradient_checkpointing = false;
  std::string loss_on = "assistant";
  int64_t eval_steps = 500;
  int64_t eval_batches = 0;
  int64_t save_steps = 500;
  double save_minutes = 10;
  int64_t save_total_limit = 2;
  std::string save_type = "float32";
  int64_t logging_steps = 10;
  int64_t early_stopping_patience = 0;
  int64_t max_bad_steps = 10;

  /// Sequences behind one optimiser step.
  int64_t sequences_per_step() const { return per_device_train_batch_size * gradient_accumulation_steps; }
  int64_t tokens_per_step() const { return sequences_per_step() * max_seq_length; }

  template <class V>
  void describe(V& field) {
    field("output_dir", output_dir, anything(), "folder of the run: model/, checkpoints/, metrics.jsonl, report.html");
    field("seed", seed, at_least(0), "every random choice follows from it");
    field("per_device_train_batch_size", per_device_train_batch_size, between(1, 1 << 20),
          "sequences computed at a time");
    field("gradient_accumulation_steps", gradient_accumulation_steps, between(1, 1 << 20),
          "batches behind one optimiser step");
    field("max_seq_length", max_seq_length, between(2, 1 << 24), "tokens of a training sequence");
    field("num_train_epochs", num_train_epochs, between(0, 1e6),
          "passes over the data when max_steps and max_minutes are 0");
    field("max_steps", max_steps, between(0, largest_steps),
          "optimiser steps, in place of num_train_epochs; 0 = not limited");
    field("max_minutes", max_minutes, between(0, 1e7),
          "time for the run; the schedule is laid over the steps that fit; 0 = not limited");
    field("learning_rate", learning_rate, above_to(0, 1e30), "peak learning rate");
    field("min_lr_ratio", min_lr_ratio, between(0, 1), "the schedule ends at this share of learning_rate");
    field("warmup_steps", warmup_steps, between(0, largest_steps), "steps of linear rise to the peak");
    field("lr_scheduler_type", lr_scheduler_type, one_of({"cosine", "linear", "constant", "wsd"}),
          "after the warm-up; wsd = constant, then linear fall");
    field("wsd_decay_share", wsd_decay_share, between(0, 1), "share of the steps that wsd falls over");
    field("optimizer", optimizer, one_of({"adamw", "muon"}),
          "muon = Muon for matrices, AdamW for embeddings, head, router, gains, biases and sinks");
    field("weight_decay", weight_decay, between(0, 1000), "decoupled; not applied to gains, biases, sinks");
    field("adam_beta1", adam_beta1, from_to_below(0, 1), "decay of the first moment");
    field("adam_beta2", adam_beta2, from_to_below(0, 1), "decay of the second moment");
    field("adam_epsilon", adam_epsilon, between(1e-30, 1), "added to the root of the second moment");
    field("muon_learning_rate", muon_learning_rate, above_to(0, 1e30), "peak learning rate of the matrices under muon");
    field("muon_momentum", muon_momentum, from_to_below(0, 1), "momentum under muon");
    field("max_grad_norm", max_grad_norm, between(0, 1e30), "gradients are scaled down to this norm; 0 = off");
    field("compute_type", compute_type, one_of({"auto", "float32", "bfloat16", "float16"}),
          "type of the products; auto measures which is faster; weights are kept in float32; float16 on mps only");
    field("label_smoothing", label_smoothing, from_to_below(0, 1), "share of each target spread over the vocabulary");
    field("ema_decay", ema_decay, from_to_below(0, 1), "moving average of the weights, which is saved; 0 = off");
    field("qat_start", qat_start, between(0, 1),
          "share of the steps after which the experts compute with their weights rounded to MXFP4 (quantisation-aware "
          "training); 1 = never");
    field("router_aux_loss_coef", router_aux_loss_coef, between(0, 1e6), "weight of the load-balancing loss");
    field("router_z_loss_coef", router_z_loss_coef, between(0, 1e6), "weight of the loss on large router logits");
    field("router_bias_update_rate", router_bias_update_rate, between(0, 1000),
          "step of the bias that balances without a loss (arXiv 2408.15664); 0 = off");
    field("word_dropout", word_dropout, between(0, 0.99), "whole words of the vocabulary dropped from the input");
    field("input_dropout", input_dropout, between(0, 0.99), "on the embedded input");
    field("hidden_dropout", hidden_dropout, between(0, 0.99), "on what each half of a block adds");
    field("output_dropout", output_dropout, between(0, 0.99), "on the last hidden states");
    field("gradient_checkpointing", gradient_checkpointing, anything(),
          "recompute each layer in the backward pass: less memory, about a third more time",
          "device.gradient_checkpointing");
    field("loss_on", loss_on, one_of({"all", "assistant"}), "which words of dialogues are learned");
    field("eval_steps", eval_steps, between(0, largest_steps), "steps between validations; 0 = at the end only");
    field("eval_batches", eval_batches, between(0, largest_steps), "batches of a validation; 0 = all");
    field("save_steps", save_steps, between(0, largest_steps), "steps between checkpoints; 0 = by time only");
    field("save_minutes", save_minutes, between(0, 1e7), "minutes between checkpoints; 0 = by steps only");
    field("save_total_limit", save_total_limit, between(1, largest_steps),
          "newest checkpoints kept; the best is kept besides");
    field("save_type", save_type, one_of({"float32", "bfloat16"}), "type of the finished model's weights");
    field("logging_steps", logging_steps, between(1, largest_steps), "steps between lines of metrics.jsonl");
    field("early_stopping_patience", early_stopping_patience, between(0, largest_steps),
          "validations without improvement before the run stops; 0 = never");
    field("max_bad_steps", max_bad_steps, between(1, largest_steps),
          "steps in a row with a loss that is not finite before giving up");
  }
};

/// What becomes of the finished model, and what quantisation-aware training rounds to.
struct QuantizationSettings {
  bool enable_quantization = false;
  int64_t bits = 4;
  int64_t group_size = 32;
  bool quantize_moe_weights = true;
  bool quantize_attention = false;

  template <class V>
  void describe(V& field) {
    field("enable_quantization", enable_quantization, anything(),
          "write the finished model in MXFP4; the float model stays beside it");
    field("bits", bits, between(2, 16), "bits of a weight; 4 is the only value, and the key is for older files");
    field("group_size", group_size, between(1, 1 << 16), "neighbouring weights that share a scale: 32, 64 or 128");
    field("quantize_moe_weights", quantize_moe_weights, anything(),
          "the experts: what MXFP4 is for; true is the only value, and the key is for older files");
    field("quantize_attention", quantize_attention, anything(), "attention too, in 8 bits");
  }
};

/// Where it runs. Also read under the older section name mac_optimizations.
struct DeviceSettings {
  std::string device = "auto";
  int64_t threads = 0;
  double memory_limit = 0;
  bool memory_efficient_attention = true;
  int64_t empty_cache_interval = 0;

  template <class V>
  void describe(V& field) {
    field("device", device, one_of({"auto", "cpu", "mps"}), "auto = Apple's GPU where there is one");
    field("threads", threads, between(0, 1024), "processor threads; 0 = one per core");
    field(
        "memory_limit", memory_limit, between(0, 1e6),
        "refuse runs that need more, in GiB, and on mps take no more; 0 = the machine's memory, on mps what its driver "
        "recommends");
    field("memory_efficient_attention", memory_efficient_attention, anything(),
          "attention never holds all scores at once; true is the only value, and the key is for older files");
    field("empty_cache_interval", empty_cache_interval, between(0, largest_steps),
          "steps between returning unused GPU memory, on mps only; 0 = never");
  }
};

/// A whole configuration, resolved: what a run uses and what it saves.
struct Settings {
  ModelConfig model;
  TokenizerSettings tokenizer;
  DataSettings data;
  TrainingSettings training;
  QuantizationSettings quantization;
  DeviceSettings device;
  GenerationSettings generation;

  std::string source;  ///< file it was read from, "" for the defaults
  /// Key ("model.hidden_size") -> where it was set ("mine.yaml:14", "--set"), for errors about it; defaults are absent.
  std::map<std::string, std::string> origins;

  template <class V>
  void describe(V& field) {
    field.section("model", model, "the architecture");
    field.section("tokenizer", tokenizer, "where the tokenizer comes from");
    field.section("data", data, "what is read");
    field.section("training", training, "the training run");
    field.section("quantization", quantization, "4-bit experts at the end of training");
    field.section("device", device, "where it runs", "mac_optimizations");
    field.section("generation", generation, "defaults of infer and chat, saved with the model");
  }
};

/// What the command line adds to a file. Later wins: preset, file, variant, overrides, reasoning effort.
struct SettingsOverrides {
  std::string model_variant = {};     ///< a preset, or a name under the file's model_variants; "" = none
  std::string reasoning_effort = {};  ///< low | medium | high, see ModelConfig::experts_at; "" = as the file says
  std::vector<std::string> assignments = {};  ///< "section.key=value", the value written as in YAML
};

Settings default_settings();

/// What a configuration is read for: a run, or the model and what is written beside it, whatever a run of it would
/// need.
enum class Purpose { run, model };

/// Reads, resolves and validates a YAML file. The effort is resolved into model.num_experts_per_tok.
/// @throws Error(data) when the file cannot be read; Error(usage) naming file, line, key, what was found, what is
/// allowed
///         and the nearest known key
Settings load_settings(const std::filesystem::path& path, const SettingsOverrides& overrides = {},
                       Purpose purpose = Purpose::run);

/// The same for text; `source` is named in errors.
Settings parse_settings(const std::string& yaml, const std::string& source, const SettingsOverrides& overrides = {},
                        Purpose purpose = Purpose::run);

/// The whole as YAML that load_settings() reads back to the same settings.
/// @param comments  adds each key's help and range
std::string dump_settings(const Settings& settings, bool comments = false);

/// Checks ranges of every section and the combinations that the purpose depends on. @throws Error(usage)
void validate(const Settings& settings, Purpose purpose = Purpose::run);

/// Every key with type, default, range and help, as Markdown.
std::string settings_reference();

/// The model of a preset. @throws Error(usage) naming the nearest known preset
ModelConfig preset_model(const std::string& name);
std::vector<std::string> preset_names();

}  // namespace xinslm
