"""From nothing to a spec: skeletons, copies, the list of what ships, the JSON Schema."""
