"""Target and snapshot to plan, one module per rollback."""
