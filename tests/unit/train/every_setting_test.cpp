#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "config/fields.h"
#include "unit/format/temporary_folder.h"
#include "unit/generate/byte_tokenizer.h"
#include "xinslm/core/file.h"
#include "xinslm/core/hash.h"
#include "xinslm/core/log.h"
#include "xinslm/data/builtin_corpus.h"
#include "xinslm/model/estimate.h"
#include "xinslm/train/metrics.h"
#include "xinslm/train/prepare.h"
#include "xinslm/train/train.h"

// Every setting means something: for each key this table has a change and what it changes of a small run. A key that is
// not here, or whose change leaves that as it was, fails.

namespace xinslm {
namespace {

namespace fs = std::filesystem;

/// What is looked at.
enum class Part {
  weights,     // the trained weights
  metrics,     // steps and losses of metrics.jsonl
  outcome,     // how many steps were made, or why none was
  model,       // config.json
  generation,  // generation_config.json
  tokenizer,   // tokenizer.model
  files,       // names of the run's files and folders
  packed,      // the run's model after quantisation
  cache,       // whether the folder for tokens is filled
  memory,      // what the estimate says
  threads,     // LibTorch's threads
  refused,     // the value is refused
  elsewhere,   // seen by the test named in `context`
};

struct Change {
  const char* key;
  const char* value;
  Part part;
  std::vector<std::string> context = {};  // what both runs have besides
};

const std::vector<Change>& table() {
  const std::string yarn = "model.rope.type=yarn", pack = "quantization.enable_quantization=true",
                    muon = "training.optimizer=muon";
  static const std::vector<Change> changes = {
      {"model.preset", "wikitext2", Part::weights},
      {"model.reasoning_effort", "low", Part::weights},
      {"model.vocab_size", "416", Part::weights},
      {"model.hidden_size", "96", Part::weights},
      {"model.num_hidden_layers", "3", Part::weights},
      {"model.num_attention_heads", "4", Part::weights},
      {"model.num_key_value_heads", "2", Part::weights},
      {"model.head_dim", "16", Part::weights},
      {"model.num_experts", "5", Part::weights},
      {"model.num_experts_per_tok", "3", Part::weights},
      {"model.intermediate_size", "96", Part::weights},
      {"model.max_position_embeddings", "16", Part::outcome},
      {"model.sliding_window", "4", Part::weights},
      {"model.layer_types", "[full_attention, full_attention]", Part::weights},
      {"model.rope.type", "yarn", Part::weights},
      {"model.rope.theta", "20", Part::weights},
      {"model.rope.factor", "8", Part::weights, {yarn}},
      {"model.rope.beta_fast", "4", Part::weights, {yarn}},
      {"model.rope.beta_slow", "3", Part::weights, {yarn}},
      {"model.rope.original_max_position_embeddings", "512", Part::weights, {yarn}},
      {"model.rope.truncate", "true", Part::weights, {yarn}},
      {"model.rms_norm_eps", "0.1", Part::weights},
      {"model.initializer_range", "0.1", Part::weights},
      {"model.tie_word_embeddings", "true", Part::weights},
      {"model.attention_sinks", "false", Part::weights},
      {"model.attention_bias", "false", Part::weights},
      {"model.router_bias", "false", Part::weights},
      {"model.expert_bias", "false", Part::weights},
      {"model.swiglu_limit", "0", Part::weights},
      {"model.qk_norm", "true", Part::weights},
      {"model.logit_softcap", "1", Part::weights},
      {"model.router_softmax", "before", Part::weights},
      {"model.num_dense_layers", "1", Part::weights},
      {"model.dense_intermediate_size", "32", Part::weights, {"model.num_dense_layers=1"}},
      {"model.elastic_top_k", "true", Part::weights, {"training.max_steps=12"}},
      {"model.bos_token_id", "5", Part::generation},
      {"model.eos_token_id", "5", Part::generation},
      {"model.pad_token_id", "5", Part::generation},
      {"tokenizer.path", "FOLDER/other", Part::tokenizer},
      {"tokenizer.type", "unigram", Part::tokenizer, {"tokenizer.path="}},
      {"tokenizer.vocab_size", "380", Part::tokenizer, {"tokenizer.path="}},
      {"tokenizer.character_coverage", "0.98", Part::tokenizer, {"tokenizer.path="}},
      {"tokenizer.max_training_bytes", "2000", Part::tokenizer, {"tokenizer.path="}},
      {"tokenizer.keep_words", "<unknown>", Part::tokenizer, {"tokenizer.path="}},
      {"data.train", "FOLDER/other.txt", Part::weights},
      {"data.validation", "FOLDER/other.txt", Part::metrics},
      {"data.validation_share", "0.5", Part::weights},
      {"data.format", "jsonl", Part::outcome},
      {"data.separator", "", Part::weights},
      {"data.line_end", " <end> ", Part::weights},
      {"data.cache_dir", "FOLDER/elsewhere", Part::cache},
      {"data.shuffle", "false", Part::weights},
      {"data.document_attention", "true", Part::weights, {"training.max_seq_length=128"}},
      {"data.whole_documents", "true", Part::weights, {"training.max_seq_length=128"}},
      {"data.skip_bad_lines", "true", Part::outcome, {"data.train=FOLDER/bad.jsonl", "tokenizer.path=FOLDER/talk"}},
      {"data.builtin_documents", "40", Part::weights, {"data.train=builtin", "data.validation_share=0"}},
      {"data.max_bytes", "8000", Part::weights, {"data.validation_share=0"}},
      {"data.num_workers", "3", Part::elsewhere, {"EverySetting.WorkersTokenise"}},
      {"training.output_dir", "x", Part::elsewhere, {"tests/cli/fixture.test"}},
      {"training.seed", "1", Part::weights},
      {"training.per_device_train_batch_size", "3", Part::weights},
      {"training.gradient_accumulation_steps", "2", Part::weights},
      {"training.max_seq_length", "24", Part::weights},
      {"training.num_train_epochs", "0.02", Part::outcome, {"training.max_steps=0", "training.num_train_epochs=0.01"}},
      {"training.max_steps", "2", Part::outcome},
      {"training.max_minutes", "1e-7", Part::outcome},
      {"training.learning_rate", "0.001", Part::weights},
      {"training.min_lr_ratio", "0.9", Part::weights},
      {"training.warmup_steps", "2", Part::weights},
      {"training.lr_scheduler_type", "constant", Part::weights},
      {"training.wsd_decay_share", "0.7", Part::weights, {"training.lr_scheduler_type=wsd"}},
      {"training.optimizer", "muon", Part::weights},
      {"training.weight_decay", "10", Part::weights},
      {"training.adam_beta1", "0.5", Part::weights},
      {"training.adam_beta2", "0.5", Part::weights},
      {"training.adam_epsilon", "0.1", Part::weights},
      {"training.muon_learning_rate", "0.1", Part::weights, {muon}},
      {"training.muon_momentum", "0.5", Part::weights, {muon}},
      {"training.max_grad_norm", "1e-6", Part::weights},
      {"training.compute_type", "bfloat16", Part::weights},
      {"training.label_smoothing", "0.5", Part::weights},
      {"training.ema_decay", "0.5", Part::memory},
      {"training.qat_start", "0", Part::packed, {pack}},
      {"training.router_aux_loss_coef", "10", Part::weights},
      {"training.router_z_loss_coef", "10", Part::weights},
      {"training.router_bias_update_rate", "0.5", Part::weights},
      {"training.word_dropout", "0.5", Part::weights},
      {"training.input_dropout", "0.5", Part::weights},
      {"training.hidden_dropout", "0.5", Part::weights},
      {"training.output_dropout", "0.5", Part::weights},
      {"training.gradient_checkpointing", "true", Part::memory},
      {"training.loss_on", "all", Part::weights, {"data.train=FOLDER/talk.jsonl", "tokenizer.path=FOLDER/talk"}},
      {"training.eval_steps", "1", Part::metrics},
      {"training.eval_batches", "1", Part::metrics},
      {"training.save_steps", "1", Part::files},
      {"training.save_minutes", "1e-7", Part::files},
      {"training.save_total_limit", "3", Part::files, {"training.save_steps=1", "data.validation_share=0"}},
      {"training.save_type", "bfloat16", Part::weights},
      {"training.logging_steps", "2", Part::metrics},
      {"training.early_stopping_patience",
       "1",
       Part::outcome,
       {"training.eval_steps=1", "training.learning_rate=1e-30", "training.max_steps=6"}},
      {"training.max_bad_steps", "2", Part::elsewhere, {"EverySetting.BadStepsAreCounted"}},
      {"quantization.enable_quantization", "true", Part::files},
      {"quantization.bits", "8", Part::refused, {pack}},
      {"quantization.group_size", "64", Part::packed, {pack}},
      {"quantization.quantize_moe_weights", "false", Part::refused, {pack}},
      {"quantization.quantize_attention", "true", Part::packed, {pack}},
      {"device.device", "abacus", Part::refused},
      {"device.threads", "2", Part::threads},
      {"device.memory_limit", "1e-3", Part::outcome},
      {"device.memory_efficient_attention", "false", Part::refused},
      {"device.empty_cache_interval", "1", Part::refused},
      {"generation.temperature", "0.5", Part::generation},
      {"generation.top_k", "7", Part::generation},
      {"generation.top_p", "0.5", Part::generation},
      {"generation.min_p", "0.1", Part::generation},
      {"generation.repetition_penalty", "1.2", Part::generation},
      {"generation.max_tokens", "9", Part::generation},
      {"generation.seed", "3", Part::generation},
  };
  return changes;
}

std::string stories(int64_t count, uint64_t seed) {
  std::string text;
  for (int64_t i = 0; i < count; ++i) text += builtin_story(seed, i).text + "\n<|endoftext|>\n";
  return text;
}

std::string dialogues() {
  std::string lines;
  for (int i = 0; i < 40; ++i) {
    lines += cat(R"({"messages": [{"role": "user", "content": "say )", i,
                 R"("}, {"role": "assistant", "content": "It is )", i, R"(, and the fox had a ball."}]})", "\n");
  }
  return lines;
}

