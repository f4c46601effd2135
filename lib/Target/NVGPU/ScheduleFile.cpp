//===- ScheduleFile.cpp - schedules that were measured --------------------===//

#include "ScheduleFile.h"
#include "../Common/KeyViews.h"
#include "RowReach.h"
#include "Tiling.h"
#include "megactx/Support/Json.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/Diagnostics.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

std::string mlir::megactx::nvgpu::scheduleClass(const AttentionShape &shape,
                                                std::optional<int64_t> rows) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << shape.element << ' ' << shape.headDim;
  if (shape.valueDim != shape.headDim)
    os << 'x' << shape.valueDim;
  os << (KeyViews::periodOf(shape) > 1 ? " views"
         : hasLongRows(shape)          ? " long"
         : hasShortRows(shape)         ? " band"
                                       : " wide");
  if (KeyViews::periodOf(shape) == 1 && hasGatheredKeys(shape))
    os << (hasKeyRuns(shape) ? " gathered runs" : " gathered");
  if (shape.hasTest())
    os << " test";
  if (shape.hasQueryPositions || shape.hasKeyPositions)
    os << " positions";
  if (shape.hasSegments)
    os << " segments";
  if (!shape.biasPerKey.empty())
    os << (shape.hasBiasPerRow() ? " bias" : " bias-per-key");
  if (shape.softcap)
    os << " softcap";
  for (int64_t most : {16, 32, 64})
    if (rows && *rows <= most) {
      os << " rows<=" << most;
      break;
    }
  return text;
}

nvx::ScheduleAttr mlir::megactx::nvgpu::parseSchedule(MLIRContext *context,
                                                      StringRef text,
                                                      std::string &why) {
  std::string said;
  ScopedDiagnosticHandler listening(context, [&](Diagnostic &diagnostic) {
    if (said.empty())
      said = ": " + diagnostic.str();
    return success();
  });
  auto schedule =
      dyn_cast_or_null<nvx::ScheduleAttr>(parseAttribute(text, context));
  if (!schedule)
    why = ("a valid #nvx.schedule, but got '" + text + "'" + said).str();
  return schedule;
}

std::optional<ScheduleTable>
mlir::megactx::nvgpu::readSchedules(MLIRContext *context, StringRef path,
                                    StringRef arch, std::string &error) {
  std::optional<llvm::json::Value> parsed = readJson(path, "schedules", error);
  if (!parsed)
    return std::nullopt;
  auto fail = [&](const Twine &message) {
    error = ("schedules '" + path + "': " + message).str();
    return std::nullopt;
  };
  const llvm::json::Object *object = parsed->getAsObject();
  const llvm::json::Object *all =
      object ? object->getObject("schedules") : nullptr;
  if (!all)
    return fail("expected an object with a key 'schedules', an object");
  ScheduleTable table;
  if (!all->get(arch))
    return table;
  const llvm::json::Object *classes = all->getObject(arch);
  if (!classes)
    return fail("'" + arch + "': expected an object");
  for (const auto &[name, value] : *classes) {
    const llvm::json::Object *entry = value.getAsObject();
    std::optional<StringRef> text =
        entry ? entry->getString("schedule") : std::nullopt;
    std::string why = "a valid #nvx.schedule";
    nvx::ScheduleAttr schedule =
        text ? parseSchedule(context, *text, why) : nvx::ScheduleAttr();
    if (!schedule)
      return fail("'" + arch + "', '" + StringRef(name) +
                  "': expected an object with a key 'schedule', " + why);
    table[name] = schedule;
  }
  return table;
}
