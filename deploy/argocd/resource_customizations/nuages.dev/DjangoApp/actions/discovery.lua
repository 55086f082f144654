local actions = {}

local paused = obj.spec ~= nil and obj.spec.paused == true
actions["pause"] = {
  ["disabled"] = paused,
  ["displayName"] = "Pause",
  ["iconClass"] = "fa fa-fw fa-pause"
}
actions["resume"] = {
  ["disabled"] = not paused,
  ["displayName"] = "Resume",
  ["iconClass"] = "fa fa-fw fa-play"
}

-- Looks at every Google resource, and at the image's tag, now.
actions["reconcile"] = {
  ["disabled"] = paused,
  ["displayName"] = "Reconcile now",
  ["iconClass"] = "fa fa-fw fa-rotate"
}

local release = obj.status ~= nil and obj.status.release or {}
local migration = release.migration or {}
actions["retry-migration"] = {
  ["disabled"] = paused or migration.state ~= "Failed",
  ["displayName"] = "Run the failed migration again",
  ["iconClass"] = "fa fa-fw fa-database"
}

-- Another SECRET_KEY and another database password, in two releases; while one is under way, a request waits.
actions["rotate"] = {
  ["disabled"] = paused,
  ["displayName"] = "Rotate secrets",
  ["iconClass"] = "fa fa-fw fa-key"
}

return actions
