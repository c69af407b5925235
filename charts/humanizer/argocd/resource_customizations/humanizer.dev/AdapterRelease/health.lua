-- Healthy: what Git asks for serves. Degraded: it was refused or cannot be found; what served before may still serve.
-- Suspended: held for a person.
local held = { GateInconclusive = true, ReviewPending = true, DryRun = true }
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
for _, condition in ipairs(obj.status.conditions) do
  if condition.type == "Stalled" and condition.status == "True" then
    hs.status = "Degraded"
    hs.message = condition.reason .. ": " .. condition.message
    return hs
  end
end
for _, condition in ipairs(obj.status.conditions) do
  if condition.type == "Ready" then
    if condition.status == "True" then
      hs.status = "Healthy"
    elseif held[condition.reason] then
      hs.status = "Suspended"
    end
    hs.message = condition.reason .. ": " .. condition.message
  end
end
return hs
