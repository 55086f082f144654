"""The release: one module a step, in the order of `steps.STEPS`; each looks, acts and says (style of any file here)."""