class EverySetting : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    log::set_level(log::Level::error);
    put("text.txt", stories(150, 1));
    put("other.txt", stories(150, 2));
    put("talk.jsonl", dialogues());
    put("bad.jsonl", dialogues() + "{\"messages\": \n");
    make_tokenizer("own", "data.train=FOLDER/text.txt");
    make_tokenizer("other", "data.train=FOLDER/other.txt");
    make_tokenizer("talk", "data.train=FOLDER/talk.jsonl", "330");
  }
  void TearDown() override {
    log::set_level(log::Level::info);
    TemporaryFolder::TearDown();
  }

  std::string placed(std::string text) const {
    const std::string word = "FOLDER";
    for (size_t at = text.find(word); at != std::string::npos; at = text.find(word)) {
      text.replace(at, word.size(), folder_.string());
    }
    return text;
  }

  Settings settings(const std::vector<std::string>& more, const std::string& yaml = "") const {
    std::vector<std::string> all = {"model.vocab_size=400",
                                    "model.hidden_size=64",
                                    "model.num_hidden_layers=2",
                                    "model.num_attention_heads=2",
                                    "model.num_key_value_heads=1",
                                    "model.head_dim=32",
                                    "model.num_experts=4",
                                    "model.num_experts_per_tok=2",
                                    "model.intermediate_size=64",
                                    "model.max_position_embeddings=128",
                                    "model.sliding_window=8",
                                    "model.rope.type=default",
                                    "model.rope.original_max_position_embeddings=64",
                                    "model.tie_word_embeddings=false",
                                    "tokenizer.path=FOLDER/own",
                                    "data.train=FOLDER/text.txt",
                                    "data.validation_share=0.1",
                                    "data.cache_dir=FOLDER/cache",
                                    "training.max_steps=3",
                                    "training.warmup_steps=0",
                                    "training.per_device_train_batch_size=2",
                                    "training.max_seq_length=32",
                                    "training.learning_rate=0.01",
                                    "training.compute_type=float32",
                                    "training.logging_steps=1",
                                    "training.eval_steps=0",
                                    "training.save_steps=0",
                                    "training.save_minutes=0",
                                    "device.device=cpu",
                                    "device.threads=1"};
    all.insert(all.end(), more.begin(), more.end());
    for (std::string& one : all) one = placed(one);
    return parse_settings(yaml, "walk.yaml", {.assignments = all});
  }

  void make_tokenizer(const std::string& name, const std::string& train, const std::string& size = "400") const {
    const Settings with = settings({"tokenizer.path=", "tokenizer.vocab_size=" + size, train});
    open_tokenizer(with, "")->save(make_folder(name));
  }
  fs::path make_folder(const std::string& name) const {
    fs::create_directories(folder_ / name);
    return folder_ / name;
  }

  static std::string content(const fs::path& file) { return fs::exists(file) ? sha256(read_file(file)) : "none"; }

  /// What a run with these settings comes to, part by part.
  std::map<Part, std::string> observe(const Settings& settings) const {
    const RunFolder run{folder_ / "run"};
    fs::remove_all(run.root);
    fs::remove_all(folder_ / "cache");
    std::map<Part, std::string> seen;
    seen[Part::memory] = cat(training_memory(settings).total(), " of ", usable_memory(settings));
    try {
      const TrainingOutcome outcome = train({.settings = settings, .run = run, .init = {}});
      seen[Part::outcome] = cat(outcome.step);
    } catch (const Error& problem) {
      seen[Part::outcome] = problem.what();
      return seen;
    }
    seen[Part::threads] = cat(at::get_num_threads());
    const fs::path weights = fs::exists(run.float_model()) ? run.float_model() : run.model();
    seen[Part::weights] = content(weights / "model.safetensors");
    seen[Part::packed] = content(run.model() / "model.safetensors");
    seen[Part::model] = content(run.model() / "config.json");
    seen[Part::generation] = content(run.model() / "generation_config.json");
    seen[Part::tokenizer] = content(run.model() / "tokenizer.model");
    seen[Part::cache] = cat(fs::exists(folder_ / "cache"));
    const MetricsHistory history = read_metrics(run.metrics());
    for (const TrainRecord& record : history.train) seen[Part::metrics] += cat(record.step, " ", record.loss, "; ");
    for (const ValidationRecord& one : history.validation) seen[Part::metrics] += cat(one.step, " v ", one.loss, "; ");
    std::set<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(run.root)) {
      names.insert(fs::relative(entry.path(), run.root).string());
    }
    for (const std::string& name : names) seen[Part::files] += name + "; ";
    return seen;
  }

  void expect_refused(const Change& change) const {
    std::vector<std::string> with = change.context;
    EXPECT_NO_THROW(settings(with)) << change.key;
    with.push_back(cat(change.key, "=", change.value));
    try {
      settings(with);
      FAIL() << change.key;
    } catch (const Error& problem) {
      EXPECT_EQ(problem.kind(), ErrorKind::usage);
      EXPECT_TRUE(contains(problem.what(), change.key)) << problem.what();
    }
  }
};

