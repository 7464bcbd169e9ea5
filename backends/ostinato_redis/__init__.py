"""Jobs in Redis or Valkey, alone or as a cluster: one Lua script a verb."""
