#include <ATen/Context.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "config/nearest.h"
#include "xinslm/cli/command.h"
#include "xinslm/core/device_memory.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/interrupt.h"
#include "xinslm/core/log.h"
#include "xinslm/core/machine.h"

namespace xinslm::cli {
namespace {

constexpr const char* examples =
    "Examples:\n"
    "  xinslm train --config configs/quickstart.yaml\n"
    "  xinslm infer --prompt \"Once upon a time\"\n"
    "  xinslm chat\n"
    "  xinslm bench perplexity --data text.txt\n"
    "\"xinslm COMMAND --help\" tells more about each.";

/// Memory is out on the GPU where there is one, else on the processor.
std::string no_memory() {
  if (!at::hasMPS()) return "out of memory; use a smaller model, batch or context";
  return cat("out of memory (the GPU holds ", device_memory_text(at::kMPS),
             "); use a smaller batch or context, a packed ",
             "model (xinslm quantize) or --device cpu; training takes more with --set device.memory_limit=GIB");
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

void build(CLI::App& program) {
  program.name("xinslm");
  program.set_version_flag("--version", "xinslm " XINSLM_VERSION, "show the version and stop");
  program.set_help_flag("-h,--help", "show this and stop");
  program.require_subcommand(1);
  add_train(program);
  add_infer(program);
  add_chat(program);
  add_bench(program);
  add_info(program);
  add_config(program);
  add_tokenizer(program);
  add_data(program);
  add_quantize(program);
  add_init(program);
  add_doctor(program);
  program.footer(examples);  // last: a subcommand takes over what is there when it is added
}

int fail(const std::string& message, ErrorKind kind) {
  log::error(message);
  return static_cast<int>(kind);
}

std::vector<std::string> command_names(const CLI::App& program) {
  std::vector<std::string> names;
  for (const CLI::App* command : program.get_subcommands(nullptr)) names.push_back(command->get_name());
  return names;
}

/// What is wrong with the arguments, as a sentence that says how to go on.
std::string usage_message(const CLI::App& program, const CLI::ParseError& problem, int argc, char** argv) {
  const std::vector<std::string> names = command_names(program);
  const std::string first = argc > 1 ? argv[1] : "";
  if (first.empty()) return cat("no command given; one of ", enumerate(names), "; xinslm --help tells more");
  const bool known = std::ranges::find(names, first) != names.end();
  if (!known && !first.starts_with("-")) {
    return cat("no command \"", first, "\"", suggestion(first, names), "; there are ", enumerate(names, " and "));
  }
  return cat(first_line(problem.what()), "; see xinslm ", known ? first + " --help" : "--help");
}

int report(const CLI::App& program, const CLI::ParseError& problem, int argc, char** argv) {
  if (problem.get_name() == "RuntimeError") return problem.get_exit_code();  // a command that has said why it ends
  if (problem.get_exit_code() == 0) return program.exit(problem, std::cout, std::cerr);  // --help, --version
  return fail(usage_message(program, problem, argc, argv), ErrorKind::usage);
}

/// A library's own words, but for the error that people can do something about.
std::string library_message(const std::string& library, const std::string& words) {
  return is_out_of_memory(words) ? no_memory() : library + first_line(words);
}

/// Which file and why, without the library's words around it.
std::string file_message(const std::filesystem::filesystem_error& problem) {
  return cat(problem.path1().string(), problem.path1().empty() ? "" : ": ", system_reason(problem.code().value()));
}

}  // namespace

int run(int argc, char** argv) {
  std::cin.exceptions(std::ios::badbit);  // else text that memory does not hold counts as the end of the input
  CLI::App program("Trains, chats with and measures small Mixture-of-Experts language models.");
  try {
    if (argc > 1 && std::string_view(argv[1]) == "train") restart_with_sleeping_threads(argv);
    build(program);
    program.parse(argc, argv);
    std::cout.flush();
    if (!std::cout) return fail("standard output: writing failed", ErrorKind::data);
    return 0;
  } catch (const CLI::ParseError& problem) {
    return report(program, problem, argc, argv);
  } catch (const Interrupted&) {
    return InterruptGuard::exit_code();
  } catch (const Error& problem) {
    return fail(problem.what(), problem.kind());
  } catch (const std::filesystem::filesystem_error& problem) {
    return fail(file_message(problem), ErrorKind::data);
  } catch (const c10::Error& problem) {
    return fail(library_message("LibTorch: ", problem.what_without_backtrace()), ErrorKind::runtime);
  } catch (const std::bad_alloc&) {
    return fail(no_memory(), ErrorKind::runtime);
  } catch (const std::exception& problem) {
    return fail(library_message("", problem.what()), ErrorKind::runtime);
  }
}

}  // namespace xinslm::cli