TEST_F(EverySetting, IsInTheTable) {
  Settings settings;
  ModelChoice choice;
  std::set<std::string> keys, known;
  for (const Change& change : table()) EXPECT_TRUE(keys.insert(change.key).second) << change.key;
  for (const Field& field : collect_fields(settings, &choice).fields) known.insert(field.key);
  EXPECT_EQ(keys, known);
}

TEST_F(EverySetting, ChangesWhatItIsForOrIsRefused) {
  std::map<std::vector<std::string>, std::map<Part, std::string>> before;  // runs of the same context are the same
  for (const Change& change : table()) {
    SCOPED_TRACE(change.key);
    if (change.part == Part::elsewhere) continue;
    if (change.part == Part::refused) {
      expect_refused(change);
      continue;
    }
    if (!before.contains(change.context)) before[change.context] = observe(settings(change.context));
    std::vector<std::string> with = change.context;
    // A preset is what other keys replace, so it cannot come after them.
    const bool below = std::string(change.key) == "model.preset";
    if (!below) with.push_back(cat(change.key, "=", change.value));
    std::map<Part, std::string> after;
    try {
      after = observe(settings(with, below ? cat("model:\n  preset: ", change.value, "\n") : ""));
    } catch (const Error& problem) {
      after[change.part] = problem.what();
      EXPECT_TRUE(contains(problem.what(), change.key) || contains(problem.what(), "max_seq_length")) << problem.what();
    }
    EXPECT_TRUE(before[change.context].contains(change.part)) << before[change.context][Part::outcome];
    EXPECT_TRUE(after.contains(change.part)) << after[Part::outcome];
    EXPECT_NE(before[change.context][change.part], after[change.part]) << "nothing changes with it";
  }
}

