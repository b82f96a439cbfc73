// GET /v1/cluster: the groups, their KV and what runs, for the page and for people with jq.
#pragma once

#include <string>

#include "runtime/api/served_model.h"

namespace longspan {

// One JSON object. Sizes in bytes, times in seconds, KV in pages. In a group, "ranks"[i]."map" lists runs of
// neighbouring pages as [owner, pages], owner 0 being nobody and others the "id" of a request in "requests".
std::string ClusterStatusBody(const ServedModel& model);

}  // namespace longspan
