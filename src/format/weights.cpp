#include <iomanip>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "xinslm/core/error.h"
#include "xinslm/core/json.h"
#include "xinslm/format/model_folder.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

constexpr const char* single_name = "model.safetensors";
constexpr const char* index_name = "model.safetensors.index.json";

const Metadata format_mark{{"format", "pt"}};  // transformers refuses files without it

std::string shard_name(size_t number, size_t count) {
  std::ostringstream name;
  name << "model-" << std::setfill('0') << std::setw(5) << number + 1 << "-of-" << std::setw(5) << count
       << ".safetensors";
  return name.str();
}

/// Fills shards in order up to shard_bytes; a larger tensor gets one to itself.
std::vector<TensorSources> split(const TensorSources& weights, int64_t shard_bytes) {
  std::vector<TensorSources> shards(1);
  int64_t used = 0;
  for (const TensorSource& entry : weights) {
    const int64_t bytes = entry.bytes();
    if (used + bytes > shard_bytes && !shards.back().empty()) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().push_back(entry);
    used += bytes;
  }
  return shards;
}

/// A model folder holds one set of weights: what an earlier one of another layout left would be read instead.
void remove_other_weights(const fs::path& folder, const std::set<std::string>& written) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool shard = name.starts_with("model-") && name.ends_with(".safetensors");
    const bool weights = shard || name == single_name || name == index_name;
    if (weights && !written.contains(name)) fs::remove(entry.path(), ignored);
  }
}

using WeightMap = std::map<std::string, std::set<std::string>>;  // shard file -> tensors

WeightMap read_index(const fs::path& index) {
  const Json json = read_json(index);
  const auto found = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || found == json.end() || !found->is_object()) {
    data_error(index.string(), ": has no weight_map object");
  }
  WeightMap shards;
  for (const auto& [name, file] : found->items()) {
    if (!file.is_string()) data_error(index.string(), ": tensor ", name, " has no file name");
    const auto& shard = file.get_ref<const std::string&>();
    if (shard.empty() || fs::path(shard).filename() != shard || shard == "." || shard == "..") {
      data_error(index.string(), ": tensor ", name, " is said to be in \"", shard,
                 "\", which is not a file name in this folder");
    }
    shards[shard].insert(name);
  }
  return shards;
}

NamedTensors read_shards(const fs::path& folder, const fs::path& index) {
  NamedTensors weights;
  for (auto& [shard, names] : read_index(index)) {
    for (auto& entry : read_safetensors(folder / shard)) {
      if (names.erase(entry.first) > 0) weights.push_back(std::move(entry));
    }
    if (!names.empty()) {
      data_error((folder / shard).string(), ": tensor ", *names.begin(), " is missing, though ", index_name,
                 " says it is in this file");
    }
  }
  return weights;
}

}  // namespace

void write_weights(const fs::path& folder, const NamedTensors& weights, int64_t shard_bytes) {
  write_weights(folder, sources_of(weights), shard_bytes);
}

void write_weights(const fs::path& folder, const TensorSources& weights, int64_t shard_bytes) {
  const auto shards = split(weights, shard_bytes);
  if (shards.size() == 1) {
    write_safetensors(folder / single_name, weights, format_mark);
    return remove_other_weights(folder, {single_name});
  }
  Json map = Json::object();
  int64_t total = 0;
  std::set<std::string> written{index_name};
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shard_name(i, shards.size());
    write_safetensors(folder / name, shards[i], format_mark);
    written.insert(name);
    for (const TensorSource& tensor : shards[i]) {
      map[tensor.name] = name;
      total += tensor.bytes();
    }
  }
  write_json(folder / index_name, {{"metadata", {{"total_size", total}}}, {"weight_map", map}});
  remove_other_weights(folder, written);
}

NamedTensors read_weights(const fs::path& folder) {
  if (fs::exists(folder / single_name)) return read_safetensors(folder / single_name);
  if (fs::exists(folder / index_name)) return read_shards(folder, folder / index_name);
  if (!fs::is_directory(folder)) data_error(folder.string(), ": there is no such model folder");
  data_error(folder.string(), ": holds neither ", single_name, " nor ", index_name, "; is it a model folder?");
}

}  // namespace xinslm
