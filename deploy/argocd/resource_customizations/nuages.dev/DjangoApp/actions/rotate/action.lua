local os = require("os")

-- Any new value is heeded.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["nuages.dev/rotate"] = os.date("!%Y-%m-%dT%XZ")
return obj
