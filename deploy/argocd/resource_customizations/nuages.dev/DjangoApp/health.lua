-- Health of a DjangoApp and of a DjangoTenant. Their status follows kstatus
-- (https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus):
-- Ready is there from the first write, Reconciling and Stalled only while true and never both, and observedGeneration
-- moves only when that generation was processed. No library is used: scripts of argocd-cm get hardly any.

local status = obj.status or {}

local function condition(kind)
  for _, item in ipairs(status.conditions or {}) do
    if item.type == kind then
      return item
    end
  end
  return {}
end

local function health(code, item, otherwise)
  local message = item.reason or otherwise
  if item.reason ~= nil and item.message ~= nil and item.message ~= "" then
    message = item.reason .. ": " .. item.message
  end
  return {status = code, message = message}
end

local ready = condition("Ready")
local processed = status.observedGeneration ~= nil and status.observedGeneration == obj.metadata.generation

if obj.metadata.deletionTimestamp ~= nil then
  local said = {}
  if processed then
    said = ready
  end
  return health("Progressing", said, "The deletion waits for the operator")
end
if not processed then
  -- What the conditions say is about an older generation.
  return health("Progressing", {}, "Generation " .. tostring(obj.metadata.generation) .. " waits for the operator")
end
if obj.spec ~= nil and obj.spec.paused == true then
  return health("Suspended", ready, "Paused")
end
if ready.status == "False" and ready.reason == "Observed" then
  return health("Suspended", ready, "Observed")
end
local stalled = condition("Stalled")
if stalled.status == "True" then
  return health("Degraded", stalled, "Stalled")
end
local reconciling = condition("Reconciling")
if reconciling.status == "True" then
  return health("Progressing", reconciling, "Reconciling")
end
if ready.status == "True" then
  return health("Healthy", ready, "Ready")
end
return health("Progressing", ready, "The status has no Ready condition")
