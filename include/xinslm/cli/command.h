#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

namespace xinslm::cli {

/// A subcommand adds its options to the program; its callback does the work and throws Error, or
/// CLI::RuntimeError(code) to end with an exit code without a message, 130 after Ctrl-C.
void add_train(CLI::App& program);
void add_infer(CLI::App& program);
void add_chat(CLI::App& program);
void add_bench(CLI::App& program);
void add_info(CLI::App& program);
void add_config(CLI::App& program);
void add_tokenizer(CLI::App& program);
void add_data(CLI::App& program);
void add_quantize(CLI::App& program);
void add_init(CLI::App& program);
void add_doctor(CLI::App& program);

/// Parses the arguments, runs the subcommand and turns errors into messages and exit codes (0, 1, 2, 3).
int run(int argc, char** argv);

}  // namespace xinslm::cli
