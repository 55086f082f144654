local os = require("os")

-- Any new value is heeded.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["nuages.dev/retry-migration"] = os.date("!%Y-%m-%dT%XZ")
return obj
