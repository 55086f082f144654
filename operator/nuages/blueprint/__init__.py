"""What an app wants of Google: a pure function from its spec, its tenant and a few facts. One file a capability."""
