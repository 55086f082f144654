"""Lua as Argo CD runs it: the libraries that util/lua/lua.go opens for scripts of argocd-cm, and no others.

base, package and table are opened, `os` only by `require` and only with `date` and `time` (util/lua/oslib_safe.go).
There is no string library, so that strings have no methods either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lupa import lua51

CUSTOMIZATION = Path(__file__).parents[1] / "deploy/argocd/resource_customizations/nuages.dev/DjangoApp"
CODES = frozenset({"Unknown", "Progressing", "Suspended", "Healthy", "Degraded", "Missing"})

# gopher-lua's baselib.go and tablelib.go.
_SANDBOX = """
local date, time = os.date, os.time
debug.setmetatable("", nil)
local function only(names, from)
  local allowed = {}
  for _, name in ipairs(names) do allowed[name] = true end
  for name in pairs(from) do
    if not allowed[name] then from[name] = nil end
  end
end
package.preload.os = function() return {date = date, time = time} end
only({"package", "table", "_G"}, package.loaded)
only({"concat", "getn", "insert", "maxn", "remove", "sort"}, table)
only({
  "_G", "_VERSION", "assert", "collectgarbage", "dofile", "error", "getfenv", "getmetatable", "ipairs", "load",
  "loadfile", "loadstring", "module", "newproxy", "next", "package", "pairs", "pcall", "print", "rawequal", "rawget",
  "rawset", "require", "select", "setfenv", "setmetatable", "table", "tonumber", "tostring", "type", "unpack", "xpcall",
}, _G)
"""


def run(script: str, obj: Mapping[str, Any]) -> Any:
    """What the script returns for the object, as gopher-json encodes it: an empty table is an empty list."""
    runtime = lua51.LuaRuntime(register_eval=False, register_builtins=False)
    runtime.execute(_SANDBOX)
    runtime.globals()["python"] = None
    runtime.globals()["obj"] = _to_lua(runtime, obj)
    return _from_lua(runtime.execute(script))


def health(script: str, obj: Mapping[str, Any]) -> dict[str, str]:
    """The health that Argo CD shows."""
    found: dict[str, str] = run(script, obj)
    assert isinstance(found, dict), "Argo CD expects a table"
    assert found["status"] in CODES, found
    return found


def discover(script: str, obj: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The actions that Argo CD offers, by name."""
    return [{"name": name, **action} for name, action in sorted(run(script, obj).items())]


def act(script: str, obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object that an action wants, with Argo CD's repair of empty tables (cleanReturnedObj)."""
    wanted: dict[str, Any] = _repaired(run(script, obj), obj)
    return wanted


def _to_lua(runtime: lua51.LuaRuntime, value: Any) -> Any:
    if isinstance(value, Mapping):
        return runtime.table_from({key: _to_lua(runtime, item) for key, item in value.items() if item is not None})
    if isinstance(value, list):
        return runtime.table_from([_to_lua(runtime, item) for item in value])
    return value


def _from_lua(value: Any) -> Any:
    if lua51.lua_type(value) != "table":
        return value
    items = dict(value.items())
    if all(isinstance(key, int) for key in items):
        return [_from_lua(items[key]) for key in sorted(items)]
    return {key: _from_lua(item) for key, item in items.items()}


def _repaired(made: Any, given: Any) -> Any:
    if isinstance(given, Mapping) and made == []:
        return dict(given)
    if isinstance(made, dict) and isinstance(given, Mapping):
        return {key: _repaired(item, given.get(key)) for key, item in made.items()}
    if isinstance(made, list) and isinstance(given, list):
        return [_repaired(item, given[index] if index < len(given) else None) for index, item in enumerate(made)]
    return made
