// What `longspan generate` does on rank 0 of its group.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "launcher/generation_request.h"
#include "launcher/group_run.h"
#include "launcher/model_options.h"
#include "launcher/rank_env.h"

namespace longspan {

struct GenerateOptions {
  ModelOptions model;
  // One of them is there.
  std::optional<std::string> prompt, prompt_file, token_ids;
  bool chat = false;          // prompts are what a user says
  GenerationRequest request;  // all but the prompt: of the one request, or what lines of a file do not say
  bool json = false;
  bool account = false;
};

// Prints text as it is generated; or one object for each request, in their order, as soon as those before it
// are done.
std::unique_ptr<GroupProgram> NewGenerateProgram(GenerateOptions options, const RankEnv& env);

}  // namespace longspan
