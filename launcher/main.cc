// The `longspan` command: finds the subcommand, parses its options and runs it.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "launcher/command.h"
#include "launcher/command_line.h"
#include "launcher/commands/bench_serve.h"
#include "launcher/commands/coordinator.h"
#include "launcher/commands/generate.h"
#include "launcher/commands/inspect.h"
#include "launcher/commands/logits.h"
#include "launcher/commands/serve.h"
#include "launcher/commands/tokenize.h"
#include "launcher/commands/worker.h"
#include "launcher/exit_status.h"
#include "launcher/failure.h"
#include "launcher/help_formatter.h"
#include "launcher/interrupts.h"
#include "launcher/nearest.h"
#include "launcher/rank_env.h"
#include "launcher/text_files.h"
#include "launcher/version.h"

namespace longspan {
namespace {

const std::vector<CommandEntry>& Commands() {
  static const auto* commands = new std::vector<CommandEntry>{
      {"generate", "continues a prompt, or a file of prompts", NewGenerateCommand},
      {"serve", "answers over HTTP, as OpenAI's API", NewServeCommand},
      {"coordinator", "answers over HTTP for groups that join it", NewCoordinatorCommand},
      {"worker", "a group that joins a coordinator", NewWorkerCommand},
      {"logits", "writes the logits of given tokens to a file", NewLogitsCommand},
      {"tokenize", "turns texts into token ids, and back", NewTokenizeCommand},
      {"inspect", "tells what a model is and what it costs in memory", NewInspectCommand},
      {"bench",
       "measures servers",
       nullptr,
       {{"serve", "puts load on a server and reports its latencies", NewBenchServeCommand}}},
  };
  return *commands;
}

std::string CommandList(const std::vector<CommandEntry>& entries) {
  std::string text = "\nCommands:\n";
  for (const CommandEntry& command : entries) {
    absl::StrAppendFormat(&text, "  %-12s %s\n", command.name, command.summary);
  }
  return text;
}

std::string HelpText() {
  return absl::StrCat(
      "Longspan runs large language models at long context on many processes.\n\n"
      "usage: longspan COMMAND [OPTION...]\n"
      "       mpirun -n N longspan COMMAND [OPTION...]   N ranks share one model\n",
      CommandList(Commands()),
      "\n`longspan COMMAND --help` lists a command's options; `longspan --version` tells what "
      "this is.\n");
}

// Of a command that has subcommands; `name` is all of its name.
std::string HelpText(const std::string& name, const CommandEntry& entry) {
  return absl::StrCat(name, ": ", entry.summary, ".\n\nusage: ", name, " COMMAND [OPTION...]\n",
                      CommandList(entry.subcommands), "\n`", name,
                      " COMMAND --help` lists a command's options.\n");
}

void CollectOptions(const std::vector<CommandEntry>& entries, absl::flat_hash_set<std::string>* names) {
  for (const CommandEntry& entry : entries) {
    CollectOptions(entry.subcommands, names);
    if (!entry.create) continue;
    CLI::App app;
    const std::unique_ptr<Command> command = entry.create();
    command->AddOptions(app);
    for (const std::string& name : OptionNames(app)) {
      if (name != "--help") names->insert(name);
    }
  }
}

// A configuration file may hold options of any command.
std::vector<std::string> OptionsOfAllCommands() {
  absl::flat_hash_set<std::string> names;
  CollectOptions(Commands(), &names);
  std::vector<std::string> sorted(names.begin(), names.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

// `options` are those that may stand in place of the command.
absl::StatusOr<const CommandEntry*> FindCommand(const std::vector<CommandEntry>& entries,
                                                const std::string& name,
                                                const std::vector<std::string>& options) {
  std::vector<std::string> names;
  std::string list;
  for (const CommandEntry& entry : entries) {
    if (entry.name == name) return &entry;
    names.push_back(entry.name);
    absl::StrAppend(&list, list.empty() ? "" : ", ", entry.name);
  }
  if (name.starts_with("-")) {
    return UsageError(absl::StrCat("unknown option ", name, "; the nearest is ",
                                   std::string(Nearest(name, options)),
                                   ", and options of a command come after its name: one of ", list));
  }
  return UsageError(absl::StrCat("unknown command '", name, "'; the nearest is ",
                                 std::string(Nearest(name, names)), ", and there are ", list));
}

bool IsHelp(const std::string& argument) {
  return argument == "--help" || argument == "-h" || argument == "help";
}

// Runs the command, or the one of its subcommands that the first argument names. `name` is all of its name.
absl::StatusOr<int> RunCommand(const std::string& name, const CommandEntry& entry,
                               const std::vector<std::string>& arguments, const RankEnv& env) {
  if (!entry.create) {
    if (arguments.empty() || IsHelp(arguments[0])) {
      const std::string text = HelpText(name, entry);
      if (arguments.empty() && env.rank == 0) std::fputs(text.c_str(), stderr);
      if (arguments.empty()) return kExitUsage;
      if (env.rank == 0) LONGSPAN_RETURN_IF_ERROR(WriteOutput(text));
      return 0;
    }
    LONGSPAN_ASSIGN_OR_RETURN(const CommandEntry* subcommand,
                              FindCommand(entry.subcommands, arguments[0], {"--help"}));
    return RunCommand(absl::StrCat(name, " ", subcommand->name), *subcommand,
                      {arguments.begin() + 1, arguments.end()}, env);
  }
  const std::unique_ptr<Command> command = entry.create();
  CLI::App app(absl::StrCat(name, ": ", entry.summary, "."), name);
  app.formatter(std::make_shared<HelpFormatter>());
  app.get_help_ptr()->description("tells about these options");
  command->AddOptions(app);
  LONGSPAN_ASSIGN_OR_RETURN(const ParseOutcome outcome,
                            ParseCommandLine(app, arguments, OptionsOfAllCommands(), ReadEnvironment));
  if (outcome == ParseOutcome::kHelp) {
    if (env.rank == 0) LONGSPAN_RETURN_IF_ERROR(WriteOutput(app.help()));
    return 0;
  }
  LONGSPAN_RETURN_IF_ERROR(command->Check());
  return command->Run(env);
}

absl::StatusOr<int> RunProgram(const std::vector<std::string>& arguments, const RankEnv& env) {
  if (arguments.empty()) {
    if (env.rank == 0) std::fputs(HelpText().c_str(), stderr);
    return kExitUsage;
  }
  const bool help = IsHelp(arguments[0]);
  if (help || arguments[0] == "--version") {
    if (env.rank == 0) LONGSPAN_RETURN_IF_ERROR(WriteOutput(help ? HelpText() : VersionText()));
    return 0;
  }
  LONGSPAN_ASSIGN_OR_RETURN(const CommandEntry* entry,
                            FindCommand(Commands(), arguments[0], {"--help", "--version"}));
  return RunCommand("longspan " + entry->name, *entry, {arguments.begin() + 1, arguments.end()}, env);
}

int Main(const std::vector<std::string>& arguments) {
  ExitOnInterrupts();
  const absl::StatusOr<RankEnv> env = DetectRankEnv(ReadEnvironment);
  if (!env.ok()) return ReportFailure(RankEnv{}, env.status());
  const absl::StatusOr<int> code = RunProgram(arguments, *env);
  return code.ok() ? *code : ReportFailure(*env, code.status());
}

}  // namespace
}  // namespace longspan

int main(int argc, char** argv) { return longspan::Main(std::vector<std::string>(argv + 1, argv + argc)); }
