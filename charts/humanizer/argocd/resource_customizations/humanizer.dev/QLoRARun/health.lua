-- Healthy: succeeded, for good. Degraded: failed, or nothing that is watched can help. Suspended: spec.suspend is true.
local hs = { status = "Progressing", message = "Waiting for the operator" }
if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "Being deleted"
  return hs
end
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  hs.message = "Waiting for the operator to see the newest spec"
  return hs
end
local found = {}
for _, condition in ipairs(obj.status.conditions) do
  found[condition.type] = condition
end
local function say(condition)
  return condition.reason .. ": " .. condition.message
end
if found.Succeeded ~= nil and found.Succeeded.status == "True" then
  hs.status = "Healthy"
  hs.message = say(found.Succeeded)
  return hs
end
if found.Succeeded ~= nil and found.Succeeded.status == "False" then
  hs.status = "Degraded"
  hs.message = say(found.Succeeded)
  return hs
end
if found.Stalled ~= nil and found.Stalled.status == "True" then
  hs.status = "Degraded"
  hs.message = say(found.Stalled)
  return hs
end
if obj.spec.suspend == true then
  hs.status = "Suspended"
  hs.message = "spec.suspend is true"
  return hs
end
if found.Ready ~= nil then
  hs.message = say(found.Ready)
end
if obj.status.progress ~= nil and obj.status.progress.percent ~= nil then
  hs.message = hs.message .. " (" .. obj.status.progress.percent .. ")"
end
return hs
