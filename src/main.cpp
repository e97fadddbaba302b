#include "xinslm/cli/command.h"

int main(int argc, char** argv) {
  return xinslm::cli::run(argc, argv);
}