TEST_F(EverySetting, WithOneUsefulValueIsForOlderFiles) {
  Settings settings;
  for (const Field& field : collect_fields(settings).fields) {
    const auto row = std::ranges::find_if(table(), [&](const Change& change) { return field.key == change.key; });
    const bool for_a_gpu = field.key.starts_with("device.") && contains(field.help, "mps");
    if (row->part != Part::refused || field.key == "device.device" || for_a_gpu) continue;
    EXPECT_TRUE(contains(field.help, "older files")) << field.key;
  }
}

/// Notes which threads asked it for tokens.
class WatchedTokenizer : public ByteTokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, bool allow_special) const override {
    const std::lock_guard lock(lock_);
    threads_.insert(std::this_thread::get_id());
    return ByteTokenizer::encode(text, allow_special);
  }
  size_t threads() const { return threads_.size(); }

 private:
  mutable std::mutex lock_;
  mutable std::set<std::thread::id> threads_;
};

TEST_F(EverySetting, WorkersTokenise) {
  put("long.txt", stories(4000, 3));
  const auto threads_of = [&](int workers) {
    const auto tokenizer = std::make_shared<WatchedTokenizer>();
    open_training_data(settings({"data.train=FOLDER/long.txt", cat("data.cache_dir=FOLDER/cache", workers),
                                 cat("data.num_workers=", workers)}),
                       tokenizer);
    return tokenizer->threads();
  };
  EXPECT_LT(threads_of(1), threads_of(3));
}

