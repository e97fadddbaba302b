#include "xinslm/train/train.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <cstdio>

#include "xinslm/core/device.h"
#include "xinslm/core/device_memory.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/folder_lock.h"
#include "xinslm/core/log.h"
#include "xinslm/core/machine.h"
#include "xinslm/core/shell.h"
#include "xinslm/model/estimate.h"
#include "xinslm/train/prepare.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

/// Where the weights of the run come from: a checkpoint, another model, or nowhere yet.
fs::path weights_folder(const TrainRequest& request) {
  if (!request.resume) return request.init;
  Checkpoints(request.run.checkpoints(), 0).repair();
  const auto checkpoint = request.run.latest_checkpoint();
  if (!checkpoint)
    data_error(request.run.root.string(), ": has no whole checkpoint to resume from; start over with --force");
  return *checkpoint;
}

Transformer make_masters(const ModelConfig& config, const fs::path& source, at::Device device, int64_t seed) {
  if (source.empty()) return Transformer(config, device, at::kFloat, static_cast<uint64_t>(seed));
  // The settings may differ in what is not architecture.
  return read_masters(source, device).converted(config, device, at::kFloat);
}

at::ScalarType compute_type(const TrainRequest& request, const fs::path& checkpoint, at::Device device) {
  const std::string& asked = request.settings.training.compute_type;
  // The measurement may come out differently today; the run goes on as it began.
  if (request.resume && asked == "auto") {
    return choose_compute_type(read_trainer_state(checkpoint).compute_type, device);
  }
  return choose_compute_type(asked, device);
}

/// run.yaml of the run. A resumed run keeps its model section, which later resumes are compared with.
void save_settings(const TrainRequest& request, Settings settings) {
  if (request.resume) settings.model = load_settings(request.run.saved_settings().value()).model;
  settings.training.output_dir = request.run.root.string();
  write_file(request.run.settings(), settings_title + dump_settings(settings));
}

void describe_job(const TrainingJob& job) {
  const ParameterCounts counts = count_parameters(job.masters.config());
  const auto millions = [](int64_t count) { return std::round(static_cast<double>(count) / 1e4) / 100; };
  log::info(cat("model: ", millions(counts.total), " M parameters, ", millions(counts.active), " M active a token"));
  const TextSize& held = job.data.validation_size;
  log::info(cat("data: ", job.data.train_size.documents, " documents, ", job.data.train_size.tokens,
                " tokens to train on; held out: ", held.documents, " documents, ", held.bytes, " bytes, ", held.tokens,
                " tokens"));
  std::string speed;
  if (job.peak_flops > 0) speed = cat(", matrix products at ", std::round(job.peak_flops / 1e9), " GF/s");
  log::info(cat("computing in ", compute_type_name(job.compute_type), " on ", job.masters.device().str(), ", ",
                at::get_num_threads(), " threads", speed));
}

}  // namespace

TrainingOutcome train(const TrainRequest& request) {
  Settings settings = request.settings;
  configure_threads(static_cast<int>(settings.device.threads));
  const at::Device device = choose_device(settings.device.device);
  const FolderLock lock(request.run.root);
  if (request.resume) {
    check_run_parts(request.run);
  } else {
    check_new_run(request.run, request.replace);
  }
  const fs::path source = weights_folder(request);
  if (!source.empty()) take_architecture(settings, source, request.resume);
  require_training_memory(settings);
  const auto tokenizer = open_tokenizer(settings, source);
  take_vocabulary(settings, *tokenizer, !source.empty());
  settings.model.line_end = settings.data.line_end;
  settings.model.document_attention = settings.data.document_attention;
  require_training_memory(settings);  // again: the vocabulary may have grown
  limit_memory(device, usable_memory(settings));
  TrainingData data = open_training_data(settings, tokenizer);
  if (data.train_size.has_dialogues) take_answer_end(settings, *tokenizer);
  const at::ScalarType type = compute_type(request, source, device);
  TrainingJob job{.settings = settings,
                  .run = request.run,
                  .tokenizer = tokenizer,
                  .data = std::move(data),
                  .masters = make_masters(settings.model, source, device, settings.training.seed),
                  .compute_type = type,
                  .peak_flops = measure_matmul_flops(type, device)};
  describe_job(job);
  Trainer trainer(std::move(job));
  if (request.resume) {
    trainer.resume(source);
    if (trainer.done() && request.run.finished() && path_exists(request.run.report())) {
      usage_error(request.run.root.string(), ": this run is finished after ", trainer.state().step,
                  " steps; to train longer give a larger training.max_steps, training.num_train_epochs or ",
                  "training.max_minutes with --set, or start another run with --init ",
                  shell_quoted(request.run.model().string()));
    }
    log::info(cat("going on after step ", trainer.state().step));
  } else {
    clear_run(request.run);
  }
  save_settings(request, settings);
  return trainer.run();
}

}  // namespace xinslm
