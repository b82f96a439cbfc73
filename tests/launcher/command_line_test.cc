#include "launcher/command_line.h"

#include <gtest/gtest.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <map>
#include <optional>

#include "launcher/exit_status.h"
#include "launcher/option_parsers.h"

namespace longspan {
namespace {

struct Parsed {
  absl::StatusOr<ParseOutcome> outcome = ParseOutcome::kRun;
  int64_t threads = 4;
  std::optional<std::string> prompt, ids;
  std::vector<std::string> stop;
  bool json = false;
};

std::string WriteConfig(const std::string& content) {
  const std::string path = ::testing::TempDir() + "command_line_test.yaml";
  std::FILE* file = std::fopen(path.c_str(), "wb");
  std::fwrite(content.data(), 1, content.size(), file);
  std::fclose(file);
  return path;
}

Parsed Parse(const std::vector<std::string>& arguments,
             const std::map<std::string, std::string>& variables = {}) {
  Parsed parsed;
  CLI::App app("a test", "test");
  AddOption(app, "--threads", "N", "", Into(&parsed.threads, WholeNumber(1, 64)));
  CLI::Option* prompt = AddOption(app, "--prompt", "TEXT", "", Into(&parsed.prompt, AnyText()));
  AddOption(app, "--token-ids", "IDS", "", Into(&parsed.ids, AnyText()))->excludes(prompt);
  AddListOption(app, "--stop", "TEXT", "", [&parsed](std::string_view text) {
    parsed.stop.emplace_back(text);
    return absl::OkStatus();
  });
  AddFlag(app, "--json", "", &parsed.json);
  parsed.outcome = ParseCommandLine(app, arguments,
                                    {"--threads", "--prompt", "--token-ids", "--stop", "--json", "--output"},
                                    [&](const std::string& name) -> std::optional<std::string> {
                                      const auto it = variables.find(name);
                                      return it == variables.end() ? std::nullopt : std::optional(it->second);
                                    });
  return parsed;
}

std::string UsageMessage(const Parsed& parsed) {
  EXPECT_EQ(ExitCode(parsed.outcome.status()), 2) << parsed.outcome.status();
  return std::string(parsed.outcome.status().message());
}

TEST(CommandLineTest, TakesValuesAsTheyAre) {
  const Parsed parsed =
      Parse({"--prompt", "--json", "--stop", "[a,b]", "--threads=8", "--stop", "-1", "--json"});
  ASSERT_TRUE(parsed.outcome.ok()) << parsed.outcome.status();
  EXPECT_EQ(parsed.prompt, "--json");
  EXPECT_EQ(parsed.stop, std::vector<std::string>({"[a,b]", "-1"}));
  EXPECT_EQ(parsed.threads, 8);
  EXPECT_TRUE(parsed.json);
  EXPECT_EQ(Parse({"--prompt", ""}).prompt, "");
}

TEST(CommandLineTest, HelpIsAnOutcome) { EXPECT_EQ(Parse({"--help"}).outcome.value(), ParseOutcome::kHelp); }

TEST(CommandLineTest, UnknownOptionsNameTheNearest) {
  EXPECT_EQ(UsageMessage(Parse({"--thread", "3"})), "unknown option --thread; the nearest is --threads");
  EXPECT_EQ(UsageMessage(Parse({"--pormpt=x"})), "unknown option --pormpt; the nearest is --prompt");
  EXPECT_NE(UsageMessage(Parse({"--prompt", "two", "words"})).find("'words'"), std::string::npos);
}

TEST(CommandLineTest, WrongValuesNameTheOption) {
  EXPECT_EQ(UsageMessage(Parse({"--threads", "many"})),
            "--threads: 'many' is not a whole number from 1 to 64");
  EXPECT_NE(UsageMessage(Parse({"--threads"})).find("--threads"), std::string::npos);
  EXPECT_NE(UsageMessage(Parse({"--threads", "1", "--threads", "2"})).find("--threads"), std::string::npos);
  EXPECT_NE(UsageMessage(Parse({"--prompt", "a", "--token-ids", "1"})).find("exclude"), std::string::npos);
}

TEST(CommandLineTest, TheCommandLineWinsOverVariablesOverTheFile) {
  const std::string file = WriteConfig("threads: 2\nstop: [x, y]\nprompt: from the file\njson: yes\n");
  Parsed parsed = Parse({"--config", file});
  ASSERT_TRUE(parsed.outcome.ok()) << parsed.outcome.status();
  EXPECT_EQ(parsed.threads, 2);
  EXPECT_EQ(parsed.stop, std::vector<std::string>({"x", "y"}));
  EXPECT_EQ(parsed.prompt, "from the file");
  EXPECT_TRUE(parsed.json);

  parsed = Parse({"--config", file},
                 {{"LONGSPAN_THREADS", "3"}, {"LONGSPAN_STOP", "z"}, {"LONGSPAN_JSON", "off"}});
  ASSERT_TRUE(parsed.outcome.ok()) << parsed.outcome.status();
  EXPECT_EQ(parsed.threads, 3);
  EXPECT_EQ(parsed.stop, std::vector<std::string>({"z"}));
  EXPECT_FALSE(parsed.json);

  parsed = Parse({"--threads", "5", "--stop", "a"}, {{"LONGSPAN_THREADS", "3"}, {"LONGSPAN_CONFIG", file}});
  ASSERT_TRUE(parsed.outcome.ok()) << parsed.outcome.status();
  EXPECT_EQ(parsed.threads, 5);
  EXPECT_EQ(parsed.stop, std::vector<std::string>({"a"}));
  EXPECT_EQ(parsed.prompt, "from the file");
}

TEST(CommandLineTest, AHigherSourceHidesWhatItsOptionsExclude) {
  const std::string file = WriteConfig("prompt: from the file\n");
  Parsed parsed = Parse({"--config", file, "--token-ids", "1"});
  ASSERT_TRUE(parsed.outcome.ok()) << parsed.outcome.status();
  EXPECT_EQ(parsed.ids, "1");
  EXPECT_FALSE(parsed.prompt.has_value());
  // Within one source there is no order.
  parsed = Parse({"--config", WriteConfig("prompt: a\ntoken-ids: '1'\n")});
  EXPECT_NE(UsageMessage(parsed).find("exclude each other"), std::string::npos);
}

TEST(CommandLineTest, EmptyVariablesAreNotSet) {
  EXPECT_EQ(Parse({}, {{"LONGSPAN_THREADS", ""}}).threads, 4);
}

TEST(CommandLineTest, ErrorsOfLowerSourcesSayWhere) {
  EXPECT_EQ(UsageMessage(Parse({}, {{"LONGSPAN_THREADS", "0"}})),
            "LONGSPAN_THREADS: --threads: '0' is not a whole number from 1 to 64");
  const std::string file = WriteConfig("\nthreads: 99\n");
  EXPECT_EQ(UsageMessage(Parse({"--config", file})),
            file + ":2: threads: --threads: '99' is not a whole number from 1 to 64");
}

TEST(CommandLineTest, FilesAreChecked) {
  for (const auto& [content, expected] :
       std::map<std::string, std::string>{{"thread: 1\n", "the nearest is --threads"},
                                          {"threads: 1\nthreads: 2\n", "given twice"},
                                          {"threads: {a: 1}\n", "needs a value"},
                                          {"threads:\n", "needs a value"},
                                          {"- threads\n", "option: value"},
                                          {"threads: [1, [2]]\n", "plain values"},
                                          {"threads: [1\n", "not valid YAML"}}) {
    const std::string message = UsageMessage(Parse({"--config", WriteConfig(content)}));
    EXPECT_NE(message.find(expected), std::string::npos) << content << message;
  }
  EXPECT_TRUE(Parse({"--config", WriteConfig("")}).outcome.ok());
  EXPECT_TRUE(Parse({"--config", WriteConfig("output: for another command\n")}).outcome.ok());
  EXPECT_EQ(ExitCode(Parse({"--config", "/nonexistent"}).outcome.status()), 1);
}

}  // namespace
}  // namespace longspan