TEST_F(EverySetting, BadStepsAreCounted) {
  class Text : public BatchSource {
   public:
    Batch batch(int64_t) override {
      Batch batch;
      batch.tokens = batch.targets = at::ones({2, 8}, at::kLong);
      batch.target_tokens = batch.target_bytes = 16;
      return batch;
    }
    int64_t batches_per_epoch() const override { return 20; }
  };
  for (const int64_t bad : {2, 4}) {
    Settings with = settings({cat("training.max_bad_steps=", bad), "training.max_steps=20"});
    TrainingData data;
    data.train = std::make_unique<Text>();
    Transformer masters(tiny_config(), at::kCPU, at::kFloat, 3);
    for (const auto& [name, value] : masters.parameters()) value.detach().fill_(std::nan(""));
    TrainingJob job{.settings = with,
                    .run = {folder_ / cat("bad", bad)},
                    .tokenizer = std::make_shared<ByteTokenizer>(),
                    .data = std::move(data),
                    .masters = std::move(masters),
                    .compute_type = at::kFloat};
    try {
      Trainer(std::move(job)).run();
      FAIL();
    } catch (const Error& problem) {
      EXPECT_TRUE(contains(problem.what(), cat("training stopped: ", bad, " steps"))) << problem.what();
    }
  }
}

}  // namespace
}  // namespace xinslm
