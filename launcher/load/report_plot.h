// A run as a picture.
#pragma once

#include <span>
#include <string>

#include "launcher/load/report.h"

namespace longspan::load {

// An SVG file: how TTFT and ITL are distributed (cumulative shares, with the SLO's limits), and both over the
// time of the run, with the requests that failed.
std::string ReportPlot(const Report& report, std::span<const RequestRecord> records);

}  // namespace longspan::load
